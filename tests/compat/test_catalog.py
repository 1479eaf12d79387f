"""One catalog, two programs: what we write the original reads, what it writes survives us, and both judge alike."""

import os
import random
import shutil
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from barman import clock
from barman.catalog import backup_info_file
from barman.catalog.backup_info import BackupInfo, Tablespace
from barman.catalog.wal_file import WalFile
from barman.errors import LockBusy
from barman.retention import policy as retention_policy
from barman.retention.report import report
from barman.timestamps import format_ctime
from barman.values import replace
from tests.support.catalog_builder import (
    add_backup,
    add_chain,
    add_upstream_backup,
    make_catalog,
    make_info,
    read,
    write,
)
from tests.support.fix_upstream import INACTIVE_SERVER, Upstream, find_upstream, own_environment, write_config

pytestmark = pytest.mark.compat

A, B, C, D, E = (f"2026010{day}T120000" for day in range(1, 6))
ACTIVE_SERVER = {key: value for key, value in INACTIVE_SERVER.items() if key != "active"}


@pytest.fixture(name="catalog")
def fixture_catalog(tmp_path):
    return make_catalog(str(tmp_path))


@pytest.fixture(name="upstream")
def fixture_upstream(tmp_path):
    return Upstream(find_upstream(), write_config(str(tmp_path), {"main": ACTIVE_SERVER}))


def configure(upstream, **settings):
    write_config(os.path.dirname(upstream.config_file), {"main": {**ACTIVE_SERVER, **settings}})


def changed_lines(before, after):
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    return [new for old, new in pairs if old != new]


# --- ours, read by the original

RECORDS = {
    A: {
        "mode": "rsync-concurrent",
        "backup_name": "it's a name = yes",
        "error": "failure = none",
        "backup_label": 'START WAL LOCATION: 0/4000028\nLABEL: it\'s "quoted" \\ é €\n\t\x01\n',
        "included_files": ("/etc/a.conf", "/etc/it's.conf", "/etc/é.conf"),
        "tablespaces": (Tablespace("a 'b'", 16390, "/srv/ü"), Tablespace("ts=2", 16391, "/srv/b")),
        "copy_stats": {"total_time": 1.25, "number_of_workers": 2, "copy_time_per_item": {"it's": 1e-06}},
        "xlog_segment_size": 1 << 20,
    },
    B: {"status": "WAITING_FOR_WALS", "compression": "gzip", "encryption": "gpg", "tablespaces": ()},
    C: {"begin_time": None, "copy_stats": None, "cluster_size": None, "backup_label": None, "summarize_wal": "on"},
    D: {"timeline": 31, "begin": 0xFFFF, "end": 0x10001, "version": 90624, "mode": "local-to-cloud-concurrent"},
}


def as_in_sync_info(info: BackupInfo) -> dict[str, object]:
    """The record in the form of the original's `sync-info`, from our own values."""

    def moment(value):
        return None if value is None else format_ctime(value)

    names = [key for key in backup_info_file._KEYS if key not in ("backup_name", "snapshots_info")]
    found = {name: getattr(info, name) for name in names}
    found.update(
        backup_id=info.backup_id,
        begin_time=moment(info.begin_time),
        end_time=moment(info.end_time),
        begin_xlog=str(info.begin_xlog),
        end_xlog=str(info.end_xlog),
        tablespaces=[[t.name, t.oid, t.location] for t in info.tablespaces] or None,
        included_files=list(info.included_files) or None,
        children_backup_ids=",".join(info.children_backup_ids) or None,
        backup_label=None if info.backup_label is None else repr(info.backup_label),
    )
    if info.backup_name is not None:
        found["backup_name"] = info.backup_name
    return found


@pytest.mark.parametrize("backup_id", [A, B, C, D])
def test_the_original_reads_every_field_of_our_records(catalog, upstream, backup_id):
    info = add_backup(catalog, backup_id, **RECORDS[backup_id])
    theirs = upstream.run("sync-info", "main").json["backups"][backup_id]
    for key in ("begin_time_iso", "end_time_iso"):
        moment = getattr(info, key.removesuffix("_iso"))
        assert theirs.pop(key, None) == (moment.isoformat() if moment else None)
    assert theirs == as_in_sync_info(info)


