"""backup killed at every change it makes: nothing that was there is lost, nothing half-made looks good."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from barman.backup.request import BackupRequest
from barman.backup.run import run_backup
from barman.config.loader import load_settings
from barman.report import MemoryReporter
from barman.server.server import Server
from tests.support.crash import every_crash
from tests.support.fix_postgres import Cluster, newest_pg, pg_factory
from tests.support.invariants import Expectations, check_invariants

__all__ = ["newest_pg", "pg_factory"]

pytestmark = [pytest.mark.crash, pytest.mark.postgres]

SIZE = 16 * 1024 * 1024
BEGIN = 3
LABEL = f"""START WAL LOCATION: 0/{BEGIN}000028 (file {BEGIN | 1 << 64:024X})
CHECKPOINT LOCATION: 0/{BEGIN}000060
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-22 05:10:22 UTC
LABEL: pg_basebackup base backup
START TIMELINE: 1
"""
# The copy itself is not what is tested here: this one is quick, and its WAL is in the archive already.
COPY = """#!/bin/sh
[ "$1" = --version ] && echo "pg_basebackup (PostgreSQL) 99.0" && exit 0
for argument; do case "$argument" in --pgdata=*) data=${{argument#--pgdata=}} ;; esac; done
mkdir "$data/global" && cp {source}/backup_label {source}/backup_manifest "$data" && cp {source}/1262 "$data/global"
"""


class Scene:
    """A server with a real PostgreSQL and an archive that holds two segments too many, made anew for every crash."""

    def __init__(self, home: Path, pg: Cluster) -> None:
        self.home = home
        self.pg = pg
        self.system_id = int(pg.system_id)
        self.source = home.parent / "source"
        self.source.mkdir()
        (self.source / "backup_label").write_text(LABEL)
        (self.source / "1262").write_bytes(b"x" * 8192)
        (self.source / "backup_manifest").write_bytes(_manifest())
        program = self.source / "pg_basebackup"
        program.write_text(COPY.format(source=self.source))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def prepare(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        (self.home / "barman.conf").write_text(
            f"[barman]\nbarman_home = {self.home}\n[main]\nbackup_method = postgres\narchiver = on\n"
            f"conninfo = {self.pg.conninfo}\nstreaming_conninfo = {self.pg.streaming_conninfo}\n"
            f"path_prefix = {self.source}\n"
        )
        server = self.server()
        server.catalog.ensure_directories()
        for number in range(1, BEGIN + 2):
            path = server.catalog.layout.wal_path(f"{number | 1 << 64:024X}")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._write_segment(path, number)
        server.catalog.xlogdb.rebuild()

    def server(self) -> Server:
        return Server(load_settings(str(self.home / "barman.conf"), {}).servers["main"])

    def back_up(self) -> MemoryReporter:
        reporter = MemoryReporter()
        with self.server() as server:
            run_backup(server, BackupRequest(), reporter)
        return reporter

    def _write_segment(self, path: str, number: int) -> None:
        facts = (0xD110, 2, 1, number * SIZE, 0, self.system_id, SIZE, 8192)
        with open(path, "wb") as file:
            file.write(struct.pack("<HHIQI4xQII", *facts))
            file.truncate(SIZE)


def _manifest() -> bytes:
    files = [("backup_label", len(LABEL)), ("global/1262", 8192)]
    lines = [f'{{ "Path": "{path}", "Size": {size} }}' for path, size in files]
    text = '{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n' + ",\n".join(lines) + "\n],\n"
    text += f'"WAL-Ranges": [\n{{ "Timeline": 1, "Start-LSN": "0/{BEGIN}000028", "End-LSN": "0/{BEGIN}000120" }}\n],\n'
    return f'{text}"Manifest-Checksum": "{hashlib.sha256(text.encode()).hexdigest()}"}}\n'.encode()


@pytest.fixture
def scene(newest_pg: Cluster) -> Iterator[Scene]:
    memory = "/dev/shm"
    base = Path(tempfile.mkdtemp(prefix="barman-crash-", dir=memory if os.access(memory, os.W_OK) else None))
    yield Scene(base / "home", newest_pg)
    shutil.rmtree(base, ignore_errors=True)


def test_a_backup_killed_anywhere_is_seen_and_the_next_one_is_good(scene: Scene) -> None:
    crashes = 0
    for _ in every_crash(scene.back_up, str(scene.home), scene.prepare):
        crashes += 1
        catalog = scene.server().catalog
        check_invariants(catalog.layout, Expectations(settled=False, indexed=False))
        before = catalog.snapshot()
        assert not before.corrupt
        good = [info.backup_id for info in before.copy_done]
        scene.back_up()
        after = catalog.snapshot()
        for backup_id in before.backups:
            if backup_id in good:
                assert after.backups[backup_id].is_copy_done
            else:
                assert after.backups[backup_id].status == "FAILED"
                assert "is gone)" in (after.backups[backup_id].error or "")
        newest = max(after.backups)
        assert newest not in before.backups
        assert after.backups[newest].status == "DONE"
        check_invariants(catalog.layout, Expectations(indexed=False, backups=[newest, *good]))
        assert catalog.wals.exists(f"{BEGIN | 1 << 64:024X}")
    assert crashes > 20


def test_a_backup_that_nobody_kills_is_done_and_drops_the_wal_before_it(scene: Scene) -> None:
    scene.prepare()
    reporter = scene.back_up()
    catalog = scene.server().catalog
    (info,) = catalog.snapshot().backups.values()
    assert (info.status, str(info.end_xlog)) == ("DONE", f"0/{BEGIN}000120")
    assert catalog.wals.list_names() == [f"{number | 1 << 64:024X}" for number in (BEGIN, BEGIN + 1)]
    assert "WAL segments preceding the current backup have been found:" in reporter.texts("listing")
