"""How a backup with pg_basebackup will be taken, or why it cannot be."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from barman.backup.plan import external_files, plan_basebackup
from barman.backup.request import BackupRequest, Overrides, request_for
from barman.backup.tar_options import compression_problem
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo
from barman.catalog.view import CatalogView
from barman.errors import BackupError
from barman.postgres.facts import Position, Privileges, ServerFacts
from barman.postgres.programs import Program
from barman.postgres.version import PgVersion
from tests.support.catalog_builder import SYSTEM_ID, make_info
from tests.unit.backup.support import make_server

A = BackupId("20260101T000000")
PROGRAM = Program("/usr/bin/pg_basebackup", PgVersion(170005))


def facts(version: int = 170005, **settings: str) -> ServerFacts:
    return ServerFacts(
        version=PgVersion(version),
        server_txt_version=PgVersion(version).text,
        in_recovery=False,
        position=Position(None, None, None, datetime.now(timezone.utc)),
        privileges=Privileges(True, True, True, True),
        system_id=SYSTEM_ID,
        timeline=1,
        segment_size=16 * 1024 * 1024,
        settings={"data_directory": "/pgdata", "summarize_wal": "on", **settings},
        raw_settings={},
        tablespaces=(),
        included_files=(),
        slot=None,
        archiver=None,
        current_size=None,
        streaming=None,
    )


def view(*infos: BackupInfo) -> CatalogView:
    return CatalogView({info.backup_id: info for info in infos}, server_name="main")


def plan(
    tmp_path: Path, request: BackupRequest, of: ServerFacts | None = None, *infos: BackupInfo, **config: str
) -> Any:
    server = make_server(str(tmp_path), **config)
    return plan_basebackup(request, server.config, of or facts(), PROGRAM, view(*infos))


# --- what was asked for


def test_the_command_line_beats_the_configuration(tmp_path: Path) -> None:
    config = make_server(
        str(tmp_path), bandwidth_limit="100", immediate_checkpoint="on", basebackup_retry_times="3"
    ).config
    request = request_for(config, Overrides(bandwidth_limit=200, immediate_checkpoint=False, retry_times=0))
    assert (request.bandwidth_limit, request.immediate_checkpoint, request.retry_times) == (200, False, 0)
    request = request_for(config, Overrides())
    assert (request.bandwidth_limit, request.immediate_checkpoint, request.retry_times) == (100, True, 3)


def test_a_limit_or_a_timeout_of_zero_is_none(tmp_path: Path) -> None:
    config = make_server(str(tmp_path), bandwidth_limit="100").config
    request = request_for(config, Overrides(bandwidth_limit=0, wait=True, wait_timeout=0))
    assert (request.bandwidth_limit, request.wait_timeout) == (None, None)


# --- the rate


@pytest.mark.parametrize("limit", [32, 1024 * 1024, None])
def test_a_rate_that_the_program_accepts_is_planned(tmp_path: Path, limit: int | None) -> None:
    assert plan(tmp_path, BackupRequest(bandwidth_limit=limit)).max_rate == limit


@pytest.mark.parametrize("limit", [1, 31, 1024 * 1024 + 1])
def test_a_rate_that_the_program_would_refuse_is_refused_before_anything_is_written(tmp_path: Path, limit: int) -> None:
    with pytest.raises(BackupError, match=f"{limit} kB/s is out of range"):
        plan(tmp_path, BackupRequest(bandwidth_limit=limit))


# --- files outside


def test_configuration_files_are_outside_by_whole_components_of_their_path() -> None:
    found = facts(
        config_file="/pgdata_conf/postgresql.conf", hba_file="/pgdata/pg_hba.conf", ident_file="/etc/pg_ident.conf"
    )
    assert external_files(found) == ("/pgdata_conf/postgresql.conf", "/etc/pg_ident.conf")


# --- incrementals


def test_a_parent_is_found_by_its_word(tmp_path: Path) -> None:
    parent = make_info(A, version=170005, summarize_wal="on")
    assert plan(tmp_path, BackupRequest(parent="latest"), None, parent).parent_id == A


@pytest.mark.parametrize(
    ("version", "summarize", "changes", "reason"),
    [
        (160004, "on", {}, "Postgres version 17 or greater is required"),
        (170005, "off", {}, "'summarize_wal'"),
        (170005, "on", {"summarize_wal": "off"}, f"Backup ID {A} is not eligible as a parent"),
        (170005, "on", {"status": "FAILED"}, "is FAILED and cannot be a parent"),
        (170005, "on", {"systemid": "1"}, "another cluster"),
        (180000, "on", {"version": 170005}, "was taken from PostgreSQL 17"),
        (170005, "on", {"parent_backup_id": "20250101T000000"}, "needs its parent 20250101T000000, which is not in"),
    ],
)
def test_an_incremental_that_must_fail_is_refused(
    tmp_path: Path, version: int, summarize: str, changes: dict[str, str], reason: str
) -> None:
    parent = make_info(A, **{"summarize_wal": "on", "version": version, **changes})
    with pytest.raises(BackupError, match="failed to start backup: ") as refusal:
        plan(tmp_path, BackupRequest(parent=A), facts(version, summarize_wal=summarize), parent)
    assert reason in refusal.value.message


def test_the_whole_chain_of_a_parent_must_be_there(tmp_path: Path) -> None:
    b = BackupId("20260102T000000")
    failed = make_info(A, version=170005, summarize_wal="on", status="FAILED")
    parent = make_info(b, version=170005, summarize_wal="on", parent_backup_id=A)
    with pytest.raises(BackupError, match=f"backup {A}, which backup {b} needs, is FAILED"):
        plan(tmp_path, BackupRequest(parent=b), None, failed, parent)


def test_an_unknown_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="Unknown backup 'latest'"):
        plan(tmp_path, BackupRequest(parent="latest"))


# --- compression


def test_compression_becomes_arguments_and_what_the_record_says(tmp_path: Path) -> None:
    planned = plan(tmp_path, BackupRequest(), None, backup_compression="zstd", backup_compression_level="3")
    assert planned.compression == ("--format=tar", "--compress=zstd:level=3")
    assert planned.recorded_compression == "zstd"
    where = {"backup_compression_format": "plain", "backup_compression_location": "server"}
    planned = plan(tmp_path, BackupRequest(), None, backup_compression="gzip", **where)
    assert planned.compression == ("--format=plain", "--compress=server-gzip")
    assert planned.recorded_compression is None
    assert plan(tmp_path, BackupRequest()).compression == ()


@pytest.mark.parametrize(
    ("client", "server", "options", "reason"),
    [
        (170005, 140010, {"location": "server"}, "needs PostgreSQL 15 or later, not 14"),
        (140010, 140010, {"location": "server"}, "needs pg_basebackup 15 or later, not 14"),
        (140010, 140010, {"": "lz4"}, "backup_compression = lz4 needs pg_basebackup 15 or later"),
        (150001, 150001, {"level": "0"}, "backup_compression_level = 0 is not supported by pg_basebackup 15"),
        (140010, 140010, {"level": "0"}, ""),
        (150001, 150001, {"": "lz4", "level": "0", "location": "server"}, ""),
        (150001, None, {"location": "server"}, ""),
    ],
)
def test_what_client_or_server_are_too_old_for_is_refused(
    tmp_path: Path, client: int, server: int | None, options: dict[str, str], reason: str
) -> None:
    named = {f"backup_compression_{name}" if name else "backup_compression": value for name, value in options.items()}
    config = make_server(str(tmp_path), **{"backup_compression": "gzip", **named}).config
    found = compression_problem(config, PgVersion(client), None if server is None else PgVersion(server))
    assert reason in found
    assert bool(found) == bool(reason)
