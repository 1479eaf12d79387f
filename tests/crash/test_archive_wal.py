"""archive-wal killed at every change it makes: no WAL is lost, and the next run ends as if nothing had happened."""

from __future__ import annotations

import gzip
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from barman.compression.codec import decoded
from barman.fs.durable import is_temporary
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.wal.admission import OTHER_CONTENT
from barman.wal.archiver import archive_wal
from barman.wal.quarantine import list_refused
from tests.support.crash import count_changes, every_crash, run_killed
from tests.support.needs import need_program, skip_if_not_traced
from tests.support.wal_files import HISTORY, drop, make_server, segment, segment_name

pytestmark = pytest.mark.crash

INCOMING = {
    segment_name(0xFFE): segment(segment_name(0xFFE)),
    segment_name(0xFFF): segment(segment_name(0xFFF)),
    # As a client compresses it: the same content as the streamed one, in other bytes.
    segment_name(0x1000): gzip.compress(segment(segment_name(0x1000)), 1),
}
STREAMED = {name: segment(name) for name in (segment_name(0xFFF), segment_name(0x1000), segment_name(0x1001))}
EVERYTHING = {segment_name(0xFFE): segment(segment_name(0xFFE)), **STREAMED, "00000002.history": HISTORY}
KEPT = max(STREAMED)


