"""The derived index over `xlog.db`, against a naive reader of the same text."""

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barman.catalog.wal_file import WalFile, parse_line
from barman.catalog.wal_index import RangeStats, Tuning, WalIndex
from tests.support.wal_archive import Archive, segment_name


class Naive:
    """What the index must answer, computed from the whole text."""

    def __init__(self, text: bytes):
        self.files: dict[str, WalFile] = {}
        for line in text.split(b"\n")[:-1]:
            file = parse_line(line)
            if file is not None:
                self.files[file.name] = file

    def segments(self, timeline: int | None = None) -> list[WalFile]:
        found = [file for name, file in sorted(self.files.items()) if len(name) == 24 and name.upper() == name]
        return [file for file in found if timeline is None or int(file.name[:8], 16) == timeline]

    def range_stats(self, first: str, last: str | None, after: bool) -> RangeStats:
        chosen = [
            file
            for file in self.segments(int(first[:8], 16))
            if (file.name > first or (file.name == first and not after)) and (last is None or file.name <= last)
        ]
        if not chosen:
            return RangeStats()
        return RangeStats(
            len(chosen),
            sum(file.size for file in chosen),
            chosen[0].name,
            chosen[-1].name,
            chosen[0].time,
            chosen[-1].time,
        )


def assert_same(index: WalIndex, text: bytes, chooser: random.Random) -> None:
    naive = Naive(text)
    assert index.count == len(naive.files)
    assert index.size == sum(file.size for file in naive.files.values())
    assert index.timelines() == sorted({int(name[:8], 16) for name in naive.files})
    for timeline in range(1, 5):
        segments = naive.segments(timeline)
        assert index.last(timeline) == (segments[-1] if segments else None)
    newest = naive.segments()
    assert index.newest == (newest[-1] if newest else None)
    candidates = [*naive.files, segment_name(0), segment_name(400), segment_name(7, 2), segment_name(0, 9)]
    for _ in range(12):
        first, last = chooser.choice(candidates), chooser.choice([None, *candidates])
        after = chooser.random() < 0.5
        assert index.range_stats(first, last, after=after) == naive.range_stats(first, last, after)
        assert index.find(first) == naive.files.get(first)
        expected = [f for name, f in sorted(naive.files.items()) if name >= first and (last is None or name <= last)]
        assert list(index.files(first, last)) == expected
    assert list(index.files()) == [file for _, file in sorted(naive.files.items())]


names = st.one_of(
    st.builds(segment_name, st.integers(0, 500), st.integers(1, 3)),
    st.builds(segment_name, st.integers(0, 500)),
    st.builds(segment_name, st.integers(0, 500)),
    st.builds(lambda n: segment_name(n) + ".partial", st.integers(0, 500)),
    st.builds(lambda n: segment_name(n) + ".00000028.backup", st.integers(0, 500)),
    st.builds(lambda t: f"{t:08X}.history", st.integers(2, 4)),
    st.just("00000001000000000000000a"),
)
any_line = st.one_of(
    st.builds(lambda n, s, t: WalFile(n, s, t, "gzip").line(), names, st.integers(0, 99), st.floats(0, 2e9)),
    st.builds(lambda n, s, t: WalFile(n, s, t, "gzip").line(), names, st.integers(0, 99), st.floats(0, 2e9)),
    st.builds(lambda n, s: f"{n}\t{s}\t5.5\n".encode(), names, st.integers(0, 99)),
    st.builds(lambda n, s: f"{n} {s}  5.5 zstd\r\n".encode(), names, st.integers(0, 99)),
    st.sampled_from([b"\n", b"garbage\n", b"a\tb\tc\td\te\n", segment_name(3).encode() + b"\t1\tnan\tNone\tNone\n"]),
)
runs = st.builds(
    lambda start, count, size, timeline: b"".join(
        WalFile(segment_name(number, timeline), size + number, float(number)).line()
        for number in range(start, start + count)
    ),
    st.integers(0, 300),
    st.integers(1, 200),
    st.integers(0, 5),
    st.integers(1, 2),
)
texts = st.lists(st.one_of(any_line, runs), max_size=8).map(b"".join)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("append"), texts),
        st.tuples(st.just("replace"), texts),
        st.tuples(st.just("rewrite in place"), texts),
        st.tuples(st.just("remove"), st.integers(0, 500)),
        st.tuples(st.just("tear"), st.integers(1, 60)),
        st.tuples(st.just("lose the index"), st.none()),
    ),
    min_size=1,
    max_size=6,
)


