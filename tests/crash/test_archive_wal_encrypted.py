"""archive-wal with encryption killed at every change, without a secret key: no WAL is lost or in the clear."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from barman.compression.codec import decoded
from barman.fs.durable import is_temporary
from barman.report import MemoryReporter
from barman.server.filters import configured_filters
from barman.server.server import Server
from barman.wal.archiver import archive_wal
from tests.support.crash import every_crash
from tests.support.fix_gpg import (
    OPEN,
    Keyring,
    files_with,
    fixture_all_keys,
    fixture_keyring,
    fixture_public_keyring,
)
from tests.support.wal_files import drop, make_server, segment, segment_name

__all__ = ["fixture_all_keys", "fixture_keyring", "fixture_public_keyring"]

pytestmark = pytest.mark.crash

A, B = segment_name(0xFFE), segment_name(0xFFF)
OPTIONS = {"encryption": "gpg", "encryption_key_id": OPEN, "streaming_archiver": "on", "slot_name": "x"}


class Scene:
    """A segment that came both ways, and one more."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server: Server

    def prepare(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        self.server = make_server(self.home, **OPTIONS)
        layout = self.server.catalog.layout
        drop(layout.incoming_directory, A)
        for name in (A, B):
            drop(layout.streaming_directory, name)

    def archive(self) -> MemoryReporter:
        reporter = MemoryReporter()
        archive_wal(self.server, reporter)
        return reporter

    def assert_archive_is_sealed(self) -> None:
        for name in (A, B):
            assert files_with(self.server.catalog.layout.wals_directory, segment(name)[40:2000]) == []

    def content(self, name: str) -> bytes:
        with decoded(self.server.catalog.layout.wal_path(name), configured_filters(self.server.config)) as stream:
            return stream.read()


def test_killed_anywhere_the_next_run_completes_it_without_the_secret_key(
    keyring: Keyring, public_keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path / "home")
    crashes = 0
    monkeypatch.setenv("GNUPGHOME", public_keyring.home)
    for _ in every_crash(scene.archive, str(scene.home), scene.prepare):
        crashes += 1
        layout = scene.server.catalog.layout
        scene.assert_archive_is_sealed()
        for name in (A, B):
            queued = [os.path.join(queue, name) for queue in (layout.incoming_directory, layout.streaming_directory)]
            assert any(map(os.path.exists, [*queued, layout.wal_path(name)])), f"{name} is lost"
        reporter = scene.archive()
        assert not reporter.failed, reporter.lines
        assert os.listdir(layout.incoming_directory) == []
        assert os.listdir(layout.streaming_directory) == [B]
        assert Counter(line.name for line in scene.server.catalog.xlogdb.scan()) == Counter([A, B])
        assert [n for _, _, names in os.walk(layout.backup_directory) for n in names if is_temporary(n)] == []
        scene.assert_archive_is_sealed()
    assert crashes > 15
    monkeypatch.setenv("GNUPGHOME", keyring.home)
    assert [scene.content(name) for name in (A, B)] == [segment(A), segment(B)]
