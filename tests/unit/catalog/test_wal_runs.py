"""The runs of archived segments: what the directories hold, whatever is remembered of them."""

import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barman.catalog.wal_runs import read_runs
from barman.postgres.wal_name import WalSegment
from barman.postgres.wal_run import join_numbers, join_runs
from tests.support.catalog_builder import SEGMENT_SIZE, make_catalog, write

MANY = range(40 * 256)
SETTLED = 2.1


def put(layout, numbers, timeline=1, size=SEGMENT_SIZE):
    for number in numbers:
        path = layout.wal_path(WalSegment.numbered(number, timeline, size).name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


@pytest.fixture
def layout(tmp_path):
    return make_catalog(str(tmp_path)).layout


@given(st.sets(st.integers(0, 40)))
def test_runs_hold_these_numbers_and_no_others(numbers):
    runs = join_numbers(numbers)
    assert {number for first, last in runs for number in range(first, last + 1)} == numbers
    assert all(after[0] > before[1] + 1 for before, after in zip(runs, runs[1:], strict=False))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5))))
def test_joined_runs_hold_the_numbers_of_all(pairs):
    runs = [(first, first + length) for first, length in pairs]
    assert join_runs(runs) == join_numbers(n for first, last in runs for n in range(first, last + 1))


@pytest.mark.parametrize("size", [1 << 20, SEGMENT_SIZE, 1 << 30])
def test_runs_go_on_across_directories_and_are_kept_apart_by_timeline(layout, size):
    per_log = (1 << 32) // size
    put(layout, range(per_log - 1, per_log + 2), size=size)
    put(layout, [3, 5], timeline=2, size=size)
    assert read_runs(layout, size) == {1: ((per_log - 1, per_log + 1),), 2: ((3, 3), (5, 5))}


def test_only_complete_segments_in_their_place_count(layout):
    put(layout, [4])
    home = os.path.dirname(layout.wal_path(WalSegment.numbered(4, 1, SEGMENT_SIZE).name))
    for name in ("000000010000000000000005.partial", "000000010000000000000004.00000028.backup", "junk",
                 "000000010000000100000006", ".000000010000000000000007.123.tmp"):  # fmt: skip
        write(os.path.join(home, name), "")
    write(layout.history(2), "1\t0/4000100\tx\n")
    assert read_runs(layout, SEGMENT_SIZE) == {1: ((4, 4),)}


def test_names_that_cannot_be_of_this_size_are_left_out(layout):
    put(layout, [2, 300], size=1 << 20)
    assert read_runs(layout, SEGMENT_SIZE) == {1: ((2, 2),)}


def test_an_archive_that_is_not_there_holds_nothing(layout):
    os.rmdir(layout.wals_directory)
    assert read_runs(layout, SEGMENT_SIZE) == {}


def test_few_directories_are_not_worth_a_file(layout):
    put(layout, [4])
    time.sleep(SETTLED)
    read_runs(layout, SEGMENT_SIZE)
    assert not os.path.exists(layout.wal_runs)


def test_what_is_remembered_never_hides_what_is_there(layout):
    put(layout, MANY)
    whole = {1: ((0, len(MANY) - 1),)}
    assert read_runs(layout, SEGMENT_SIZE) == whole
    assert not os.path.exists(layout.wal_runs), "directories that changed a moment ago may change unseen"
    time.sleep(SETTLED)
    assert read_runs(layout, SEGMENT_SIZE) == whole
    assert os.path.exists(layout.wal_runs)
    lost = layout.wal_path(WalSegment.numbered(700, 1, SEGMENT_SIZE).name)
    facts = os.stat(os.path.dirname(lost))
    os.unlink(lost)
    os.utime(os.path.dirname(lost), ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as a copy with its times would
    assert read_runs(layout, SEGMENT_SIZE) == {1: ((0, 699), (701, len(MANY) - 1))}
    put(layout, [700])
    assert read_runs(layout, SEGMENT_SIZE) == whole
    for damage in (b"", b"garbage", b"barman wal runs 1\n0000000100000000 1 x\nend\n", b"\xff\xfe"):
        write(layout.wal_runs, damage)
        assert read_runs(layout, SEGMENT_SIZE) == whole
    with open(layout.wal_runs, "rb+") as file:
        file.truncate(100)
    assert read_runs(layout, SEGMENT_SIZE) == whole


@settings(max_examples=40)
@given(st.binary(max_size=60))
def test_a_damaged_memory_is_read_without_trouble(tmp_path_factory, data):
    layout = make_catalog(str(tmp_path_factory.mktemp("runs"))).layout
    put(layout, [4, 6])
    write(layout.wal_runs, b"barman wal runs 1\n" + data + b"\nend\n")
    assert set(read_runs(layout, SEGMENT_SIZE)) == {1}
