"""sync-backup: a copy counts only when its content is compared, durable, and its WAL is here."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupStatus, BackupType
from barman.catalog.identity import Identity
from barman.errors import SyncError
from barman.fs import durable
from barman.process import is_alive
from barman.sync.state import read_record
from barman.values import replace
from tests.support.catalog_builder import SYSTEM_ID, add_backup, write
from tests.support.fix_postgres import require_version, wait_until
from tests.support.invariants import Expectations, check_invariants
from tests.support.passive import Nodes
from tests.support.wal_builder import MB

FIRST, SECOND, THIRD = "20261122T100000", "20261122T110000", "20261122T120000"


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path)


def test_a_copy_has_the_files_and_the_record_of_the_primary_and_waits_for_its_wal(nodes: Nodes) -> None:
    theirs = nodes.put_backup(FIRST, 4, mode="rsync-concurrent", backup_name="weekly", error=None)
    nodes.tell()
    assert nodes.sync_backup(FIRST).lines == []
    ours = nodes.record(FIRST)
    assert ours.status == BackupStatus.WAITING_FOR_WALS
    assert ours.backup_type == BackupType.RSYNC
    assert replace(ours, status="", deduplicated_size=0) == replace(theirs, status="", deduplicated_size=0)
    files = nodes.files(nodes.ours, FIRST)
    assert files == nodes.files(nodes.theirs, FIRST)
    assert files["data/pg_notify"] == "/"
    check_invariants(nodes.ours, Expectations(backups=[FIRST]))
    assert read_record(nodes.ours).backup_id == FIRST


def test_a_copy_whose_wal_is_here_is_done_unless_the_primary_waits_itself(nodes: Nodes) -> None:
    nodes.put_backup(FIRST, 4)
    nodes.put_backup(SECOND, 5)
    nodes.put_backup(THIRD, 5, status=BackupStatus.WAITING_FOR_WALS)
    nodes.tell()
    nodes.sync_backup(FIRST)
    nodes.sync_wals()
    nodes.sync_backup(SECOND)
    nodes.sync_backup(THIRD)
    found = {backup_id: nodes.record(backup_id).status for backup_id in (FIRST, SECOND, THIRD)}
    assert found == {
        FIRST: BackupStatus.WAITING_FOR_WALS,
        SECOND: BackupStatus.DONE,
        THIRD: BackupStatus.WAITING_FOR_WALS,
    }
    check_invariants(nodes.ours, Expectations(backups=[FIRST, SECOND, THIRD]))
    nodes.open_door("exit 255")
    said = nodes.sync_backup(SECOND)
    assert said.lines == [("info", f"Backup {SECOND} is already synced with main server")]


def test_a_copy_that_broke_off_is_failed_with_the_reason_and_continued(nodes: Nodes) -> None:
    theirs = nodes.put_backup(FIRST, 4, mode="rsync-concurrent")
    for number in range(4):
        path = os.path.join(nodes.theirs.data_directory(theirs.backup_id), f"big{number}")
        write(path, os.urandom(400_000))
    nodes.tell()
    nodes.cut_door(900_000)
    with pytest.raises(SyncError, match=f"failure syncing server main backup {FIRST}: rsync of files"):
        nodes.sync_backup(FIRST)
    broken = nodes.record(FIRST)
    assert (broken.status, broken.mode) == (BackupStatus.FAILED, "passive")
    assert (broken.error or "").startswith(f"failure syncing server main backup {FIRST}: rsync")
    assert "rsync" in read_record(nodes.ours).error
    here = {path.name: path.stat().st_ino for path in Path(nodes.ours.data_directory(theirs.backup_id)).glob("big*")}
    assert here
    nodes.open_door()
    assert nodes.sync_backup(FIRST).lines == []
    assert nodes.files(nodes.ours, FIRST) == nodes.files(nodes.theirs, FIRST)
    after = {path.name: path.stat().st_ino for path in Path(nodes.ours.data_directory(theirs.backup_id)).glob("big*")}
    assert here.items() <= after.items(), "what was here is continued in place"
    assert nodes.record(FIRST).mode == "rsync-concurrent"
    assert read_record(nodes.ours).error == ""


@pytest.mark.parametrize("manifest", [False, True])
def test_a_byte_that_is_wrong_here_is_found_and_fetched_again_before_the_record_says_done(
    nodes: Nodes, manifest: bool
) -> None:
    nodes.configure(path_prefix=require_version("15"))
    theirs = nodes.put_backup(FIRST, 4, manifest=manifest)
    nodes.tell()
    nodes.sync_backup(FIRST)
    nodes.catalog.backups.save(replace(nodes.record(FIRST), status=BackupStatus.FAILED, mode="passive"))
    # As after a power loss that an operating system has forgotten: right size and time, other content.
    path = Path(nodes.ours.data_directory(theirs.backup_id), "base", "1", "1259")
    before = path.stat()
    path.write_bytes(b"\0" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    write(os.path.join(nodes.ours.backup_directory_of(FIRST), ".copying"), boot)
    said = nodes.sync_backup(FIRST)
    assert said.texts("warning") == [
        f"the copy of backup {FIRST} differs from the primary in 1 files, which are fetched again: data/base/1/1259"
    ]
    assert nodes.record(FIRST).is_copy_done
    assert nodes.files(nodes.ours, FIRST) == nodes.files(nodes.theirs, FIRST)


def test_a_backup_that_is_damaged_on_the_primary_itself_is_no_good_copy(nodes: Nodes) -> None:
    nodes.configure(path_prefix=require_version("15"))
    theirs = nodes.put_backup(FIRST, 4, manifest=True, mode="postgres")
    Path(nodes.theirs.data_directory(theirs.backup_id), "base", "1", "1259").write_bytes(b"\0" * 200_000)
    nodes.tell()
    with pytest.raises(SyncError, match=r"the backup is damaged on the primary.*1259") as failure:
        nodes.sync_backup(FIRST)
    assert f"barman verify-backup main {FIRST}" in failure.value.hint
    assert nodes.record(FIRST).status == BackupStatus.FAILED


def test_a_backup_that_the_primary_deletes_meanwhile_fails_with_that_reason_and_is_purged(nodes: Nodes) -> None:
    nodes.put_backup(FIRST, 4)
    nodes.tell()
    gone = f"rm -rf {nodes.theirs.backup_directory_of(FIRST)} {nodes.theirs.backup_info(FIRST)}"
    nodes.open_door(f'case "$*" in *"rsync --server"*) {gone};; esac')
    with pytest.raises(SyncError, match="the primary has deleted the backup while it was copied"):
        nodes.sync_backup(FIRST)
    assert "has deleted the backup" in (nodes.record(FIRST).error or "")
    nodes.tell()
    said = nodes.sync_backup(FIRST)
    assert said.texts("warning") == [
        f"Backup {FIRST} is absent on main server and incomplete locally, purging local backup"
    ]
    check_invariants(nodes.ours, Expectations(absent_backups=[FIRST]))
    with pytest.raises(SyncError, match=f"Backup {FIRST} is absent on main server"):
        nodes.sync_backup(FIRST)


def test_unchanged_files_are_linked_from_the_next_local_backup_else_the_previous(nodes: Nodes) -> None:
    nodes.configure(reuse_backup="link")
    for backup_id, begin in ((FIRST, 4), (SECOND, 5)):
        info = nodes.put_backup(backup_id, begin, mode="rsync-concurrent")
        data = nodes.theirs.data_directory(info.backup_id)
        write(os.path.join(data, "same"), b"s" * 100_000)
        os.utime(os.path.join(data, "same"), (1_600_000_000, 1_600_000_000))
    nodes.tell()
    nodes.sync_backup(SECOND)
    nodes.sync_backup(FIRST)
    paths = [os.path.join(nodes.ours.data_directory(BackupId(i)), "same") for i in (FIRST, SECOND)]
    assert os.path.samefile(*paths)
    first = nodes.record(FIRST)
    assert first.size == 4096
    assert (first.deduplicated_size or 0) >= 200_000, "what is its own is counted here"
    assert (first.deduplicated_size or 0) < 300_000
    for backup_id in (FIRST, SECOND):
        assert nodes.files(nodes.ours, backup_id) == nodes.files(nodes.theirs, backup_id)


def test_a_chain_comes_parents_first_and_lists_the_children_that_are_here(nodes: Nodes) -> None:
    chain = {"version": 170010, "summarize_wal": "on"}
    nodes.put_backup(FIRST, 4, children_backup_ids=(SECOND, THIRD), **chain)
    nodes.put_backup(SECOND, 5, parent_backup_id=FIRST, **chain)
    nodes.put_backup(THIRD, 6, parent_backup_id=FIRST, **chain)
    nodes.tell()
    with pytest.raises(SyncError, match=f"its parent {FIRST} is not here") as refusal:
        nodes.sync_backup(SECOND)
    assert f"barman sync-backup main {FIRST}" in refusal.value.hint
    nodes.sync_backup(FIRST)
    assert nodes.record(FIRST).children_backup_ids == ()
    nodes.sync_backup(SECOND)
    assert nodes.record(FIRST).children_backup_ids == (SECOND,)
    nodes.sync_backup(THIRD)
    assert nodes.record(FIRST).children_backup_ids == (SECOND, THIRD)
    assert nodes.record(THIRD).backup_type == BackupType.INCREMENTAL
    check_invariants(nodes.ours, Expectations(backups=[FIRST, SECOND, THIRD]))


def test_tablespaces_come_along_and_links_to_them_lead_to_the_copy(nodes: Nodes) -> None:
    from barman.catalog.backup_info import Tablespace

    spaces = (Tablespace("far", 16390, "/srv/far"), Tablespace("inplace", 16391, "pg_tblspc/16391"))
    info = nodes.put_backup(FIRST, 4, tablespaces=spaces)
    data = nodes.theirs.data_directory(info.backup_id)
    write(os.path.join(nodes.theirs.tablespace_directory(FIRST, 16390), "PG_15_1", "5", "1"), b"far away")
    write(os.path.join(data, "pg_tblspc", "16391", "PG_15_1", "5", "2"), b"in place")
    os.symlink(nodes.theirs.tablespace_directory(FIRST, 16390), os.path.join(data, "pg_tblspc", "16390"))
    nodes.tell()
    assert nodes.sync_backup(FIRST).lines == []
    ours = Path(nodes.ours.data_directory(info.backup_id))
    assert (ours / "pg_tblspc/16390/PG_15_1/5/1").read_bytes() == b"far away"
    assert (ours / "pg_tblspc/16390").resolve() == Path(nodes.ours.tablespace_directory(FIRST, 16390)).resolve()
    assert (ours / "pg_tblspc/16391/PG_15_1/5/2").read_bytes() == b"in place"


def test_keep_marks_and_the_identity_come_along(nodes: Nodes) -> None:
    for backup_id, begin in ((FIRST, 4), (SECOND, 5), (THIRD, 6)):
        nodes.put_backup(backup_id, begin)
    nodes.primary.catalog.keep.set(FIRST, "standalone")
    nodes.primary.catalog.keep.hold(SECOND)  # for a retention tier: this node has tiers of its own
    nodes.primary.catalog.identity.write(Identity(SYSTEM_ID, "15"))
    nodes.tell()
    for backup_id in (FIRST, SECOND, THIRD):
        nodes.sync_backup(backup_id)
    kept = {backup_id: nodes.catalog.keep.get(backup_id) for backup_id in (FIRST, SECOND, THIRD)}
    assert kept == {FIRST: "standalone", SECOND: None, THIRD: None}
    assert nodes.catalog.identity.read() == Identity(SYSTEM_ID, "15")


@pytest.mark.parametrize("told_by", ["identity", "record"])
def test_a_backup_of_another_cluster_is_refused_before_anything_is_written(nodes: Nodes, told_by: str) -> None:
    nodes.catalog.ensure_directories()
    nodes.catalog.identity.write(Identity("7111111111111111111", "15"))
    nodes.put_backup(FIRST, 4)
    if told_by == "identity":
        nodes.primary.catalog.identity.write(Identity(SYSTEM_ID, "15"))
    nodes.tell()
    with pytest.raises(SyncError, match=f"system identifier {SYSTEM_ID}.*7111111111111111111: nothing is copied"):
        nodes.sync_backup(FIRST)
    assert os.listdir(nodes.ours.basebackups_directory) == []
    assert nodes.catalog.snapshot().backups == {}


def test_a_second_copy_of_the_same_backup_is_refused_and_a_deletion_waits(nodes: Nodes) -> None:
    from barman.catalog.locks import Locks
    from barman.errors import LockBusy

    nodes.put_backup(FIRST, 4)
    nodes.tell()
    with Locks(nodes.ours).sync_backup(FIRST), pytest.raises(SyncError) as refusal:
        nodes.sync_backup(FIRST)
    said = f"Another synchronisation process for backup {FIRST} of server main is already running."
    assert refusal.value.message == said
    with Locks(nodes.ours).backup_id(FIRST), pytest.raises(LockBusy):
        nodes.sync_backup(FIRST)
    assert nodes.catalog.snapshot().backups == {}


def test_a_local_backup_that_the_primary_has_no_more_stays(nodes: Nodes) -> None:
    nodes.catalog.ensure_directories()
    add_backup(nodes.catalog, FIRST, begin=4, xlog_segment_size=MB, tablespaces=())
    nodes.tell()
    said = nodes.sync_backup(FIRST)
    assert said.lines == [("info", f"Backup {FIRST} is absent on main server (local copy only)")]
    assert nodes.record(FIRST).status == BackupStatus.DONE


def test_without_an_answer_of_the_primary_nothing_is_copied(nodes: Nodes) -> None:
    with pytest.raises(SyncError, match=r"Cannot open primary.info file for server main: "):
        nodes.sync_backup(FIRST)
    assert not os.path.exists(nodes.ours.basebackups_directory)


def test_a_copy_survives_that_its_record_alone_was_lost(nodes: Nodes) -> None:
    nodes.put_backup(FIRST, 4)
    nodes.tell()
    nodes.sync_backup(FIRST)
    durable.remove([nodes.ours.backup_info(FIRST), nodes.ours.legacy_backup_info(FIRST)])
    assert nodes.sync_backup(FIRST).lines == []
    assert nodes.record(FIRST).is_copy_done


def test_a_copy_that_is_interrupted_says_so_and_leaves_no_rsync_behind(nodes: Nodes) -> None:
    nodes.put_backup(FIRST, 4)
    nodes.tell()
    mark = nodes.directory / "pids"
    nodes.open_door(f'case "$*" in *"rsync --server"*) echo $$ >> {mark}; exec sleep 600;; esac')
    argv = [sys.executable, "-m", "barman", "-c", str(nodes.directory / "passive" / "barman.conf")]
    with subprocess.Popen([*argv, "sync-backup", "main", FIRST], stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: mark.exists() and mark.read_text().endswith("\n"), "rsync waits for the primary")
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode not in (0, None)
    assert "Traceback" not in said
    left = nodes.record(FIRST)
    assert (left.status, left.mode) == (BackupStatus.FAILED, "passive")
    assert left.error == f"failure syncing server main backup {FIRST}: interrupted by SIGINT"
    pids = [int(word) for word in mark.read_text().split()]
    wait_until(lambda: not any(map(is_alive, pids)), "what rsync had started has ended")


def test_a_backup_that_shrinks_while_it_is_copied_is_not_followed_to_its_end(nodes: Nodes) -> None:
    """As when somebody deletes it on the primary and is killed: the record there still says DONE."""
    info = nodes.put_backup(FIRST, 4, mode="rsync-concurrent")
    nodes.tell()
    lost = f"rm -rf {nodes.theirs.data_directory(info.backup_id)}/base"
    nodes.open_door(f'case "$*" in *"rsync --server"*) {lost};; esac')
    with pytest.raises(SyncError, match="changes on the primary while it is copied: 1 files, 'data/base/1/1259'"):
        nodes.sync_backup(FIRST)
    assert nodes.record(FIRST).status == BackupStatus.FAILED


@pytest.mark.parametrize(
    ("lost", "size", "said"),
    [("data", 4096, "cannot list|'data/global/pg_control' is missing"), ("data/base", 5_000_000, "its record says")],
)
def test_a_backup_that_is_half_deleted_on_the_primary_is_not_copied(
    nodes: Nodes, lost: str, size: int, said: str
) -> None:
    nodes.put_backup(FIRST, 4, mode="rsync-concurrent", size=size)
    nodes.tell()
    durable.remove_tree(os.path.join(nodes.theirs.backup_directory_of(FIRST), lost))
    with pytest.raises(SyncError, match=said):
        nodes.sync_backup(FIRST)
    assert nodes.record(FIRST).status == BackupStatus.FAILED


@pytest.mark.parametrize("marker", [f".{FIRST}.deleting", f"{FIRST}-delete_this"])
def test_a_backup_whose_deletion_has_begun_on_the_primary_is_no_good_copy(nodes: Nodes, marker: str) -> None:
    nodes.put_backup(FIRST, 4)
    nodes.tell()
    write(os.path.join(nodes.theirs.meta_directory, marker), "delete")
    with pytest.raises(SyncError, match="the primary is deleting the backup"):
        nodes.sync_backup(FIRST)
    assert nodes.record(FIRST).status == BackupStatus.FAILED
    durable.remove([os.path.join(nodes.theirs.meta_directory, marker)])
    nodes.sync_backup(FIRST)
    assert nodes.record(FIRST).is_copy_done