class Scene:
    """A server with both queues filled, made anew for every crash."""

    def __init__(self, home: Path, **options: str) -> None:
        self.home = home
        self.options = {"streaming_archiver": "on", "slot_name": "x", **options}
        self.server: Server

    def prepare(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        self.server = make_server(self.home, **self.options)
        layout = self.server.catalog.layout
        for directory, files in ((layout.incoming_directory, INCOMING), (layout.streaming_directory, STREAMED)):
            for name, data in files.items():
                drop(directory, name, data)
        drop(layout.incoming_directory, "00000002.history", HISTORY)

    def archive(self) -> MemoryReporter:
        reporter = MemoryReporter()
        archive_wal(self.server, reporter)
        return reporter

    def assert_nothing_is_lost(self) -> None:
        """Every file is in a queue or in the archive, whole; nothing incomplete has a final name."""
        layout = self.server.catalog.layout
        queues = (layout.incoming_directory, layout.streaming_directory)
        for name, data in EVERYTHING.items():
            places = [os.path.join(queue, name) for queue in queues] + [layout.wal_path(name)]
            copies = [_plain(path) for path in places if os.path.exists(path)]
            assert copies, f"{name} is lost"
            assert all(copy == data for copy in copies), f"{name} is damaged"
        for line in self.server.catalog.xlogdb.scan():
            assert os.path.getsize(layout.wal_path(line.name)) == line.size

    def assert_complete(self) -> None:
        """As after a run that nobody disturbed."""
        layout = self.server.catalog.layout
        assert os.listdir(layout.incoming_directory) == []
        assert os.listdir(layout.streaming_directory) == [KEPT]
        assert visible(layout.errors_directory) == []
        assert {name: _plain(layout.wal_path(name)) for name in EVERYTHING} == EVERYTHING
        assert Counter(line.name for line in self.server.catalog.xlogdb.scan()) == Counter(list(EVERYTHING))
        leftovers = [name for _, _, names in os.walk(layout.backup_directory) for name in names if is_temporary(name)]
        assert leftovers == []


def _plain(path: str) -> bytes:
    with decoded(path) as stream:
        return stream.read()


def visible(directory: str) -> list[str]:
    return [name for name in os.listdir(directory) if not name.startswith(".")]


VARIANTS: dict[str, Mapping[str, str]] = {
    "plain": {},
    "zstd": {"compression": "zstd", "compression_level": "low"},
    "batches": {"archiver_batch_size": "1", "streaming_archiver_batch_size": "1"},
}


@pytest.mark.parametrize("variant", ["plain", "zstd"])
def test_killed_anywhere_nothing_is_lost_and_the_next_run_completes_it(variant: str, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "home", **VARIANTS[variant])
    crashes = 0
    for _ in every_crash(scene.archive, str(scene.home), scene.prepare):
        crashes += 1
        scene.assert_nothing_is_lost()
        reporter = scene.archive()
        assert not reporter.failed, reporter.lines
        scene.assert_complete()
    assert crashes > 25
    scene.assert_complete()


def test_killed_again_and_again_at_random_it_still_comes_to_its_end(tmp_path: Path) -> None:
    dice = random.Random(20261122)
    for round_number in range(12):
        scene = Scene(tmp_path / f"home{round_number}", compression="gzip", compression_level="low")
        scene.prepare()
        for _ in range(30):
            if not run_killed(scene.archive, str(scene.home), dice.randint(1, 25)).killed:
                break
            scene.assert_nothing_is_lost()
        scene.archive()
        scene.assert_complete()


def test_killed_between_batches_the_rest_waits_in_the_queue(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "home", **VARIANTS["batches"])
    for _ in every_crash(scene.archive, str(scene.home), scene.prepare):
        scene.assert_nothing_is_lost()
        for _ in range(6):
            scene.archive()
        scene.assert_complete()


def test_killed_while_both_sources_disagree_the_streamed_one_is_archived_and_the_other_kept(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "home")
    name = segment_name(0xFFF)
    other = segment(name, seed=1)

    def prepare() -> None:
        scene.prepare()
        drop(scene.server.catalog.layout.incoming_directory, name, other)

    def kept() -> list[bytes]:
        errors = Path(scene.server.catalog.layout.errors_directory)
        return [Path(errors, entry).read_bytes() for entry in visible(str(errors))]

    for _ in every_crash(scene.archive, str(scene.home), prepare):
        layout = scene.server.catalog.layout
        waiting = Path(layout.incoming_directory, name)
        # Between its two names it has both: the move publishes before it removes.
        copies = {*kept(), *([waiting.read_bytes()] if waiting.exists() else [])}
        assert copies == {other}
        scene.archive()
        assert kept() == [other], "kept once"
        assert [file.reason for file in list_refused(layout.errors_directory)] == [OTHER_CONTENT]
        assert _plain(layout.wal_path(name)) == segment(name)
        assert os.listdir(layout.incoming_directory) == []
        assert Counter(line.name for line in scene.server.catalog.xlogdb.scan()) == Counter(list(EVERYTHING))


def test_a_torn_index_line_of_a_killed_writer_is_healed(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "home")
    scene.prepare()
    scene.archive()
    index = scene.server.catalog.xlogdb.path
    whole = Path(index).read_bytes()
    for cut in range(1, len(whole.splitlines()[-1]) + 1):
        name = whole.splitlines()[-1].split(b"\t")[0].decode()
        Path(index).write_bytes(whole[:-cut])
        drop(scene.server.catalog.layout.incoming_directory, name, EVERYTHING[name])
        scene.archive()
        assert Counter(line.name for line in scene.server.catalog.xlogdb.scan()) == Counter(list(EVERYTHING))


def test_a_whole_run_makes_the_same_changes_every_time(tmp_path: Path) -> None:
    counts = set()
    for number in range(2):
        scene = Scene(tmp_path / f"home{number}")
        scene.prepare()
        counts.add(count_changes(scene.archive, str(scene.home)))
    assert len(counts) == 1


def whole_calls(lines: list[str]) -> list[str]:
    """Calls in the order of their ends: strace splits one in two when another thread's comes between."""
    begun: dict[str, str] = {}
    calls = []
    for line in lines:
        pid, _, text = line.partition(" ")
        if text.endswith("<unfinished ...>"):
            begun[pid] = line.removesuffix(" <unfinished ...>")
        elif match := re.match(r"\s*<\.\.\. \w+ resumed>\s*(.*)", text):
            calls.append(begun.pop(pid) + match.group(1))
        else:
            calls.append(line)
    return calls


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_source_is_unlinked_only_after_data_names_and_index_are_synced(compression: str, tmp_path: Path) -> None:
    """Promise P1, on the system calls themselves."""
    need_program("strace")
    server = make_server(tmp_path, compression=compression)
    drop(server.catalog.layout.incoming_directory, "00000002.history", HISTORY)
    archive_wal(server, MemoryReporter())
    names = [segment_name(number) for number in range(3)]
    for name in names:
        drop(server.catalog.layout.incoming_directory, name)
    trace = tmp_path / "trace"
    argv = ["strace", "-f", "-y", "-o", str(trace), "-e", "trace=fsync,fdatasync,link,linkat,rename,unlink,pwrite64"]
    argv += [sys.executable, "-m", "barman", "-c", str(tmp_path / "barman.conf"), "archive-wal", "main"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(tmp_path)})
    if done.returncode != 0:
        skip_if_not_traced(done.stderr)
    assert done.returncode == 0, done.stderr
    calls = whole_calls(trace.read_text().splitlines())
    layout = server.catalog.layout
    archive = os.path.dirname(layout.wal_path(names[0]))

    def position(pattern: str, *, last: bool = False) -> int:
        found = [number for number, line in enumerate(calls) if re.search(pattern, line)]
        assert found, f"no call matches {pattern}"
        return found[-1] if last else found[0]

    for name in names:
        source = os.path.join(layout.incoming_directory, name)
        final = layout.wal_path(name)
        data = source if compression == "none" else os.path.join(archive, f".{name}.")
        synced = position(rf"fsync\(\d+<{re.escape(data)}")
        published = position(rf'link(at)?\(.*"{re.escape(final)}"')
        directory = position(rf"fsync\(\d+<{re.escape(archive)}>\)", last=True)
        written = position(rf"pwrite64\(\d+<{re.escape(layout.xlogdb)}>")
        indexed = position(rf"fsync\(\d+<{re.escape(layout.xlogdb)}>\)")
        dropped = position(rf'unlink\("{re.escape(source)}"\)')
        queue = position(rf"fsync\(\d+<{re.escape(layout.incoming_directory)}>\)")
        assert synced < published < directory < written < indexed < dropped < queue
    new_directory = position(rf"fsync\(\d+<{re.escape(layout.wals_directory)}>\)")
    assert new_directory < position(rf'unlink\("{re.escape(layout.incoming_directory)}/')
