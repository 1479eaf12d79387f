"""cron's part on a passive node: what it says, what it starts, and what it leaves alone."""

import os
import shutil
from pathlib import Path

import pytest

from barman.catalog.backup_info import BackupStatus
from barman.catalog.locks import Locks
from barman.cron.dry_run import plan_cron
from barman.errors import BarmanError, SyncError
from barman.fs import durable
from barman.sync.state import read_record
from barman.values import replace
from tests.support.catalog_builder import SYSTEM_ID, add_backup
from tests.support.fix_postgres import require_version
from tests.support.invariants import Expectations, check_invariants
from tests.support.passive import Nodes, segment_name
from tests.support.wal_builder import MB

FIRST, SECOND, THIRD = "20261122T100000", "20261122T110000", "20261122T120000"
NOTHING = [
    ("info", "No backup synchronisation required for server main"),
    ("info", "No WAL synchronisation required for server main"),
]


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path)


def follow(nodes: Nodes) -> None:
    """Do what was asked for until nothing is."""
    for _ in range(8):
        _, started = nodes.step()
        for command, _, *rest in started:
            if command == "sync-backup":
                nodes.sync_backup(*rest)
            else:
                nodes.sync_wals()
        if not started:
            return
    raise AssertionError("it never comes to an end")


def test_the_oldest_missing_backup_and_the_wal_are_started_and_the_answer_is_kept(nodes: Nodes) -> None:
    nodes.put_backup(FIRST, 4)
    nodes.put_backup(SECOND, 5)
    said, started = nodes.step()
    assert said.lines == [
        ("info", f"Starting copy of backup {FIRST} for server main"),
        ("info", "Started copy of WAL files for server main"),
    ]
    assert started == [("sync-backup", "main", FIRST), ("sync-wals", "main")]
    assert all(os.path.isdir(path) for path in nodes.ours.directories())
    assert b'"last_position"' in Path(nodes.ours.primary_info).read_bytes()
    record = read_record(nodes.ours)
    assert (record.missing_backups, record.missing_wals, record.missing_wal_bytes) == (2, 2, 2 * MB)
    follow(nodes)
    assert nodes.step()[0].lines == NOTHING
    assert {i: info.status for i, info in nodes.catalog.snapshot().backups.items()} == {
        FIRST: BackupStatus.WAITING_FOR_WALS,  # cron's next task looks at it again
        SECOND: BackupStatus.DONE,
    }
    assert read_record(nodes.ours).missing_wals == 0


def test_one_copy_runs_at_a_time_and_wal_is_copied_beside_it(nodes: Nodes) -> None:
    nodes.put_backup(FIRST, 4)
    nodes.put_backup(SECOND, 5)
    with Locks(nodes.ours).sync_backup(FIRST):
        said, started = nodes.step()
    assert said.texts("info")[0] == (
        f"A synchronisation process for backup {FIRST} on server main is already in progress"
    )
    assert started == [("sync-wals", "main")]
    with Locks(nodes.ours).sync_wal():
        said, started = nodes.step()
    assert started == [("sync-backup", "main", FIRST)]


def test_a_backup_that_always_fails_holds_up_no_other(nodes: Nodes) -> None:
    nodes.put_backup(FIRST, 4)
    nodes.put_backup(SECOND, 5)
    nodes.tell()
    durable.remove_tree(nodes.theirs.backup_directory_of(FIRST))
    with pytest.raises(SyncError, match="cannot list"):
        nodes.sync_backup(FIRST)
    assert nodes.step()[1][0] == ("sync-backup", "main", SECOND)
    nodes.sync_backup(SECOND)
    assert nodes.step()[1][0] == ("sync-backup", "main", FIRST), "then it is tried again"
    nodes.put_backup(THIRD, 6)
    nodes.tell()
    shutil.rmtree(nodes.theirs.backup_directory_of(THIRD))
    with pytest.raises(SyncError, match="cannot list"):
        nodes.sync_backup(THIRD)
    records = {backup_id: nodes.ours.backup_info(backup_id) for backup_id in (FIRST, THIRD)}
    for longest_ago, other in ((FIRST, THIRD), (THIRD, FIRST)):
        os.utime(records[longest_ago], (1_700_000_000, 1_700_000_000))
        os.utime(records[other], (1_700_000_060, 1_700_000_060))
        assert nodes.step()[1][0] == ("sync-backup", "main", longest_ago), "none of them holds up the other"