def test_the_original_lists_and_shows_our_records_like_its_own(catalog, upstream):
    ours = add_backup(catalog, A, mode="rsync-concurrent", backup_name="weekly")
    text = read(catalog.layout.backup_info(A))
    commands = (["list-backups", "main"], ["show-backup", "main", "weekly"], ["show-backup", "main", A])
    before = [upstream.json(*command) for command in commands]
    assert before[0]["main"][0]["size_bytes"] == ours.size
    assert before[1]["main"]["base_backup_information"]["begin_lsn"] == "0/4000028"
    # The same text where only the original would have put it: the same answers.
    os.unlink(catalog.layout.legacy_backup_info(A))
    write(catalog.layout.backup_info(A), text)
    assert [upstream.json(*command) for command in commands] == before


def test_an_inactive_server_is_enough_for_the_original_to_show_a_record(catalog, upstream):
    write_config(os.path.dirname(upstream.config_file), {"main": INACTIVE_SERVER})
    add_backup(catalog, A, status="FAILED", error="failure copying (no space)")
    assert "failure copying (no space)" in upstream.run("show-backup", "main", A).out


def test_our_own_files_change_nothing_for_the_original(catalog, upstream):
    add_backup(catalog, A)
    before = upstream.json("list-backups", "main")
    catalog.backups.mark_deleting(A)
    write(catalog.layout.wal_index, b"\x00cache")
    write(os.path.join(catalog.layout.meta_directory, f".{B}-backup.info.4711.tmp"), "status=DO")
    assert upstream.json("list-backups", "main") == before


def test_a_removed_record_is_gone_for_the_original(catalog, upstream):
    add_backup(catalog, A)
    add_backup(catalog, B)
    catalog.backups.remove_record(A)
    assert [row["backup_id"] for row in upstream.json("list-backups", "main")["main"]] == [B]


# --- records that the original writes


def test_the_original_writes_our_record_back_as_we_wrote_it(catalog, upstream):
    """Deleting a child makes the original save the parent anew: nothing but the list of children may differ."""
    rich = {**RECORDS[A], "mode": "postgres"}
    root, _child = add_chain(catalog, A, B, **rich)
    before = read(catalog.layout.backup_info(A))
    upstream.run("delete", "main", B)
    after = read(catalog.layout.backup_info(A))
    assert changed_lines(before, after) == ["children_backup_ids=None"]
    assert catalog.backups.read(A) == replace(root, children_backup_ids=())


def test_a_record_of_the_original_survives_our_save_byte_for_byte(catalog, upstream):
    """The original saves the next rsync backup when it deletes one:

    that text is its own, and goes through our hands.
    """
    add_upstream_backup(catalog.layout, A)
    add_upstream_backup(catalog.layout, B)
    upstream.run("delete", "main", A)
    theirs = read(catalog.layout.backup_info(B))
    info = catalog.backups.read(B)
    assert info.size != 24014537, "the original has counted anew"
    catalog.backups.save(info)
    assert read(catalog.layout.backup_info(B)) == theirs
    catalog.backups.save(replace(info, status="FAILED"))
    assert changed_lines(theirs, read(catalog.layout.backup_info(B))) == ["status=FAILED"]
    assert upstream.json("show-backup", "main", B)["main"]["status"] == "FAILED"


def test_both_read_the_old_place_and_prefer_the_new_one(catalog, upstream):
    add_upstream_backup(catalog.layout, A, legacy=True, backup_name="old")
    assert upstream.json("list-backups", "main")["main"][0]["backup_name"] == "old"
    assert catalog.backups.read(A).backup_name == "old"
    catalog.backups.save(replace(catalog.backups.read(A), backup_name="new"))
    assert upstream.json("list-backups", "main")["main"][0]["backup_name"] == "new"


def test_sloppy_records_mean_the_same_to_both(catalog, upstream):
    lines = (
        "# a note",
        "  ",
        "end_time = 2026-01-02T12:00:02Z",
        "begin_time=Fri Jan 2 12:00:00 2026 +0100",
        "size= 7 ",
        "status=DONE",
    )
    write(catalog.layout.backup_info(A), "\n".join(lines))
    theirs = upstream.run("sync-info", "main").json["backups"][A]
    ours = catalog.backups.read(A)
    assert ours.begin_time is not None
    assert ours.end_time is not None
    assert (theirs["begin_time_iso"], theirs["end_time_iso"]) == (
        ours.begin_time.isoformat(),
        ours.end_time.isoformat(),
    )
    assert (theirs["size"], theirs["status"]) == (ours.size, ours.status)
    assert (theirs["xlog_segment_size"], theirs["server_name"]) == (ours.xlog_segment_size, ours.server_name)


