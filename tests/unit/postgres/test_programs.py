"""Finding client programs, and their argument vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from barman.errors import NotSupportedByServer
from barman.postgres.programs import (
    PG_RECEIVEWAL,
    BasebackupOptions,
    Program,
    basebackup_argv,
    basebackup_compression,
    combinebackup_argv,
    find,
    parse_program_version,
    read_version,
    receivewal_argv,
    require,
    verifybackup_argv,
)
from barman.postgres.version import PgVersion

V15, V17, V96 = PgVersion(150018), PgVersion(170010), PgVersion(90624)


def _program(directory: Path, name: str, script: str) -> str:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("pg_receivewal (PostgreSQL) 15.18 (Debian 15.18-1.pgdg12+1)", PgVersion(150018)),
        ("pg_receivewal (PostgreSQL) 17beta1", PgVersion(170000)),
        ("pg_basebackup (EnterpriseDB) 16.3.0", PgVersion(160003)),
        ("pg_receivexlog (PostgreSQL) 9.6.24", PgVersion(90624)),
        ("nonsense", None),
        ("pg_receivewal (PostgreSQL) ?", None),
    ],
)
def test_the_version_is_the_second_word_without_parentheses(text: str, version: PgVersion | None) -> None:
    assert parse_program_version(text) == version


def test_a_wrapper_without_a_program_behind_it_is_passed_over(tmp_path: Path) -> None:
    _program(tmp_path / "shims", "pg_thing", "exit 1")
    real = _program(tmp_path / "real", "pg_thing", "echo 'pg_thing (PostgreSQL) 15.2'")
    found = find(("pg_thing",), f"{tmp_path}/shims:{tmp_path}/real")
    assert found == Program(real, PgVersion(150002))


def test_the_older_name_is_a_second_choice_in_the_same_directory(tmp_path: Path) -> None:
    _program(tmp_path, "pg_old", "echo 'pg_old (PostgreSQL) 9.6.1'")
    new = _program(tmp_path, "pg_new", "echo 'pg_new (PostgreSQL) 15.2'")
    found = find(("pg_new", "pg_old"), str(tmp_path))
    assert found is not None
    assert found.path == new


def test_the_version_is_asked_once(tmp_path: Path) -> None:
    path = _program(tmp_path, "pg_thing", f"echo x >> {tmp_path}/runs; echo 'pg_thing (PostgreSQL) 15.2'")
    assert read_version(path) == read_version(path) == PgVersion(150002)
    assert (tmp_path / "runs").read_text() == "x\n"


def test_a_program_serves_servers_that_are_not_newer() -> None:
    assert Program("x", V17).serves(V15)
    assert Program("x", V15).serves(PgVersion(150099))
    assert not Program("x", V15).serves(V17)
    assert Program("x", V96).serves(PgVersion(90601))
    assert not Program("x", PgVersion(90500)).serves(V96)


def test_a_missing_and_an_old_program_are_refused_with_what_to_install() -> None:
    with pytest.raises(NotSupportedByServer, match="pg_receivewal not found") as missing:
        require(None, PG_RECEIVEWAL, V17)
    assert "PostgreSQL 17" in missing.value.hint
    with pytest.raises(NotSupportedByServer, match=r"pg_receivewal 15\.18 \('/x'\) is too old for PostgreSQL 17\.10"):
        require(Program("/x", V15), PG_RECEIVEWAL, V17)


def test_arguments_of_pg_receivewal() -> None:
    program = Program("/bin/pg_receivewal", V15)
    assert receivewal_argv(program, "host=db", "/s", slot_name="barman", synchronous=True) == [
        "/bin/pg_receivewal",
        "--dbname=host=db",
        "--verbose",
        "--no-loop",
        "--no-password",
        "--directory=/s",
        "--slot=barman",
        "--synchronous",
    ]
    assert receivewal_argv(program, "host=db", "/s")[-1] == "--directory=/s"


def test_arguments_of_pg_basebackup() -> None:
    options = BasebackupOptions(
        directory="/b/data",
        tablespaces={"/t=s/a": "/b/16400"},
        max_rate=1024,
        incremental_manifest="/p/backup_manifest",
        fast_checkpoint=True,
        target_gp_dbid=3,
        compression=["--format=tar", "--compress=gzip"],
    )
    assert basebackup_argv(Program("pg_basebackup", V17), "host=db", options) == [
        "pg_basebackup",
        "--dbname=host=db",
        "-v",
        "--no-password",
        "--pgdata=/b/data",
        "--target-gp-dbid=3",
        "--no-slot",
        "--wal-method=none",
        "--tablespace-mapping=/t\\=s/a=/b/16400",
        "--max-rate=1024",
        "--incremental=/p/backup_manifest",
        "--checkpoint=fast",
        "--format=tar",
        "--compress=gzip",
    ]
    old = basebackup_argv(Program("pg_basebackup", V96), "host=db", BasebackupOptions("/b/data", {}))
    assert old == ["pg_basebackup", "--dbname=host=db", "-v", "--no-password", "--pgdata=/b/data"]


def test_compression_is_spelled_as_the_client_knows_it() -> None:
    new, old = Program("x", V15), Program("x", PgVersion(140001))
    assert basebackup_compression(new, "zstd", level=3, workers=2, location="server", plain=False) == [
        "--format=tar",
        "--compress=server-zstd:level=3,workers=2",
    ]
    assert basebackup_compression(new, "none", level=None, workers=None, location="server", plain=True) == [
        "--format=plain",
        "--compress=none",
    ]
    assert basebackup_compression(old, "gzip", level=5, workers=None, location=None, plain=False) == [
        "--format=tar",
        "--compress=5",
        "--gzip",
    ]
    assert basebackup_compression(old, "gzip", level=None, workers=None, location=None, plain=False)[-1] == "--gzip"
    assert basebackup_compression(old, "none", level=None, workers=None, location=None, plain=False)[-1] == (
        "--compress=0"
    )


def test_arguments_of_pg_combinebackup_and_pg_verifybackup() -> None:
    program = Program("pg_x", V17)
    assert combinebackup_argv(program, ["/a", "/b"], "/o", tablespaces={"/b/1": "/t"}, copy_mode="link") == [
        "pg_x",
        "--output=/o",
        "--tablespace-mapping=/b/1=/t",
        "--link",
        "/a",
        "/b",
    ]
    assert verifybackup_argv(program, "/d") == ["pg_x", "-n", "/d"]