def test_a_backup_that_is_damaged_on_the_primary_is_not_read_again_every_minute(nodes: Nodes) -> None:
    nodes.configure(path_prefix=require_version("15"))
    info = nodes.put_backup(FIRST, 4, manifest=True, mode="postgres")
    Path(nodes.theirs.data_directory(info.backup_id), "base", "1", "1259").write_bytes(b"another content")
    nodes.tell()
    with pytest.raises(SyncError, match="damaged on the primary"):
        nodes.sync_backup(FIRST)
    assert [command for command, *_ in nodes.step()[1]] == ["sync-wals"]
    os.utime(nodes.ours.backup_info(FIRST), (1_700_000_000, 1_700_000_000))
    assert nodes.step()[1][0] == ("sync-backup", "main", FIRST)


def test_an_unreachable_primary_starts_nothing_and_is_remembered(nodes: Nodes) -> None:
    nodes.put_backup(FIRST, 4)
    nodes.open_door("echo 'the line is dead' >&2; exit 255")
    with pytest.raises(BarmanError, match=r"Failed to retrieve the primary node status: .*the line is dead"):
        nodes.step()
    assert "the line is dead" in read_record(nodes.ours).error
    nodes.open_door()
    assert len(nodes.step()[1]) == 2
    assert read_record(nodes.ours).error == ""


def test_a_primary_with_another_cluster_starts_nothing(nodes: Nodes) -> None:
    from barman.catalog.identity import Identity

    nodes.put_backup(FIRST, 4)
    nodes.primary.catalog.identity.write(Identity(SYSTEM_ID, "15"))
    nodes.catalog.ensure_directories()
    nodes.catalog.identity.write(Identity("7111111111111111111", "15"))
    with pytest.raises(SyncError, match="nothing is copied"):
        nodes.step()


def test_what_is_kept_on_the_primary_later_is_kept_here_and_never_released(nodes: Nodes) -> None:
    nodes.put_backup(FIRST, 4)
    follow(nodes)
    nodes.primary.catalog.keep.set(FIRST, "full")
    said, _ = nodes.step()
    assert ("info", f"Backup {FIRST} of server main is kept (full) as on its primary") in said.lines
    nodes.primary.catalog.keep.release(FIRST)
    nodes.step()
    assert nodes.catalog.keep.get(FIRST) == "full"


def test_leftovers_of_a_copy_whose_backup_is_gone_are_purged_and_other_failures_are_not(nodes: Nodes) -> None:
    nodes.put_backup(SECOND, 5)
    follow(nodes)
    for backup_id, mode in ((FIRST, "passive"), (THIRD, "postgres")):
        info = add_backup(nodes.catalog, backup_id, begin=5, xlog_segment_size=MB, tablespaces=())
        nodes.catalog.backups.save(replace(info, status=BackupStatus.FAILED, mode=mode))
    said, started = nodes.step()
    assert said.texts("warning") == [
        f"Backup {FIRST} is absent on main server and incomplete locally, purging local backup"
    ]
    assert started == []
    assert set(nodes.catalog.snapshot().backups) == {SECOND, THIRD}, "a backup of this node's own life stays"
    check_invariants(nodes.ours, Expectations(absent_backups=[FIRST]))


def test_what_local_retention_would_delete_at_once_is_not_copied(nodes: Nodes) -> None:
    nodes.configure(retention_policy="REDUNDANCY 1")
    nodes.put_backup(FIRST, 4)
    nodes.put_backup(SECOND, 5)
    said, started = nodes.step()
    assert ("info", f"Remote backup main/{FIRST} is obsolete for local retention policies.") in said.lines
    assert started[0] == ("sync-backup", "main", SECOND)
    follow(nodes)
    assert list(nodes.archived()) == [segment_name(5)], "nor is WAL that no backup here needs"
    assert nodes.position() == segment_name(5)


def test_wal_that_an_older_backup_needs_is_asked_for_when_that_one_comes_later(nodes: Nodes) -> None:
    nodes.put_backup(SECOND, 6)
    follow(nodes)
    nodes.put_backup(FIRST, 4, begin_wal=segment_name(4))
    assert nodes.position() == segment_name(6)
    follow(nodes)
    assert sorted(nodes.archived()) == [segment_name(4), segment_name(6)]


def test_a_dry_run_says_what_would_be_started_and_asks_nobody(nodes: Nodes) -> None:
    nodes.put_backup(FIRST, 4)
    nodes.put_backup(SECOND, 5)
    assert plan_cron(nodes.passive).tasks == ("ask the primary what it has",)
    nodes.step()
    nodes.open_door("exit 255")
    assert plan_cron(nodes.passive).tasks == (
        "ask the primary what it has; going by what it said last:",
        f"start the copy of backup {FIRST} (1 of 2)",
        "start the copy of 2 WAL files",
    )
    nodes.open_door()
    follow(nodes)
    assert (
        plan_cron(nodes.passive).tasks[0]
        == "ask the primary what it has; going by what it said last: no copy is needed"
    )