# --- annotations and markers


def test_both_see_the_keep_of_the_other(catalog, upstream):
    add_backup(catalog, A)
    for target in ("standalone", "full"):
        upstream.run("keep", "--target", target, "main", A)
        assert catalog.keep.get(A) == target
        catalog.keep.set(A, "standalone" if target == "full" else "full")
        assert catalog.keep.get(A) in upstream.run("keep", "--status", "main", A).out
    catalog.keep.release(A)
    assert "nokeep" in upstream.run("keep", "--status", "main", A).out


@pytest.mark.parametrize("form", ["console", "json"])
def test_the_keep_command_answers_like_the_originals(catalog, upstream, form):
    add_chain(catalog, A, B)
    add_backup(catalog, C, status="FAILED")

    def both(*args):
        ours = subprocess.run(
            [sys.executable, "-m", "barman", "-c", upstream.config_file, "-f", form, "keep", *args],
            capture_output=True,
            text=True,
            check=False,
        )
        return (ours.returncode, ours.stdout), upstream.run("-f", form, "keep", *args, check=False)

    for args in (
        ("--status", "main", "latest-full"),
        ("--target", "standalone", "main", "first"),
        ("-s", "main", A),
        ("-s", "-r", "--target", "full", "main", A),
        ("-r", "main", A),
        ("--release", "main", A),
        ("-s", "main", A),
        ("-s", "main", "last-failed"),
    ):
        ours, theirs = both(*args)
        assert ours == (theirs.code, theirs.out), args
    for args in (
        ("--target", "full", "main", B),
        ("--target", "full", "main", C),
        ("-s", "main", "nosuch"),
        ("-s", "nosuch", A),
        ("main", A),
        ("--target", "half", "main", A),
    ):
        ours, theirs = both(*args)
        assert ours[0] == theirs.code, args
        assert catalog.snapshot().keep == {}


def test_a_backup_that_we_keep_is_not_deleted_by_the_original(catalog, upstream):
    add_backup(catalog, A)
    catalog.keep.set(A, "full")
    assert upstream.run("delete", "main", A, check=False).code == 1
    assert list(catalog.snapshot().backups) == [A]


def test_an_old_keep_annotation_counts_for_both(catalog, upstream):
    add_backup(catalog, A)
    write(catalog.layout.legacy_keep(A), "standalone")
    assert catalog.snapshot().keep == {A: "standalone"}
    assert "standalone" in upstream.run("keep", "--status", "main", A).out
    assert catalog.keep.get(A) == "standalone"


def test_a_deletion_that_the_originals_hook_vetoed_is_only_marked_as_theirs(catalog, upstream):
    add_backup(catalog, A)
    configure(upstream, pre_delete_retry_script="exit 63")
    assert upstream.run("delete", "main", A, check=False).code == 1
    view = catalog.snapshot()
    assert (view.deleting, view.upstream_deleting) == (frozenset(), {A})
    catalog.backups.clear_deleting(A)
    assert catalog.snapshot().upstream_deleting == frozenset()


# --- locks


def test_the_original_refuses_to_delete_while_we_hold_the_lock(catalog, upstream):
    add_backup(catalog, A)
    for lock in (catalog.locks.backup(), catalog.locks.backup_id(A), catalog.locks.backup_id(A, shared=True)):
        with lock:
            upstream.run("delete", "main", A, check=False)
            assert list(catalog.snapshot().backups) == [A]
    upstream.run("delete", "main", A)
    assert list(catalog.snapshot().backups) == []


def test_we_see_the_original_at_work_and_stay_out(catalog, upstream, tmp_path):
    add_backup(catalog, A)
    configure(upstream, pre_delete_script=f"touch {tmp_path}/in; sleep 30 & echo $! > {tmp_path}/sleeper; wait")
    child = subprocess.Popen(
        [upstream.program, "-c", upstream.config_file, "delete", "main", A],
        stdout=subprocess.DEVNULL,
        env=own_environment(),
    )
    try:
        until = time.monotonic() + 20
        while not os.path.exists(tmp_path / "sleeper") and time.monotonic() < until:
            time.sleep(0.05)
        assert [(holder.task, holder.pid) for holder in catalog.locks.holders()] == [("backup", child.pid)]
        for lock in (catalog.locks.backup(), catalog.locks.backup_id(A)):
            with pytest.raises(LockBusy) as caught:
                lock.acquire()
            assert caught.value.holder == child.pid
    finally:
        sleeper = int(read(str(tmp_path / "sleeper")))
        os.kill(sleeper, 9)
        child.wait(30)


