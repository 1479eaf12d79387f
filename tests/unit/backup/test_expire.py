"""Retention carried out: what the report calls OBSOLETE goes, under every rule of a manual deletion."""

import os
from pathlib import Path

from barman.backup.expire import apply_retention
from barman.catalog.backup_info import BackupStatus
from barman.fs.durable import remove_tree
from barman.report import MemoryReporter
from barman.server.server import Server
from tests.support.catalog_builder import add_backup, write
from tests.support.needs import ordinary_permissions
from tests.unit.backup.support import SEGMENT, archive_segments, archived, make_server, segment

A, B, C, D = (f"2026010{day}T000000" for day in (1, 2, 3, 4))


def server_with(tmp_path: Path, **options: str) -> Server:
    server = make_server(str(tmp_path), **{"retention_policy": "REDUNDANCY 1", **options})
    for number, backup_id in enumerate((A, B, C), 1):
        add_backup(
            server.catalog, backup_id, begin=2 * number, end=2 * number, xlog_segment_size=SEGMENT, tablespaces=()
        )
    archive_segments(server.catalog, 1, 8)
    return server


def left(server: Server) -> list[str]:
    return [str(backup_id) for backup_id in server.catalog.snapshot().backups]


def test_obsolete_backups_go_oldest_first_with_their_wal(tmp_path: Path) -> None:
    server, reporter = server_with(tmp_path), MemoryReporter()
    assert apply_retention(server, reporter) == [A, B]
    assert left(server) == [C]
    assert archived(server.catalog) == [segment(6), segment(7), segment(8)]
    told = reporter.texts("info")
    assert told[0] == f"Enforcing retention policy: removing backup {A} for server main"
    assert told[1] == f"Deleting backup {A} for server main"


def test_without_a_policy_nothing_happens(tmp_path: Path) -> None:
    server = server_with(tmp_path, retention_policy="")
    assert apply_retention(server, MemoryReporter()) == []
    assert len(left(server)) == 3


def test_the_last_good_backup_survives_redundancy_0(tmp_path: Path) -> None:
    server = server_with(tmp_path, retention_policy="REDUNDANCY 0")
    apply_retention(server, MemoryReporter())
    assert left(server) == [C]


def test_minimum_redundancy_beats_the_policy(tmp_path: Path) -> None:
    server = server_with(tmp_path, minimum_redundancy="2")
    apply_retention(server, MemoryReporter())
    assert left(server) == [B, C]


def test_kept_backups_stay(tmp_path: Path) -> None:
    server = server_with(tmp_path)
    server.catalog.keep.set(A, "standalone")
    apply_retention(server, MemoryReporter())
    assert left(server) == [A, C]
    assert archived(server.catalog) == [segment(number) for number in (2, 6, 7, 8)]


def test_only_done_backups_go(tmp_path: Path) -> None:
    server = server_with(tmp_path)
    add_backup(server.catalog, D, status=BackupStatus.FAILED)
    apply_retention(server, MemoryReporter())
    assert left(server) == [C, D]


def test_nothing_goes_while_a_record_cannot_be_read(tmp_path: Path) -> None:
    server, reporter = server_with(tmp_path), MemoryReporter()
    write(server.catalog.layout.backup_info(B), "no record\n")
    assert apply_retention(server, reporter) == []
    assert left(server) == [A, C]
    assert "no record" in reporter.texts("warning")[0] or B in reporter.texts("warning")[0]


def test_a_record_without_data_is_told_and_left_to_the_operator(tmp_path: Path) -> None:
    server, reporter = server_with(tmp_path), MemoryReporter()
    remove_tree(server.catalog.layout.backup_directory_of(A))
    assert apply_retention(server, reporter) == [B]
    assert left(server) == [A, C]
    assert f"barman delete main {A}" in reporter.texts("warning")[0]


def test_a_backup_in_use_is_passed_over(tmp_path: Path) -> None:
    server, reporter = server_with(tmp_path), MemoryReporter()
    with server.catalog.locks.backup_id(A, shared=True):
        assert apply_retention(server, reporter) == [B]
    assert left(server) == [A, C]
    assert not reporter.failed
    assert "skipping retention policy application" in reporter.texts("warning")[0]


def test_a_busy_server_is_left_to_the_next_run(tmp_path: Path) -> None:
    server = server_with(tmp_path)
    with server.catalog.locks.backup():
        assert apply_retention(server, MemoryReporter()) == []
    assert len(left(server)) == 3


def test_an_obsolete_tree_goes_children_first(tmp_path: Path) -> None:
    server = make_server(str(tmp_path), retention_policy="REDUNDANCY 1")
    for backup_id, parent in ((A, None), (B, A), (C, None)):
        add_backup(server.catalog, backup_id, parent_backup_id=parent, tablespaces=())
    assert apply_retention(server, MemoryReporter()) == [B, A]
    assert left(server) == [C]


def test_one_backup_that_cannot_be_deleted_does_not_stop_the_others(tmp_path: Path) -> None:
    server, reporter = server_with(tmp_path), MemoryReporter()
    locked = server.catalog.layout.data_directory(A)
    os.chmod(locked, 0o500)
    try:
        with ordinary_permissions():
            assert apply_retention(server, reporter) == [B]
    finally:
        os.chmod(locked, 0o700)
    assert reporter.failed
