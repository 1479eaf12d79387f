"""rebuild-xlogdb killed at every change: readers always have a whole index, old or new, and no WAL is hidden."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from barman.server.server import Server
from tests.support.crash import count_changes, every_crash
from tests.unit.backup.support import archive_segments, make_server

pytestmark = pytest.mark.crash

NUMBERS = range(1, 9)


def listed(server: Server) -> list[str]:
    return [wal.name for wal in server.catalog.xlogdb.scan()]


@pytest.mark.parametrize("damage", ["none", "garbage", "torn", "missing"])
def test_a_rebuild_killed_anywhere_leaves_the_old_or_the_new_index_and_can_be_repeated(
    tmp_path: Path, damage: str
) -> None:
    home = tmp_path / "home"
    server: Server

    def prepare() -> None:
        nonlocal server
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        server = make_server(str(home))
        archive_segments(server.catalog, NUMBERS[0], NUMBERS[-1])
        path = server.catalog.xlogdb.path
        content = Path(path).read_bytes()
        if damage == "garbage":
            Path(path).write_bytes(b"\0\xff garbage\n\n" + content[len(content) // 2 :])
        elif damage == "torn":
            Path(path).write_bytes(content[: len(content) // 2])
        elif damage == "missing":
            os.unlink(path)

    def rebuild() -> None:
        server.catalog.xlogdb.rebuild()

    prepare()
    before = listed(server)
    rebuild()
    after = listed(server)
    assert len(after) == len(NUMBERS)
    files = {name: os.path.getsize(server.catalog.layout.wal_path(name)) for name in after}

    crashes = 0
    for at in every_crash(rebuild, str(home), prepare):
        crashes += 1
        path = server.catalog.xlogdb.path
        if os.path.exists(path):
            assert listed(server) in (before, after), f"killed before change {at}"
        else:
            assert damage == "missing"
        assert {name: os.path.getsize(server.catalog.layout.wal_path(name)) for name in after} == files
        rebuild()
        assert listed(server) == after
    prepare()
    assert crashes == count_changes(rebuild, str(home)) > 0
    assert [name for name in os.listdir(server.catalog.layout.wals_directory) if name.endswith(".tmp")] == []