# --- retention


def generate(seed: int) -> tuple[list[BackupInfo], dict[str, str]]:
    """A catalog of a few fulls and chains with some failures and keeps."""
    chance = random.Random(seed)
    now = clock.now()
    infos: list[BackupInfo] = []
    for age in sorted(chance.sample(range(40), 8), reverse=True):
        end = now - timedelta(days=age + 0.5)
        done = [info for info in infos if info.status == "DONE"]
        parent = chance.choice(done).backup_id if done and chance.random() < 0.4 else None
        status = chance.choice(["DONE"] * 5 + ["FAILED", "WAITING_FOR_WALS", "STARTED"])
        info = make_info(end.strftime("%Y%m%dT%H%M%S"), end_time=end, status=status, parent_backup_id=parent)
        infos.append(info)
    listed = [
        replace(info, children_backup_ids=tuple(i.backup_id for i in infos if i.parent_backup_id == info.backup_id))
        for info in infos
    ]
    keepable = [info.backup_id for info in listed if info.counts_for_redundancy]
    keep = {i: chance.choice(["full", "standalone"]) for i in keepable if chance.random() < 0.25}
    return listed, keep


@pytest.mark.parametrize("seed", range(8))
def test_both_judge_a_catalog_alike(catalog, upstream, seed):
    infos, keep = generate(seed)
    for info in infos:
        catalog.backups.save(info)
    for backup_id, target in keep.items():
        catalog.keep.set(backup_id, target)
    for text, minimum in (
        ("REDUNDANCY 2", 0),
        ("REDUNDANCY 1", 3),
        ("RECOVERY WINDOW OF 7 DAYS", 0),
        ("RECOVERY WINDOW OF 2 WEEKS", 3),
    ):
        configure(upstream, retention_policy=text, minimum_redundancy=str(minimum))
        theirs = {
            row["backup_id"]: row.get("retention_status", "-") for row in upstream.json("list-backups", "main")["main"]
        }
        ours = report(catalog.snapshot(), retention_policy.parse(text), minimum, clock.now())
        # The original's list leaves VALID out, and says nothing about backups that are not complete.
        complete = {info.backup_id for info in infos if info.is_copy_done}
        shown = {i: "-" if word == "VALID" or i not in complete else word for i, word in ours.items()}
        assert theirs == shown, text


def test_the_one_deviation_is_that_redundancy_zero_keeps_the_last_good_backup(catalog, upstream):
    add_backup(catalog, A)
    configure(upstream, retention_policy="REDUNDANCY 0")
    assert upstream.json("list-backups", "main")["main"][0]["retention_status"] == "OBSOLETE"
    assert report(catalog.snapshot(), retention_policy.parse("REDUNDANCY 0"), 0, clock.now()) == {A: "VALID"}


def test_the_original_is_found_or_the_test_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("BARMAN_TEST_UPSTREAM", str(tmp_path / "barman"))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="BARMAN_TEST_UPSTREAM"):
        find_upstream()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="BARMAN_TEST_UPSTREAM"):
        find_upstream()
    program = shutil.which("true")
    assert program is not None
    monkeypatch.setenv("BARMAN_TEST_UPSTREAM", program)
    assert find_upstream() == program


def test_the_old_name_of_the_index_disturbs_no_command_of_the_original(catalog, upstream):
    for number in (1, 2):
        name = f"00000001000000000000000{number}"
        write(catalog.layout.wal_path(name), "wal")
        catalog.xlogdb.append([WalFile(name, 3, 5.0)])
    assert os.path.islink(catalog.layout.legacy_xlogdb)
    upstream.run("rebuild-xlogdb", "main")
    assert [line.split()[0] for line in read(catalog.layout.legacy_xlogdb).splitlines()] == [name[:-1] + "1", name]
    os.unlink(catalog.layout.xlogdb)
    upstream.run("archive-wal", "main")
    upstream.run("rebuild-xlogdb", "main")
    assert len(read(catalog.layout.xlogdb).splitlines()) == 2
