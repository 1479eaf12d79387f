"""import-backup killed at every change it makes: no half backup is ever listed, the next import ends as if alone."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from barman.backup.bundle_export import export_backup
from barman.backup.bundle_import import import_backup
from barman.catalog.identity import Identity
from barman.errors import BackupError
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.wal.restorable import judged
from tests.support.catalog_builder import add_backup
from tests.support.crash import every_crash
from tests.unit.backup.support import SEGMENT, SYSTEM_ID, archive_segments, archived, make_server, segment

pytestmark = pytest.mark.crash

A = "20260101T000000"


class Scene:
    """An exported backup, and another repository of its cluster, made anew for every crash."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server: Server
        source = self.make("source")
        info = add_backup(
            source.catalog, A, begin=2, end=3, xlog_segment_size=SEGMENT, systemid=str(SYSTEM_ID), tablespaces=()
        )
        archive_segments(source.catalog, 2, 3)
        self.path = export_backup(source, info, str(home), {})

    def make(self, name: str) -> Server:
        shutil.rmtree(self.home / name, ignore_errors=True)
        (self.home / name).mkdir(parents=True)
        server = make_server(str(self.home / name))
        server.catalog.identity.write(Identity(str(SYSTEM_ID), "15"))
        return server

    def prepare(self) -> None:
        self.server = self.make("target")

    def run(self) -> None:
        import_backup(self.server, self.path, MemoryReporter())

    def assert_nobody_is_misled(self) -> None:
        view = judged(self.server.catalog, self.server.catalog.snapshot())
        assert not view.corrupt
        assert not view.unrestorable
        assert all(view.keep.get(backup_id) == "standalone" for backup_id in view.backups)

    def assert_finished(self) -> None:
        catalog = self.server.catalog
        there = A in catalog.snapshot().backups
        if there:
            with pytest.raises(BackupError, match="already"):
                self.run()
        else:
            self.run()
        self.assert_nobody_is_misled()
        assert list(catalog.snapshot().backups) == [A]
        assert os.listdir(catalog.layout.basebackups_directory) == [A]
        assert archived(catalog) == [segment(2), segment(3)]


@pytest.fixture
def scene() -> Iterator[Scene]:
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as directory:
        yield Scene(Path(directory))


def test_an_import_killed_anywhere_misleads_nobody_and_can_be_repeated(scene: Scene) -> None:
    crashes = 0
    for _ in every_crash(scene.run, str(scene.home / "target"), scene.prepare):
        crashes += 1
        scene.assert_nobody_is_misled()
        scene.assert_finished()
    scene.assert_finished()
    assert crashes > 20
