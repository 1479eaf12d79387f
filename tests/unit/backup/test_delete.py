"""Deleting backups: what goes, what stays, and what is said."""

import os
from pathlib import Path

import pytest

from barman.backup.delete import delete_backup, resume_deletions
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.errors import BackupError
from barman.report import MemoryReporter
from barman.server.server import Server
from tests.support.catalog_builder import add_backup, write
from tests.support.invariants import Expectations, check_invariants
from tests.unit.backup.support import SEGMENT, archive_segments, archived, make_server, segment

A, B, C = (BackupId(f"2026010{day}T000000") for day in (1, 2, 3))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(str(tmp_path))


@pytest.fixture
def reporter() -> MemoryReporter:
    return MemoryReporter()


def add(server: Server, backup_id: str, begin: int, **changes: object) -> BackupInfo:
    values = {"begin": begin, "end": begin, "xlog_segment_size": SEGMENT, "tablespaces": (), **changes}
    return add_backup(server.catalog, backup_id, **values)


def settled(server: Server) -> None:
    check_invariants(server.catalog.layout, Expectations())


# --- what goes


def test_the_oldest_backup_goes_with_the_wal_that_only_it_needs(server: Server, reporter: MemoryReporter) -> None:
    archive_segments(server.catalog, 1, 9)
    add(server, A, 2)
    add(server, B, 5)
    result = delete_backup(server, A, reporter)
    assert result.backup_ids == (A,)
    assert list(server.catalog.snapshot().backups) == [B]
    assert not os.path.exists(server.catalog.layout.backup_directory_of(A))
    assert archived(server.catalog) == [segment(number) for number in range(5, 10)]
    settled(server)


def test_the_story_of_a_deletion_is_told_as_upstream_tells_it(server: Server, reporter: MemoryReporter) -> None:
    archive_segments(server.catalog, 2, 5)
    add(server, A, 2)
    add(server, B, 4)
    delete_backup(server, A, reporter)
    told = reporter.texts("info")
    assert told[:-1] == [
        f"Deleting backup {A} for server main",
        "Delete associated WAL segments:",
        f"\t{segment(2)}",
        f"\t{segment(3)}",
    ]
    assert told[-1].startswith(f"Deleted backup {A} (start time: ")
    assert told[-1].endswith(", elapsed time: less than one second)")


def test_a_backup_between_others_leaves_all_wal(server: Server, reporter: MemoryReporter) -> None:
    archive_segments(server.catalog, 2, 9)
    add(server, A, 2)
    add(server, B, 5)
    add(server, C, 7)
    delete_backup(server, B, reporter)
    assert len(archived(server.catalog)) == 8
    assert "Delete associated WAL segments:" not in reporter.texts()


def test_the_last_backup_leaves_the_wal_from_its_begin_on(server: Server, reporter: MemoryReporter) -> None:
    archive_segments(server.catalog, 1, 6)
    add(server, A, 4)
    delete_backup(server, A, reporter)
    assert archived(server.catalog) == [segment(4), segment(5), segment(6)]


def test_an_incremental_tree_goes_from_its_leaves_up(server: Server, reporter: MemoryReporter) -> None:
    archive_segments(server.catalog, 2, 9)
    add(server, A, 2, children_backup_ids=(B,))
    add(server, B, 4, parent_backup_id=A, children_backup_ids=(C,))
    add(server, C, 6, parent_backup_id=B)
    delete_backup(server, A, reporter)
    assert not server.catalog.snapshot().backups
    assert "Deleting all backups in the tree" in reporter.texts("warning")[0]
    deleted = [text.split()[2] for text in reporter.texts("info") if text.startswith("Deleted backup")]
    assert deleted == [C, B, A]


def test_a_parent_forgets_a_child_that_was_deleted(server: Server, reporter: MemoryReporter) -> None:
    archive_segments(server.catalog, 2, 6)
    add(server, A, 2, children_backup_ids=(B, C))
    add(server, B, 4, parent_backup_id=A)
    add(server, C, 6, parent_backup_id=A)
    delete_backup(server, B, reporter)
    assert server.catalog.backups.read(A).children_backup_ids == (C,)
    settled(server)


def test_the_next_rsync_backup_is_accounted_anew(server: Server, reporter: MemoryReporter) -> None:
    add(server, A, 2, mode="rsync-concurrent")
    info = add(server, B, 4, mode="rsync-concurrent", deduplicated_size=0)
    data = server.catalog.layout.data_directory
    os.unlink(os.path.join(data(B), "PG_VERSION"))
    os.link(os.path.join(data(A), "PG_VERSION"), os.path.join(data(B), "PG_VERSION"))
    delete_backup(server, A, reporter)
    assert server.catalog.backups.read(B).deduplicated_size > info.deduplicated_size  # type: ignore[operator]  # both are set


@pytest.mark.parametrize("status", [BackupStatus.FAILED, BackupStatus.EMPTY, BackupStatus.STARTED])
def test_a_backup_that_failed_or_died_can_be_deleted(server: Server, reporter: MemoryReporter, status: str) -> None:
    add(server, A, 2)
    add(server, B, 4, status=status)
    archive_segments(server.catalog, 2, 5)
    delete_backup(server, B, reporter)
    assert list(server.catalog.snapshot().backups) == [A]
    assert len(archived(server.catalog)) == 4
    settled(server)


