"""sync-wals and sync-backup killed at every change they make: nothing counts that is not whole, and a rerun ends well.

rsync's own changes are its own: it dies with the run that started it.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from barman.backup.dead_runs import fail_dead_runs
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupStatus
from barman.fs.durable import is_temporary
from barman.report import MemoryReporter
from tests.support.catalog_builder import add_backup
from tests.support.crash import count_changes, every_crash, run_killed
from tests.support.invariants import Expectations, check_invariants
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
