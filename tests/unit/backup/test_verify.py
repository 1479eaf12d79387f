"""Manifests that this program writes, read back by its own reader."""

import os
from pathlib import Path

import pytest

from barman.backup.manifest import format_manifest, generate_manifest
from barman.backup.verify import verify_backup
from barman.errors import BackupError
from barman.postgres.backup_manifest import parse, read
from barman.report import MemoryReporter
from tests.support.catalog_builder import add_backup, write
from tests.support.fix_postgres import require_version
from tests.unit.backup.support import make_server

A = "20260101T000000"


def test_a_generated_manifest_lists_every_file_with_its_checksum(tmp_path: Path) -> None:
    server = make_server(str(tmp_path))
    info = add_backup(server.catalog, A)
    data = server.catalog.layout.data_directory(A)
    write(os.path.join(data, "base", "1", "2619"), "")
    write(os.path.join(os.fsencode(data), b"odd \xff name").decode("utf-8", "surrogateescape"), "15")
    os.symlink("/nowhere", os.path.join(data, "link"))
    path = generate_manifest(server, info)
    manifest = read(path)
    assert {file.path: file.size for file in manifest.files} == {
        "PG_VERSION": 3,
        "base/1/2619": 0,
        "global/1260": 1024,
        "global/1261": 1024,
        "global/pg_control": 0,
        "odd \udcff name": 2,
    }
    assert {file.algorithm for file in manifest.files} == {"SHA256"}
    assert manifest.version == 1
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_manifest_is_never_replaced(tmp_path: Path) -> None:
    server = make_server(str(tmp_path))
    info = add_backup(server.catalog, A)
    path = generate_manifest(server, info)
    with pytest.raises(BackupError, match=f"File {path} already exists"):
        generate_manifest(server, info)


def test_a_program_that_is_too_old_for_a_manifest_does_not_call_the_backup_damaged(tmp_path: Path) -> None:
    server = make_server(str(tmp_path), path_prefix=require_version("15"))
    info = add_backup(server.catalog, A, tablespaces=())
    path = Path(generate_manifest(server, info))
    reporter = MemoryReporter()
    verify_backup(server, info, reporter)
    assert not reporter.failed, reporter.lines
    path.write_text(path.read_text().replace('Manifest-Version": 1', 'Manifest-Version": 2'))
    with pytest.raises(
        BackupError, match=r"pg_verifybackup 15\S* \('.*'\) cannot read manifests of version 2"
    ) as refused:
        verify_backup(server, info, MemoryReporter())
    assert "PostgreSQL 17" in refused.value.hint


def test_a_backup_without_files_has_an_empty_manifest() -> None:
    assert parse(format_manifest([]).splitlines(keepends=True)).files == ()
