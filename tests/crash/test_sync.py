"""sync-wals and sync-backup killed at every change they make: nothing counts that is not whole, and a rerun ends well.

rsync's own changes are its own: it dies with the run that started it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from barman.backup.dead_runs import fail_dead_runs
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupStatus
from barman.fs.durable import is_temporary
from barman.report import MemoryReporter
from tests.crash.test_archive_wal import whole_calls
from tests.support.catalog_builder import add_backup
from tests.support.crash import count_changes, every_crash, run_killed
from tests.support.fix_postgres import REPOSITORY
from tests.support.invariants import Expectations, check_invariants
from tests.support.needs import need_program, skip_if_not_traced
from tests.support.passive import Nodes, segment, segment_name
from tests.support.wal_builder import MB
from tests.support.wal_files import HISTORY

pytestmark = pytest.mark.crash

FIRST, SECOND = "20261122T100000", "20261122T110000"


class Scene:
    """Two nodes; what the passive one has is put back before every crash."""

    def __init__(self, directory: Path, **options: str) -> None:
        self.nodes = Nodes(directory, **options)
        self.home = directory / "passive"
        self._saved = directory / "saved"

    def save(self) -> None:
        shutil.copytree(self.home, self._saved, symlinks=True)

    def prepare(self) -> None:
        shutil.rmtree(self.home)
        shutil.copytree(self._saved, self.home, symlinks=True)


def test_sync_wals_killed_anywhere_archives_whole_files_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    nodes = scene.nodes
    nodes.put_backup(FIRST, 4)
    expected = {segment_name(number): segment(number) for number in (4, 5, 0x1001)} | {"00000002.history": HISTORY}
    for name, content in expected.items():
        if name != segment_name(4):
            nodes.put_file(name, content)
    nodes.catalog.ensure_directories()
    waiting = {"xlog_segment_size": MB, "tablespaces": (), "status": BackupStatus.WAITING_FOR_WALS}
    add_backup(nodes.catalog, FIRST, begin=4, **waiting)
    nodes.tell()
    scene.save()
    crashes = 0
    for _ in every_crash(nodes.sync_wals, str(scene.home), scene.prepare):
        crashes += 1
        for name, content in nodes.archived().items():
            assert content == expected[name], f"{name} is not whole"
        for line in nodes.lines():
            assert os.path.getsize(nodes.ours.wal_path(line.name)) == line.size, "listed before it was there"
        if nodes.position() is not None:
            assert set(nodes.archived()) == set(expected), "the position speaks for what is not here"
        check_invariants(nodes.ours, Expectations(settled=False, indexed=False))
        assert nodes.sync_wals().lines == []
        assert nodes.archived() == expected
        assert Counter(line.name for line in nodes.lines()) == Counter(list(expected))
        assert nodes.position() == "00000002.history"
        assert not os.path.exists(nodes.ours.sync_staging)
    assert crashes > 25


def test_sync_backup_killed_anywhere_is_no_good_backup_before_it_is_whole(tmp_path: Path) -> None:
    scene = Scene(tmp_path, reuse_backup="link")
    nodes = scene.nodes
    for backup_id, begin in ((FIRST, 4), (SECOND, 5)):
        nodes.put_backup(backup_id, begin, mode="rsync-concurrent")
    nodes.primary.catalog.keep.set(SECOND, "full")
    nodes.tell()
    nodes.sync_backup(FIRST)
    nodes.sync_wals()
    scene.save()
    good = nodes.files(nodes.ours, FIRST)
    expected = nodes.files(nodes.theirs, SECOND)

    def copy() -> None:
        nodes.sync_backup(SECOND)

    scene.prepare()
    changes = count_changes(copy, str(scene.home))
    assert changes > 30
    for at in range(1, changes + 1, 2):
        scene.prepare()
        assert run_killed(copy, str(scene.home), at).killed
        assert nodes.files(nodes.ours, FIRST) == good
        check_invariants(nodes.ours, Expectations(settled=False, backups=[FIRST]))
        left = nodes.catalog.snapshot().backups.get(BackupId(SECOND))
        if left is not None and left.is_copy_done:
            found = nodes.files(nodes.ours, SECOND)
            assert {name: found[name] for name in found if not is_temporary(name)} == expected
            assert nodes.catalog.keep.get(SECOND) == "full"
        elif left is not None:
            assert (left.status, left.mode) == (BackupStatus.SYNCING, "passive")
            fail_dead_runs(nodes.passive, MemoryReporter())
            assert nodes.record(SECOND).status == BackupStatus.FAILED
        nodes.sync_backup(SECOND)
        assert nodes.record(SECOND).status == BackupStatus.DONE
        found = nodes.files(nodes.ours, SECOND)
        assert {name: found[name] for name in found if not is_temporary(name)} == expected
        assert nodes.files(nodes.ours, FIRST) == good
        assert nodes.catalog.keep.get(SECOND) == "full"


def traced(nodes: Nodes, calls: str, *arguments: str) -> list[str]:
    """The system calls of a command on the passive node, in the order of their ends."""
    need_program("strace")
    trace = nodes.directory / "trace"
    argv = ["strace", "-f", "-y", "-o", str(trace), "-e", f"trace={calls}"]
    argv += [sys.executable, "-m", "barman", "-c", str(nodes.directory / "passive" / "barman.conf"), *arguments]
    environment = {**os.environ, "HOME": str(nodes.directory), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        skip_if_not_traced(done.stderr)
    assert done.returncode == 0, done.stderr
    return whole_calls(trace.read_text().splitlines())


def position(calls: list[str], pattern: str, *, last: bool = False) -> int:
    found = [number for number, line in enumerate(calls) if re.search(pattern, line)]
    assert found, f"no call matches {pattern}"
    return found[-1] if last else found[0]


def test_data_names_index_and_position_become_durable_in_this_order(tmp_path: Path) -> None:
    """Promises P1 and P12, on the system calls themselves."""
    nodes = Nodes(tmp_path)
    nodes.put_backup(FIRST, 4)
    nodes.put_wal(5)
    nodes.catalog.ensure_directories()
    add_backup(nodes.catalog, FIRST, begin=4, xlog_segment_size=MB, tablespaces=())
    nodes.tell()
    calls = traced(nodes, "fsync,link,linkat,rename,pwrite64", "sync-wals", "main")
    layout = nodes.ours
    archive = os.path.dirname(layout.wal_path(segment_name(4)))
    for name in (segment_name(4), segment_name(5)):
        synced = position(calls, rf"fsync\(\d+<{re.escape(layout.sync_staging)}/\w+/{name}>")
        published = position(calls, rf'link(at)?\(.*"{re.escape(layout.wal_path(name))}"')
        assert synced < published < position(calls, rf"fsync\(\d+<{re.escape(archive)}>\)", last=True)
    named = position(calls, rf"fsync\(\d+<{re.escape(archive)}>\)", last=True)
    indexed = position(calls, rf"fsync\(\d+<{re.escape(os.path.dirname(layout.xlogdb))}/[^>]*xlog.db")
    moved_on = position(calls, rf'rename\("[^"]*", "{re.escape(layout.sync_wals_info)}"\)')
    assert named < indexed < moved_on


def test_a_record_says_done_only_after_the_whole_copy_is_durable_and_compared(tmp_path: Path) -> None:
    """Promises P9 and P12, on the system calls themselves."""
    nodes = Nodes(tmp_path)
    nodes.put_backup(FIRST, 4)
    nodes.tell()
    calls = traced(nodes, "syncfs,fsync,rename,execve", "sync-backup", "main", FIRST)
    record = re.escape(nodes.ours.backup_info(FIRST))
    begun = position(calls, rf'rename\("[^"]*", "{record}"\)')
    copied = position(calls, r'execve\("[^"]*rsync", \["[^"]*rsync".*"--inplace"')
    tree = rf"syncfs\(|fsync\(\d+<{re.escape(nodes.ours.backup_directory_of(FIRST))}/data/PG_VERSION>"
    durable = position(calls[copied:], tree) + copied
    compared = position(calls, r'execve\("[^"]*rsync", \["[^"]*rsync".*"--checksum".*"--dry-run"')
    done = position(calls, rf'rename\("[^"]*", "{record}"\)', last=True)
    assert begun < copied < durable < compared < done
