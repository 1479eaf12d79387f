"""delete and retention killed at every change they make: nothing half-deleted looks good, the next run finishes it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from barman.backup.dead_runs import fail_dead_runs
from barman.backup.delete import delete_backup, resume_deletions
from barman.backup.expire import apply_retention
from barman.catalog.backup_id import BackupId
from barman.report import MemoryReporter
from barman.server.server import Server
from tests.support.catalog_builder import add_backup
from tests.support.crash import count_changes, every_crash
from tests.support.invariants import Expectations, check_invariants
from tests.unit.backup.support import SEGMENT, archive_segments, archived, make_server, segment

pytestmark = pytest.mark.crash

A, B, C, D = (BackupId(f"2026010{day}T000000") for day in (1, 2, 3, 4))
BEGINS = {A: 2, B: 3, C: 4, D: 6}


class Scene:
    """A chain A ← B ← C and a full backup D, with the WAL of all, made anew for every crash."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server: Server
        self.files = 0

    def prepare(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        self.server = make_server(str(self.home), retention_policy="REDUNDANCY 1")
        archive_segments(self.server.catalog, 1, 8)
        for backup_id, parent, children in ((A, None, (B,)), (B, A, (C,)), (C, B, ()), (D, None, ())):
            begin = BEGINS[backup_id]
            add_backup(
                self.server.catalog,
                backup_id,
                begin=begin,
                end=begin,
                xlog_segment_size=SEGMENT,
                tablespaces=(),
                parent_backup_id=parent,
                children_backup_ids=children,
            )
        data = self.server.catalog.layout.data_directory(D)
        self.files = sum(len(names) for _, _, names in os.walk(data))

    def assert_nobody_is_misled(self) -> None:
        """Right after the crash: every backup that is called good is whole, and has its WAL and its parents."""
        view = self.server.catalog.snapshot()
        assert not view.corrupt
        for info in view.copy_done:
            data = self.server.catalog.layout.data_directory(info.backup_id)
            files = sum(len(names) for _, _, names in os.walk(data))
            assert files == self.files, f"{info.backup_id} is called {info.status} and has lost files"
            assert info.parent_backup_id is None or view.backups[info.parent_backup_id].is_copy_done
            assert self.server.catalog.wals.exists(info.begin_wal or "")
        assert view.backups[D].status == "DONE"

    def assert_deleted(self, gone: set[BackupId], first_wal: int) -> None:
        layout = self.server.catalog.layout
        view = self.server.catalog.snapshot()
        assert set(view.backups) == {A, B, C, D} - gone
        assert archived(self.server.catalog) == [segment(number) for number in range(first_wal, 9)]
        check_invariants(layout, Expectations(absent_backups=gone))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    # Thousands of syncs: in memory they cost nothing, and a killed process loses nothing that it wrote either way.
    memory = Path("/dev/shm")
    base = Path(tempfile.mkdtemp(prefix="barman-crash-", dir=memory)) if os.access(memory, os.W_OK) else tmp_path
    yield Scene(base / "home")
    shutil.rmtree(base, ignore_errors=True)


def delete(backup_id: BackupId) -> Callable[[Scene], object]:
    return lambda scene: delete_backup(scene.server, backup_id, MemoryReporter())


def retain(scene: Scene) -> object:
    return apply_retention(scene.server, MemoryReporter())


@pytest.mark.parametrize(
    ("operation", "gone", "first_wal"),
    [(delete(C), {C}, 2), (delete(B), {B, C}, 2), (delete(A), {A, B, C}, 6), (retain, {A, B, C}, 6)],
    ids=["a leaf", "a branch", "a tree", "retention"],
)
@pytest.mark.parametrize("again", ["the same command", "the maintenance of cron"])
def test_a_deletion_killed_anywhere_misleads_nobody_and_is_finished(
    scene: Scene, operation: Callable[[Scene], object], gone: set[BackupId], first_wal: int, again: str
) -> None:
    crashes = 0
    for _ in every_crash(lambda: operation(scene), str(scene.home), scene.prepare):
        crashes += 1
        scene.assert_nobody_is_misled()
        reporter = MemoryReporter()
        if again == "the maintenance of cron":
            begun = bool(scene.server.catalog.snapshot().deleting)
            fail_dead_runs(scene.server, reporter)
            resume_deletions(scene.server, reporter)
            if not begun:
                continue  # nothing was marked yet: there was nothing to resume
        if gone & set(scene.server.catalog.snapshot().backups):
            operation(scene)
        else:
            resume_deletions(scene.server, reporter)
        scene.assert_deleted(gone, first_wal)
    assert crashes > 10


def test_killing_the_resumed_deletion_again_changes_nothing(scene: Scene) -> None:
    scene.prepare()
    steps = count_changes(lambda: delete(A)(scene), str(scene.home))

    def half_deleted() -> None:
        scene.prepare()
        for backup_id in (C, B, A):
            scene.server.catalog.backups.mark_deleting(backup_id)

    def resume() -> object:
        return resume_deletions(scene.server, MemoryReporter())

    for _ in every_crash(resume, str(scene.home), half_deleted):
        resume()
        scene.assert_deleted({A, B, C}, 6)
    assert steps > 30
