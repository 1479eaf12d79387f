"""put-wal killed at every change it makes: what was confirmed is stored, and sending it again ends well."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from barman.fs.durable import is_temporary
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.wal.archiver import archive_wal
from barman.wal.put_wal import put_wal
from barman.wal.source import scan
from tests.support.crash import every_crash
from tests.support.needs import need_program, skip_if_not_traced
from tests.support.tar_builder import archive
from tests.support.wal_files import HISTORY, drop, make_server, segment, segment_name

pytestmark = pytest.mark.crash

FILES = {
    segment_name(1): segment(segment_name(1)),
    segment_name(2): segment(segment_name(2)),
    "00000002.history": HISTORY,
}
KNOWN, CONFLICT = segment_name(3), segment(segment_name(3), seed=1)


class Scene:
    """A server that a client sends to; what it was told is in a file that survives the kill."""

    def __init__(self, home: Path, stream: bytes) -> None:
        self.home = home
        self.stream = stream
        self.told = home.parent / "told"
        self.server: Server

    def prepare(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        self.told.write_text("")
        self.server = make_server(self.home)
        drop(self.server.catalog.layout.incoming_directory, KNOWN)

    def put(self) -> None:
        with open(self.told, "a") as told:
            reporter = MemoryReporter()
            result = put_wal(
                self.server, io.BytesIO(self.stream), reporter,
                answer=lambda line: (told.write(line + "\n"), told.flush()),
            )  # fmt: skip
            if not result.refused:
                told.writelines(f"put-wal stored {name}\n" for name in result.stored)

    def confirmed(self) -> set[str]:
        return {line.split()[2] for line in self.told.read_text().splitlines() if line.startswith("put-wal stored")}

    def stored(self) -> dict[str, bytes]:
        return {file.name: Path(file.path).read_bytes() for file in scan(self.server.catalog.layout.incoming_directory)}


@pytest.mark.parametrize("confirm", [False, True], ids=["all-at-the-end", "one-by-one"])
def test_killed_anywhere_what_was_confirmed_is_stored_and_the_next_call_completes_it(
    tmp_path: Path, confirm: bool
) -> None:
    scene = Scene(tmp_path / "home", archive(FILES, confirm=confirm))
    crashes = 0
    for _ in every_crash(scene.put, str(scene.home), scene.prepare):
        crashes += 1
        stored = scene.stored()
        assert all(data == FILES.get(name, segment(KNOWN)) for name, data in stored.items())
        assert scene.confirmed() <= set(stored)
        scene.put()
        assert scene.stored() == {**FILES, KNOWN: segment(KNOWN)}
        leftovers = [name for name in os.listdir(scene.server.catalog.layout.incoming_directory) if is_temporary(name)]
        assert leftovers == []
    assert crashes > 9


def test_killed_while_it_refuses_a_file_the_stored_one_stays_and_the_refused_one_is_kept_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "home", archive({KNOWN: CONFLICT}))
    for _ in every_crash(scene.put, str(scene.home), scene.prepare):
        scene.put()
        assert scene.stored() == {KNOWN: segment(KNOWN)}
        assert scene.confirmed() == set()
        errors = Path(scene.server.catalog.layout.errors_directory)
        assert [entry.read_bytes() for entry in errors.iterdir() if entry.name[0] != "."] == [CONFLICT]


def test_killed_while_it_stores_again_what_is_archived_without_a_line_nothing_is_confirmed_too_early(
    tmp_path: Path,
) -> None:
    """One file waits already, one is archived, one is archived and missing in the index: all three are sent again."""
    scene = Scene(tmp_path / "home", archive(FILES, confirm=True))

    def prepare() -> None:
        scene.prepare()
        first, second, _ = FILES
        layout = scene.server.catalog.layout
        for name in (first, second):
            drop(layout.incoming_directory, name, FILES[name])
            archive_wal(scene.server, MemoryReporter())
        Path(layout.xlogdb).write_bytes(Path(layout.xlogdb).read_bytes().partition(second.encode())[0])
        drop(layout.incoming_directory, KNOWN)

    for _ in every_crash(scene.put, str(scene.home), prepare):
        archived = {name for name in FILES if scene.server.catalog.wals.exists(name)}
        assert scene.confirmed() <= {*scene.stored(), *archived}
        scene.put()
        archive_wal(scene.server, MemoryReporter())
        assert scene.stored() == {}
        lines = [line.name for line in scene.server.catalog.xlogdb.scan()]
        assert sorted(lines) == sorted([*FILES, KNOWN])


def test_the_client_is_told_only_after_data_name_and_directory_are_synced(tmp_path: Path) -> None:
    """Promise P1, on the system calls themselves."""
    need_program("strace")
    server = make_server(tmp_path)
    trace = tmp_path / "trace"
    argv = ["strace", "-f", "-y", "-s", "200", "-o", str(trace), "-e", "trace=fsync,fdatasync,link,linkat,rename,write"]
    argv += [sys.executable, "-m", "barman", "-c", str(tmp_path / "barman.conf"), "put-wal", "main"]
    done = subprocess.run(
        argv, input=archive(FILES, confirm=True), capture_output=True, check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    if done.returncode != 0:
        skip_if_not_traced(done.stderr)
    assert done.returncode == 0, done.stderr
    calls = trace.read_text().splitlines()
    incoming = server.catalog.layout.incoming_directory
    position = 0

    def after(pattern: str) -> int:
        found = [number for number, line in enumerate(calls) if number >= position and re.search(pattern, line)]
        assert found, f"no call matches {pattern} after {position}"
        return found[0]

    for name in FILES:
        for pattern in (
            rf"fsync\(\d+<{re.escape(incoming)}/\.{re.escape(name)}\.",
            rf'link(at)?\(.*"{re.escape(incoming)}/{re.escape(name)}"',
            rf"fsync\(\d+<{re.escape(incoming)}>\)",
            rf'write\(1<.*"put-wal stored {re.escape(name)}',
        ):
            position = after(pattern)
