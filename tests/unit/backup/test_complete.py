"""WAITING_FOR_WALS, DONE or FAILED: what the archive says of a backup."""

import os
from pathlib import Path

import pytest

from barman.backup.complete import check_backup, judge, required_segments
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.errors import BackupError
from barman.report import MemoryReporter
from barman.server.server import Server
from tests.support.catalog_builder import add_backup, make_info
from tests.unit.backup.support import SEGMENT, archive_segments, make_server, put, segment, segment_content

A = BackupId("20260101T000000")
WAITING, DONE, FAILED = BackupStatus.WAITING_FOR_WALS, BackupStatus.DONE, BackupStatus.FAILED


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(str(tmp_path))


def add(server: Server, status: str = WAITING, begin: int = 4, end: int = 6) -> BackupInfo:
    return add_backup(server.catalog, A, status=status, begin=begin, end=end, xlog_segment_size=SEGMENT)


def status_of(server: Server) -> str:
    return server.catalog.backups.read(A).status


# --- the range


def test_the_range_has_both_ends_and_runs_over_the_border_of_a_log() -> None:
    info = make_info(A, begin=4094, end=4097, xlog_segment_size=SEGMENT)
    assert list(required_segments(info)) == [segment(number) for number in range(4094, 4098)]
    assert segment(4095).endswith("FFF")


def test_a_backup_over_two_timelines_is_lost_and_names_both() -> None:
    info = make_info(A, status=DONE, begin_wal=segment(4), end_wal=segment(4, 2))
    verdict = judge(info, [segment(4), segment(4, 2)], lambda name: None)
    assert verdict.status == FAILED
    assert verdict.error is not None
    assert "00000001" in verdict.error
    assert "00000002" in verdict.error


def test_a_damaged_range_is_an_error() -> None:
    with pytest.raises(BackupError, match="no usable WAL range"):
        judge(make_info(A, begin_wal="nonsense"), [], lambda name: None)


# --- the verdict


@pytest.mark.parametrize(
    ("present", "status", "expected"),
    [
        ((4, 5, 6), WAITING, DONE),
        ((4, 5, 6), DONE, DONE),
        ((), WAITING, WAITING),
        ((4,), WAITING, WAITING),
        ((4, 6), WAITING, WAITING),  # the hole may be filled: D16
        ((4, 6), DONE, FAILED),
    ],
)
def test_a_backup_is_what_its_segments_say(present: tuple[int, ...], status: str, expected: str) -> None:
    info = make_info(A, begin=4, end=6, xlog_segment_size=SEGMENT, status=status)
    verdict = judge(info, [segment(number) for number in present], lambda name: None)
    assert verdict.status == expected


def test_a_segment_that_cannot_be_used_is_a_loss_with_its_reason() -> None:
    info = make_info(A, begin=4, end=6, xlog_segment_size=SEGMENT, status=WAITING)
    bad = segment(5)
    verdict = judge(info, list(required_segments(info)), lambda name: "it is empty" if name == bad else None)
    assert verdict.status == FAILED
    assert verdict.error == f"At least one WAL file cannot be used: {bad}: it is empty"


# --- on disk


@pytest.mark.parametrize("plain", [True, False])
def test_a_backup_becomes_done_when_its_last_segment_arrives(server: Server, plain: bool) -> None:
    add(server)
    reporter = MemoryReporter()
    archive_segments(server.catalog, 3, 5, plain=plain)
    check_backup(server, A, reporter)
    assert status_of(server) == WAITING
    archive_segments(server.catalog, 6, 6, plain=plain)
    check_backup(server, A, reporter)
    assert status_of(server) == DONE
    assert not [line for line in reporter.lines if line[0] != "debug"]


def test_a_hole_is_told_and_keeps_the_backup_waiting_until_it_is_filled(server: Server) -> None:
    add(server)
    archive_segments(server.catalog, 4, 4)
    archive_segments(server.catalog, 6, 8)
    reporter = MemoryReporter()
    check_backup(server, A, reporter)
    assert status_of(server) == WAITING
    assert segment(5) in reporter.texts("warning")[0]
    archive_segments(server.catalog, 5, 5)
    assert check_backup(server, A, reporter).status == DONE


def test_a_segment_lost_after_the_backup_was_done_is_told_as_a_loss(server: Server) -> None:
    add(server, DONE)
    archive_segments(server.catalog, 4, 6)
    os.unlink(server.catalog.layout.wal_path(segment(5)))
    reporter = MemoryReporter()
    check_backup(server, A, reporter)
    assert reporter.failed
    assert server.catalog.backups.read(A).error == (
        f"At least one WAL file is missing. The first missing WAL file is {segment(5)}"
    )
    assert "marked as FAILED due to the following reason: At least one WAL file" in reporter.texts("error")[0]


@pytest.mark.parametrize(
    "content",
    [b"", segment_content(5)[: SEGMENT // 2], segment_content(9), b"\0" * SEGMENT],
    ids=["empty", "short", "another segment", "zeros"],
)
def test_a_broken_segment_never_makes_a_backup_done(server: Server, content: bytes) -> None:
    add(server)
    archive_segments(server.catalog, 4, 4, plain=True)
    put(server.catalog, segment(5), content)
    archive_segments(server.catalog, 6, 6, plain=True)
    check_backup(server, A, MemoryReporter())
    assert status_of(server) == FAILED
    assert segment(5) in (server.catalog.backups.read(A).error or "")


def test_a_failed_backup_cannot_be_checked(server: Server) -> None:
    add(server, FAILED)
    with pytest.raises(BackupError, match="The validity of a failed backup cannot be checked"):
        check_backup(server, A, MemoryReporter())


def test_a_running_backup_is_left_alone(server: Server) -> None:
    add(server, BackupStatus.STARTED)
    check_backup(server, A, MemoryReporter())
    assert status_of(server) == BackupStatus.STARTED


def test_a_busy_lock_is_said_and_changes_nothing(server: Server) -> None:
    add(server)
    archive_segments(server.catalog, 4, 6)
    reporter = MemoryReporter()
    with server.catalog.locks.backup_id(A):
        check_backup(server, A, reporter)
    assert status_of(server) == WAITING
    assert "Another action is in progress" in reporter.texts("info")[0]
    assert not reporter.failed