def apply(archive: Archive, kind: str, value: bytes | int | None) -> None:
    path = archive.layout.xlogdb
    if kind == "append":
        assert isinstance(value, bytes)
        with open(path, "ab") as file:
            file.write(value)
    elif kind == "replace":
        assert isinstance(value, bytes)
        Path(path + ".new").write_bytes(value)
        os.rename(path + ".new", path)
    elif kind == "rewrite in place":
        assert isinstance(value, bytes)
        archive.write_index(value)
    elif kind == "remove":
        assert isinstance(value, int)
        archive.xlogdb.remove({segment_name(number) for number in range(value)})
    elif kind == "tear":
        assert isinstance(value, int)
        with open(path, "ab") as file:
            file.write(WalFile(segment_name(501), 1, 1.0).line()[:value].rstrip(b"\n"))
    elif os.path.exists(archive.layout.wal_index):
        os.unlink(archive.layout.wal_index)


@settings(max_examples=12, deadline=None)
@given(texts, actions, st.sampled_from([0, 3, 8192]), st.sampled_from([0, 2000, 1 << 20]), st.randoms())
def test_it_answers_like_a_reader_of_the_whole_text_whatever_happens_to_it(
    text: bytes,
    steps: list[tuple[str, bytes | int | None]],
    out_of_order: int,
    unsaved_bytes: int,
    chooser: random.Random,
) -> None:
    tuning = Tuning(unsaved_bytes, out_of_order)
    with tempfile.TemporaryDirectory() as home:
        archive = Archive(home)
        archive.write_index(text)
        for second, (kind, value) in enumerate([("append", b""), *steps]):
            apply(archive, kind, value)
            # Real writers are never so quick that the time stays; the index mistrusts a text that is younger.
            os.utime(archive.layout.xlogdb, (1000 + second, 1000 + second))
            with WalIndex.open(archive, tuning) as index:
                assert_same(index, archive.index_text(), chooser)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path))


def lines(numbers: Iterator[int] | range, timeline: int = 1, size: int = 10) -> bytes:
    return b"".join(WalFile(segment_name(number, timeline), size, 1000.0 + number).line() for number in numbers)


def write_old(archive: Archive, text: bytes, mtime: float = 1000) -> None:
    archive.write_index(text)
    os.utime(archive.layout.xlogdb, (mtime, mtime))


def test_a_missing_text_is_built_from_the_archive(archive: Archive) -> None:
    archive.put(segment_name(5), b"12345")
    with WalIndex.open(archive) as index:
        assert (index.count, index.size) == (1, 5)


def test_an_empty_server_has_empty_answers(archive: Archive) -> None:
    with WalIndex.open(archive) as index:
        assert (index.count, index.size, index.timelines(), index.newest, index.last(1)) == (0, 0, [], None, None)
        assert index.range_stats(segment_name(0)) == RangeStats()
        assert list(index.files()) == []


def test_ranges_stay_on_the_timeline_of_their_begin(archive: Archive) -> None:
    label = WalFile(segment_name(3) + ".00000028.backup", 300, 1.0)
    write_old(archive, lines(range(1, 11)) + label.line() + lines(range(8, 20), timeline=2))
    with WalIndex.open(archive) as index:
        assert index.range_stats(segment_name(3)) == RangeStats(
            8, 80, segment_name(3), segment_name(10), 1003.0, 1010.0
        )
        assert index.range_stats(segment_name(3), segment_name(3)).count == 1
        assert index.range_stats(segment_name(3), segment_name(9, 2), after=True).count == 7
        assert index.range_stats(segment_name(9), segment_name(3)) == RangeStats()
        assert [file.name for file in index.files(segment_name(3), segment_name(4))] == [
            segment_name(3),
            label.name,
            segment_name(4),
        ]


def test_a_current_index_is_used_without_the_lock_or_the_text(archive: Archive) -> None:
    write_old(archive, lines(range(1000)))
    WalIndex.open(archive).close()
    assert os.path.exists(archive.layout.wal_index)
    with archive.locks.xlogdb(), WalIndex.open(archive) as index:  # would wait forever if it took the lock
        assert index.count == 1000


