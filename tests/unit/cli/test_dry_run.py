"""`retention`, `delete --dry-run` and `cron --dry-run`: what they announce is what happens, and they change nothing."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barman.backup.delete import delete_backup
from barman.backup.dry_run import plan_delete, plan_retention
from barman.backup.expire import apply_retention
from barman.backup.retention_report import read_retention
from barman.catalog.backup_id import BackupId
from barman.catalog.wal_file import WalFile
from barman.errors import BarmanError
from barman.report import MemoryReporter
from tests.support.catalog_builder import add_backup, add_chain, write
from tests.support.offline import OfflineHome
from tests.unit.backup.support import SEGMENT, archive_segments, archived, make_server, segment

A, B, C, D, E = (f"2026010{day}T000000" for day in (1, 2, 3, 4, 5))


def state(directory):
    """Everything below a directory but the log: names, content, times."""
    found = {}
    for path in sorted(Path(directory).rglob("*")):
        facts = path.lstat()
        if path.name in ("barman.log", "stdout", "stderr"):
            continue
        content = path.read_bytes() if path.is_file() else None
        found[str(path)] = (facts.st_ino, facts.st_mode, facts.st_mtime_ns if path.is_file() else 0, content)
    return found


def add(catalog, backup_id, number, **changes):
    add_backup(catalog, backup_id, begin=number, end=number, xlog_segment_size=SEGMENT, tablespaces=(), **changes)


@pytest.fixture
def home(tmp_path):
    home = OfflineHome(tmp_path, retention_policy="REDUNDANCY 1", streaming_archiver="on")
    for number, backup_id in enumerate((A, B, C), 1):
        add(home.catalog, backup_id, 2 * number)
    archive_segments(home.catalog, 1, 8)
    return home


def test_a_dry_run_announces_the_deletion_and_changes_nothing(home):
    before = state(home.directory)
    done = home.run("-f", "json", "delete", "--dry-run", "main", A)
    assert done.rc == 0, done.said
    (deletion,) = json.loads(done.out)["main"]["deletions"]
    assert deletion["backup_ids"] == [A]
    assert deletion["wals"] == [segment(1), segment(2), segment(3)]
    retention = json.loads(home.run("-f", "json", "retention", "main").out)["main"]
    cron = json.loads(home.run("-f", "json", "cron", "--dry-run").out)["main"]
    assert state(home.directory) == before
    assert cron["retention"] == retention["next_run"]
    assert "apply the retention policy" in cron["tasks"]
    assert "start receive-wal" in cron["tasks"]
    announced = [name for item in retention["next_run"]["deletions"] for name in item["wals"]]
    assert home.run("delete", "main", A).rc == 0
    assert [name for name in announced if name in archived(home.catalog)] == [segment(4), segment(5)]


def test_a_refused_deletion_is_refused_alike(home):
    home.run("keep", "--target", "full", "main", A)
    before = state(home.directory)
    dry = home.run("delete", "--dry-run", "main", A)
    assert state(home.directory) == before
    real = home.run("delete", "main", A)
    assert dry.rc == real.rc == 1
    assert f"Cannot delete backup (main {A})" in dry.err
    assert "it is kept (full)" in dry.out
    assert "it is kept (full)" in real.err


def test_every_backup_and_every_range_of_wal_has_a_reason(home):
    home.run("keep", "--target", "standalone", "main", A)
    add(home.catalog, D, 8, status="FAILED")
    out = home.run("retention", "--explain", "main").out
    lines = [line.strip() for line in out.splitlines()]
    assert f"{A} KEEP:STANDALONE kept: kept by 'barman keep' (standalone)" in lines
    assert f"{B} OBSOLETE        deleted by the next run: 1 newer backups can be restored alone (REDUNDANCY 1)" in lines
    assert f"{C} VALID           kept: one of the newest 1 that can be restored alone (REDUNDANCY 1)" in lines
    assert f"{D} -               kept: FAILED: no policy applies, 'barman delete main {D}' removes it" in lines
    assert f"{segment(2)} kept: needed by {A}, which is kept standalone" in lines
    assert f"{segment(3)} to {segment(5)} (3) deleted by the next run: no backup that remains needs it" in lines
    assert f"{segment(6)} to {segment(8)} (3) kept: needed to recover from {C} on" in lines
    assert f"backup {B} is deleted, 4.0 KiB" in lines


def test_a_backup_that_cannot_be_restored_is_named_and_counts_for_nothing(home):
    os.unlink(home.catalog.layout.wal_path(segment(6)))
    found = json.loads(home.run("-f", "json", "retention", "main").out)["main"]["backups"]
    assert [item["not_restorable"] is None for item in found] == [True, True, False]
    assert [item["retention_status"] for item in found] == ["OBSOLETE", "VALID", "-"]
    assert [item["deleted_by_next_run"] for item in found] == [True, False, False]
    assert f"cannot be restored: WAL segment {segment(6)}" in home.run("retention", "--explain", "main").out


def test_an_unreadable_record_suspends_everything_and_says_so(home):
    write(home.catalog.layout.backup_info(E), "\0")
    found = json.loads(home.run("-f", "json", "retention", "main").out)["main"]
    assert found["next_run"]["deletions"] == []
    assert "retention is suspended" in found["next_run"]["notes"][0]
    assert list(found["unreadable"]) == [E]


def test_a_window_explains_itself(tmp_path):
    home = OfflineHome(tmp_path, retention_policy="RECOVERY WINDOW OF 7 DAYS")
    now = datetime.now(timezone.utc)
    for days, number in ((30, 2), (20, 3), (10, 4), (3, 5)):
        add(home.catalog, (now - timedelta(days=days)).strftime("%Y%m%dT%H%M%S"), number)
    archive_segments(home.catalog, 2, 5)
    reasons = [
        item["reason"] for item in json.loads(home.run("-f", "json", "retention", "main").out)["main"]["backups"]
    ]
    assert [reason.split(" (")[0].split(", which")[0] for reason in reasons] == [
        "ended before the window",
        "ended before the window",
        "needed to recover to the beginning of the window",
        "ended within the window",
    ]


def test_a_chain_shares_the_fate_of_its_root(tmp_path):
    server = make_server(str(tmp_path), retention_policy="REDUNDANCY 1")
    add_chain(server.catalog, A, B, xlog_segment_size=SEGMENT)
    add(server.catalog, C, 6)
    archive_segments(server.catalog, 4, 8)
    found = read_retention(server)
    assert [item.reason for item in found.backups][1] == f"shares the fate of {A}, the full backup of its chain"
    assert [item.goes for item in found.backups] == [True, True, False]
    assert found.next_run.deletions[0].backup_ids == (B, A)


def test_an_interrupted_deletion_is_announced_and_given_up_for_a_kept_backup(home):
    home.catalog.backups.mark_deleting(BackupId(A))
    found = json.loads(home.run("-f", "json", "cron", "--dry-run").out)["main"]["retention"]["deletions"]
    assert [(item["backup_id"], item["resumed"]) for item in found] == [(A, True), (B, False)]


# -- what is announced happens -----------------------------------------------------------------------------------------

STATES = st.sampled_from(["DONE", "DONE", "DONE", "FAILED", "WAITING_FOR_WALS"])
KEEPS = st.sampled_from([None, None, None, "full", "standalone"])
POLICIES = st.sampled_from(["REDUNDANCY 0", "REDUNDANCY 1", "REDUNDANCY 2", "RECOVERY WINDOW OF 1 DAYS", ""])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    backups=st.lists(st.tuples(st.integers(1, 20), STATES, KEEPS, st.booleans()), min_size=1, max_size=5),
    policy=POLICIES,
    minimum=st.integers(0, 2),
)
def test_what_a_dry_run_announces_is_what_the_run_does(tmp_path_factory, backups, policy, minimum):
    server = make_server(str(tmp_path_factory.mktemp("dry")), retention_policy=policy, minimum_redundancy=str(minimum))
    catalog = server.catalog
    ids, full = [], None
    for (number, status, keep, child), backup_id in zip(
        sorted(backups, key=lambda b: b[0]), (A, B, C, D, E), strict=False
    ):
        parent = full if child and full else None
        add(catalog, backup_id, number, status=status, parent_backup_id=parent)
        full = backup_id if status == "DONE" else full
        if keep and not parent:
            catalog.keep.set(backup_id, keep)
        ids.append(backup_id)
    for number in range(1, 23):
        write(catalog.layout.wal_path(segment(number)), "")
    catalog.xlogdb.append([WalFile(segment(number), 0, 1700000000.0) for number in range(1, 23)])

    def compare(dry, real):
        before = set(catalog.snapshot().backups), set(archived(catalog))
        announced = dry()
        assert (set(catalog.snapshot().backups), set(archived(catalog))) == before
        try:
            real()
        except BarmanError:
            assert not announced.deletions[-1].goes
        gone = {backup_id for item in announced.deletions if item.goes for backup_id in item.backup_ids}
        assert before[0] - set(catalog.snapshot().backups) == gone
        wals = [name for item in announced.deletions for name in item.wals]
        assert before[1] - set(archived(catalog)) == set(wals)
        assert len(wals) == len(set(wals))

    compare(lambda: plan_retention(server), lambda: apply_retention(server, MemoryReporter()))
    for backup_id in ids:
        if backup_id in catalog.snapshot().backups:
            compare(
                lambda target=backup_id: plan_delete(server, target),
                lambda target=backup_id: delete_backup(server, target, MemoryReporter()),
            )


# -- a dry run cannot write --------------------------------------------------------------------------------------------

ATTEMPTS = {
    "delete": "from barman.fs.durable import remove; remove([path])",
    "tree": "from barman.fs.durable import remove_tree; remove_tree(directory)",
    "write": "open(path, 'w')",
    "append": "from barman.fs.durable import append_lines; append_lines(path, b'x')",
    "rename": "os.rename(path, path + 'x')",
    "create": "from barman.fs.durable import write_atomic; write_atomic(path + '.new', 'x')",
    "truncate": "os.truncate(path, 0)",
    "mode": "os.chmod(path, 0)",
    "directory": "os.mkdir(path + '.d')",
    "program": "import subprocess; subprocess.run(['rm', path])",
    "spawned": "os.posix_spawn('/bin/rm', ['rm', path], {})",
    "link": "os.link(path, path + 'x')",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nothing_in_a_dry_run_can_change_a_file_whatever_it_calls(tmp_path, attempt):
    directory = tmp_path / "repository"
    write(str(directory / "file"), "content")
    before = state(directory)
    code = (
        "import os, sys\nfrom barman.fs.readonly import forbid_changes\nimport barman.fs.durable, barman.process\n"
        f"path, directory = {str(directory / 'file')!r}, {str(directory)!r}\n"
        f"forbid_changes(but=[{str(tmp_path / 'log')!r}])\nopen({str(tmp_path / 'log')!r}, 'a').write('x')\n"
        f"try:\n    {attempt_line(attempt)}\nexcept OSError as error:\n    sys.exit(9 if error.errno == 30 else 8)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    assert state(directory) == before
    assert os.path.getsize(tmp_path / "log") == 1


def attempt_line(attempt):
    return ATTEMPTS[attempt]