def test_a_backup_whose_record_cannot_be_read_can_be_deleted_by_its_id(
    server: Server, reporter: MemoryReporter
) -> None:
    add(server, A, 2)
    add(server, B, 4)
    write(server.catalog.layout.backup_info(B), "no record\n")
    archive_segments(server.catalog, 1, 5)
    delete_backup(server, B, reporter)
    assert list(server.catalog.snapshot().backups) == [A]
    assert not server.catalog.snapshot().corrupt
    settled(server)


# --- what stays


def refused(server: Server, backup_id: BackupId, reporter: MemoryReporter) -> str:
    before = server.catalog.snapshot()
    with pytest.raises(BackupError) as refusal:
        delete_backup(server, backup_id, reporter)
    assert server.catalog.snapshot() == before
    assert refusal.value.message == f"Cannot delete backup (main {backup_id})"
    return "\n".join(reporter.texts())


def test_a_kept_backup_stays(server: Server, reporter: MemoryReporter) -> None:
    add(server, A, 2)
    server.catalog.keep.set(A, "standalone")
    assert "it is kept (standalone)" in refused(server, A, reporter)


def test_minimum_redundancy_holds(tmp_path: Path, reporter: MemoryReporter) -> None:
    server = make_server(str(tmp_path), minimum_redundancy="1")
    add(server, A, 2)
    assert "requires 1 backups, 1 are present" in refused(server, A, reporter)


def test_nothing_goes_while_another_record_cannot_be_read(server: Server, reporter: MemoryReporter) -> None:
    add(server, A, 2)
    add(server, B, 4)
    write(server.catalog.layout.backup_info(B), "no record\n")
    with pytest.raises(BackupError, match="Cannot delete backup"):
        delete_backup(server, A, reporter)
    assert os.path.isdir(server.catalog.layout.data_directory(A))


def test_a_running_backup_or_deletion_is_not_disturbed(server: Server, reporter: MemoryReporter) -> None:
    add(server, A, 2)
    with server.catalog.locks.backup():
        told = refused(server, A, reporter)
    assert "Another process in running on server main. Impossible to delete the backup." in told


def test_a_restore_in_progress_protects_its_backup_and_the_whole_tree(server: Server, reporter: MemoryReporter) -> None:
    add(server, A, 2)
    add(server, B, 4, parent_backup_id=A)
    with server.catalog.locks.backup_id(A, shared=True):
        told = refused(server, A, reporter)
    assert f"Another action is in progress for the backup {A} of server main" in told
    assert os.path.isdir(server.catalog.layout.data_directory(B))


# --- deletions that did not end


def test_a_marked_deletion_is_finished(server: Server, reporter: MemoryReporter) -> None:
    archive_segments(server.catalog, 1, 6)
    add(server, A, 2)
    add(server, B, 4)
    server.catalog.backups.mark_deleting(A)
    assert resume_deletions(server, reporter) == [A]
    assert list(server.catalog.snapshot().backups) == [B]
    assert archived(server.catalog) == [segment(4), segment(5), segment(6)]
    assert f"Resuming the deletion of backup {A} for server main" in reporter.texts("info")
    settled(server)


def test_a_marked_tree_is_finished_children_first(server: Server, reporter: MemoryReporter) -> None:
    add(server, A, 2, children_backup_ids=(B,))
    add(server, B, 4, parent_backup_id=A)
    for backup_id in (A, B):
        server.catalog.backups.mark_deleting(backup_id)
    assert resume_deletions(server, reporter) == [B, A]


def test_a_marker_without_a_record_is_cleared(server: Server, reporter: MemoryReporter) -> None:
    server.catalog.backups.mark_deleting(A)
    assert resume_deletions(server, reporter) == [A]
    assert resume_deletions(server, reporter) == []
    settled(server)


def test_a_keep_that_came_before_anything_was_removed_ends_the_deletion(
    server: Server, reporter: MemoryReporter
) -> None:
    archive_segments(server.catalog, 2, 2)
    add(server, A, 2)
    server.catalog.backups.mark_deleting(A)
    server.catalog.keep.set(A, "full")
    assert resume_deletions(server, reporter) == []
    assert server.catalog.snapshot().backups[A].status == BackupStatus.DONE
    settled(server)


def test_the_marker_of_the_original_is_no_order(server: Server, reporter: MemoryReporter) -> None:
    add(server, A, 2)
    write(server.catalog.layout.upstream_delete_marker(A), "delete")
    assert resume_deletions(server, reporter) == []
    assert A in server.catalog.snapshot().backups


def test_a_busy_server_leaves_interrupted_deletions_to_the_next_run(server: Server, reporter: MemoryReporter) -> None:
    add(server, A, 2)
    server.catalog.backups.mark_deleting(A)
    with server.catalog.locks.backup():
        assert resume_deletions(server, reporter) == []
    assert A in server.catalog.snapshot().backups