@pytest.mark.parametrize("cut", [0, 1, 10, 150, 1000, -1])
def test_a_damaged_index_is_thrown_away(archive: Archive, cut: int) -> None:
    write_old(archive, lines(range(1000)))
    WalIndex.open(archive).close()
    saved = Path(archive.layout.wal_index).read_bytes()
    damaged = saved[:cut] if cut >= 0 else saved[:-1] + bytes([saved[-1] ^ 1])
    Path(archive.layout.wal_index).write_bytes(damaged)
    with WalIndex.open(archive) as index:
        assert index.count == 1000


EASILY_SORTED = Tuning(out_of_order=100)


def test_a_text_listed_twice_counts_once(archive: Archive) -> None:
    write_old(archive, lines(range(2000)) + lines(range(2000)))
    for _ in range(2):
        with WalIndex.open(archive, EASILY_SORTED) as index:
            assert (index.count, index.size) == (2000, 20000)
            assert index.problems.repeated == 2000
    assert os.path.exists(archive.layout.wal_index + "-sorted")


def test_a_lost_sorted_copy_is_made_again(archive: Archive) -> None:
    write_old(archive, lines(range(2000)) + lines(range(1000), size=7))
    WalIndex.open(archive, EASILY_SORTED).close()
    os.unlink(archive.layout.wal_index + "-sorted")
    with WalIndex.open(archive, EASILY_SORTED) as index:
        assert (index.count, index.size) == (2000, 17000)


def test_a_cluster_that_started_again_from_the_beginning_is_counted_in_full(archive: Archive) -> None:
    write_old(archive, lines(range(50000, 50100)) + lines(range(1, 3000)))
    with WalIndex.open(archive, EASILY_SORTED) as index:
        assert index.count == 100 + 2999
        assert index.range_stats(segment_name(2000), segment_name(2009)).count == 10


def test_appending_after_a_sorted_copy_needs_no_new_one(archive: Archive) -> None:
    write_old(archive, lines(range(1200)) + lines(range(1200)))
    WalIndex.open(archive, EASILY_SORTED).close()
    before = os.stat(archive.layout.wal_index + "-sorted").st_mtime_ns
    with open(archive.layout.xlogdb, "ab") as file:
        file.write(lines(range(1200, 8000)) + lines(range(30)))
    os.utime(archive.layout.xlogdb, (2000, 2000))
    for _ in range(2):
        with WalIndex.open(archive, EASILY_SORTED) as index:
            assert index.count == 8000
    assert os.stat(archive.layout.wal_index + "-sorted").st_mtime_ns == before


def test_a_text_written_this_very_moment_is_not_trusted_to_stay(archive: Archive) -> None:
    archive.write_index(lines(range(10)))
    WalIndex.open(archive).close()
    assert not os.path.exists(archive.layout.wal_index)


def test_an_index_that_cannot_be_saved_is_done_without(archive: Archive) -> None:
    write_old(archive, lines(range(10)))
    os.rmdir(archive.layout.meta_directory)
    with WalIndex.open(archive) as index:
        assert index.count == 10


def test_an_open_index_outlives_a_rewrite(archive: Archive) -> None:
    write_old(archive, lines(range(1000)))
    with WalIndex.open(archive) as index:
        archive.xlogdb.remove({segment_name(number) for number in range(900)})
        assert index.range_stats(segment_name(0)).count == 1000
    with WalIndex.open(archive) as index:
        assert index.range_stats(segment_name(0)).count == 100


def test_zeros_that_a_power_loss_left_are_one_line_of_garbage(archive: Archive) -> None:
    lines = [WalFile(segment_name(number), 16, 5.0).line() for number in range(3)]
    archive.write_index(lines[0] + bytes(30 << 20) + b"\n" + lines[1])
    with WalIndex.open(archive) as index:
        assert (index.count, index.problems.garbage) == (2, 1)
    archive.write_index(lines[0] + bytes(30 << 20) + b"\n" + lines[1] + lines[2])
    with WalIndex.open(archive) as index:
        assert [file.name for file in index.files()] == [segment_name(number) for number in range(3)]
