"""Retention carried out: what the report calls OBSOLETE goes, under every rule of a manual deletion."""

import os
from pathlib import Path

import pytest

from barman.backup.delete import delete_backup
from barman.backup.dry_run import plan_delete, plan_retention
from barman.backup.expire import apply_retention
from barman.backup.retention_report import read_retention
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupStatus
from barman.errors import BackupError
from barman.fs.durable import remove_tree
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.status.backups import list_backups
from tests.support.catalog_builder import add_backup, write
from tests.support.needs import ordinary_permissions
from tests.unit.backup.support import SEGMENT, archive_segments, archived, make_server, segment

A, B, C, D = (f"2026010{day}T000000" for day in (1, 2, 3, 4))
FEBRUARY = "20260201T000000"


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
        add_backup(server.catalog, backup_id, parent_backup_id=parent, tablespaces=(), xlog_segment_size=SEGMENT)
    archive_segments(server.catalog, 4, 4)
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


# --- backups that claim to be good


def test_an_older_good_backup_survives_a_newer_one_with_a_hole_in_its_wal(tmp_path: Path) -> None:
    server, reporter = server_with(tmp_path), MemoryReporter()
    os.unlink(server.catalog.layout.wal_path(segment(6)))
    assert apply_retention(server, reporter) == [A]
    assert left(server) == [B, C]


def test_a_record_without_data_is_no_redundancy(tmp_path: Path) -> None:
    server = server_with(tmp_path)
    remove_tree(server.catalog.layout.backup_directory_of(C))
    assert apply_retention(server, MemoryReporter()) == [A]
    assert left(server) == [B, C]


def test_the_hole_may_be_filled_and_then_retention_goes_on(tmp_path: Path) -> None:
    server = server_with(tmp_path)
    path = server.catalog.layout.wal_path(segment(6))
    os.rename(path, tmp_path / "aside")
    apply_retention(server, MemoryReporter())
    os.rename(tmp_path / "aside", path)
    assert apply_retention(server, MemoryReporter()) == [B]


@pytest.mark.parametrize("lost", ["wals", "one directory"])
def test_nothing_goes_while_the_wal_archive_cannot_be_read(tmp_path: Path, lost: str) -> None:
    server, reporter = server_with(tmp_path), MemoryReporter()
    layout = server.catalog.layout
    path = layout.wals_directory if lost == "wals" else layout.hash_directory(segment(1))
    os.chmod(path, 0)
    try:
        with ordinary_permissions():
            assert apply_retention(server, reporter) == []
            dry = plan_retention(server)
            words = list_backups(server.config, server.catalog).rows if lost == "one directory" else ()
    finally:
        os.chmod(path, 0o700)
    assert left(server) == [A, B, C]
    assert "cannot read the WAL archive" in reporter.texts("warning")[0]
    assert dry.deletions == ()
    assert "cannot read the WAL archive" in dry.notes[0]
    assert all(row.retention == "-" for row in words)


def test_an_empty_wal_directory_lets_nothing_go(tmp_path: Path) -> None:
    server = server_with(tmp_path)
    os.rename(server.catalog.layout.wals_directory, tmp_path / "not mounted")
    os.mkdir(server.catalog.layout.wals_directory)
    assert apply_retention(server, MemoryReporter()) == []
    assert left(server) == [A, B, C]


def test_a_manual_deletion_does_not_count_on_a_broken_backup(tmp_path: Path) -> None:
    server, reporter = server_with(tmp_path, minimum_redundancy="2"), MemoryReporter()
    os.unlink(server.catalog.layout.wal_path(segment(6)))
    with pytest.raises(BackupError):
        delete_backup(server, BackupId(A), reporter)
    assert "minimum redundancy requires 2 backups, 2 are present" in reporter.texts("warning")[0]
    assert plan_delete(server, BackupId(A)).deletions[-1].reason.endswith("2 are present")
    delete_backup(server, BackupId(C), reporter)
    assert left(server) == [A, B]


# --- tiers


def with_tiers(tmp_path: Path, tiers: str, **options: str) -> Server:
    """Three backups of January, one of February."""
    server = server_with(tmp_path, retention_tiers=tiers, **options)
    add_backup(server.catalog, FEBRUARY, begin=8, end=8, xlog_segment_size=SEGMENT, tablespaces=())
    return server


def test_a_tier_keeps_what_the_policy_would_delete_with_its_own_wal(tmp_path: Path) -> None:
    server, reporter = with_tiers(tmp_path, "2 MONTHLY"), MemoryReporter()
    announced = plan_retention(server)
    assert apply_retention(server, reporter) == [A, B]
    assert [deletion.target for deletion in announced.deletions] == [A, B]
    assert server.catalog.keep.get(C) == "standalone"
    assert archived(server.catalog) == [segment(6), segment(8)]
    (verdict, _) = read_retention(server).backups
    assert (verdict.word, verdict.goes) == ("KEEP:STANDALONE", False)
    assert verdict.reason == "retention_tiers: the last backup of 2026-01 (2 MONTHLY)"
    assert [row.retention for row in list_backups(server.config, server.catalog).rows] == ["VALID", "KEEP:STANDALONE"]
    assert apply_retention(server, MemoryReporter()) == []


def test_without_its_tier_an_archived_backup_goes(tmp_path: Path) -> None:
    apply_retention(with_tiers(tmp_path, "2 MONTHLY"), MemoryReporter())
    server = make_server(str(tmp_path), retention_policy="REDUNDANCY 1", retention_tiers="1 MONTHLY")
    assert [deletion.target for deletion in plan_retention(server).deletions] == [C]
    assert apply_retention(server, MemoryReporter()) == [C]
    assert not any(C in name for name in os.listdir(server.catalog.layout.meta_directory))


def test_a_keep_by_hand_ends_the_say_of_the_tiers(tmp_path: Path) -> None:
    server = with_tiers(tmp_path, "2 MONTHLY")
    apply_retention(server, MemoryReporter())
    server.catalog.keep.set(C, "standalone")
    server = make_server(str(tmp_path), retention_policy="REDUNDANCY 1")
    assert apply_retention(server, MemoryReporter()) == []
    assert left(server) == [C, FEBRUARY]


def test_tiers_that_cannot_be_read_let_nothing_go(tmp_path: Path) -> None:
    server, reporter = with_tiers(tmp_path, "2 MONTLY"), MemoryReporter()
    assert apply_retention(server, reporter) == []
    assert "cannot parse retention tiers '2 MONTLY'" in reporter.texts("warning")[0]
    assert "cannot parse retention tiers" in plan_retention(server).notes[0]
    assert len(left(server)) == 4


def test_a_backup_in_use_that_a_tier_wants_does_not_go(tmp_path: Path) -> None:
    server = with_tiers(tmp_path, "2 MONTHLY")
    with server.catalog.locks.backup_id(BackupId(C)):
        assert apply_retention(server, MemoryReporter()) == [A, B]
    assert left(server) == [C, FEBRUARY]
    assert server.catalog.keep.get(C) is None
    apply_retention(server, MemoryReporter())
    assert server.catalog.keep.get(C) == "standalone"
