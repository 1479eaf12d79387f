"""Records that say a backup runs, when nobody runs it any more."""

from pathlib import Path

import pytest

from barman.backup.dead_runs import fail_dead_runs
from barman.catalog.backup_info import BackupStatus
from barman.report import MemoryReporter
from barman.server.server import Server
from tests.support.catalog_builder import add_backup, write
from tests.unit.backup.support import make_server

A, B, C = "20260101T000000", "20260102T000000", "20260103T000000"


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(str(tmp_path))


@pytest.mark.parametrize(
    ("status", "action"), [(BackupStatus.EMPTY, "starting backup"), (BackupStatus.STARTED, "copying files")]
)
def test_a_dead_backup_fails_with_the_pid_of_its_process(server: Server, status: str, action: str) -> None:
    add_backup(server.catalog, A, status=status)
    write(server.catalog.layout.lock("backup"), "4711\n")
    reporter = MemoryReporter()
    assert fail_dead_runs(server, reporter) == [A]
    info = server.catalog.backups.read(A)
    assert (info.status, info.error) == (BackupStatus.FAILED, f"failure {action} (process 4711 is gone)")
    assert A in reporter.texts("warning")[0]
    assert not reporter.failed


def test_without_a_readable_lock_file_the_process_has_no_number(server: Server) -> None:
    add_backup(server.catalog, A, status=BackupStatus.STARTED)
    fail_dead_runs(server, MemoryReporter())
    assert server.catalog.backups.read(A).error == "failure copying files (its process is gone)"


def test_a_running_backup_is_left_alone(server: Server) -> None:
    add_backup(server.catalog, A, status=BackupStatus.STARTED)
    with server.catalog.locks.backup():
        assert fail_dead_runs(server, MemoryReporter()) == []
    assert server.catalog.backups.read(A).status == BackupStatus.STARTED


def test_other_states_are_left_alone_and_no_lock_is_taken(server: Server, tmp_path: Path) -> None:
    add_backup(server.catalog, A)
    add_backup(server.catalog, B, status=BackupStatus.WAITING_FOR_WALS)
    add_backup(server.catalog, C, status=BackupStatus.FAILED, error="disk full")
    assert fail_dead_runs(server, MemoryReporter()) == []
    assert server.catalog.backups.read(C).error == "disk full"
    assert not (tmp_path / ".main-backup.lock").exists()


def test_a_copy_on_a_passive_node_is_dead_when_its_own_lock_is_free(server: Server) -> None:
    add_backup(server.catalog, A, status=BackupStatus.SYNCING)
    add_backup(server.catalog, B, status=BackupStatus.SYNCING)
    with server.catalog.locks.sync_backup(B):
        assert fail_dead_runs(server, MemoryReporter()) == [A]
    assert server.catalog.backups.read(B).status == BackupStatus.SYNCING
