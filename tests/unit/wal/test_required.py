"""Segments between two points."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.errors import InvalidWalName, WalError
from barman.postgres.lsn import Lsn
from barman.wal.required import missing_segments, segments_between, segments_covering

sizes = st.sampled_from([1 << bits for bits in range(20, 31)])


def test_both_ends_are_included() -> None:
    names = [s.name for s in segments_between("0000000100000000000000FE", "000000010000000100000001", 1 << 24)]
    assert names == [
        "0000000100000000000000FE",
        "0000000100000000000000FF",
        "000000010000000100000000",
        "000000010000000100000001",
    ]


@given(sizes, st.integers(0, 1 << 40), st.integers(0, 200))
def test_every_segment_follows_the_one_before(size: int, begin: int, count: int) -> None:
    covering = list(segments_covering(Lsn(begin), Lsn(begin + count * size), 3, size))
    assert covering[0].start(size).value <= begin < covering[0].end(size).value
    for left, right in zip(covering, covering[1:], strict=False):
        assert left.end(size) == right.start(size)
    if count:
        assert covering[-1].start(size).value < begin + count * size <= covering[-1].end(size).value
    assert list(segments_between(covering[0].name, covering[-1].name, size)) == covering


def test_a_position_on_a_boundary_needs_no_further_segment() -> None:
    covering = segments_covering(Lsn(0x3000028), Lsn(0x4000000), 1, 1 << 24)
    assert [s.name for s in covering] == ["000000010000000000000003"]


def test_missing_names_are_told_in_order() -> None:
    archived = {"000000010000000000000002"}
    assert missing_segments("000000010000000000000001", "000000010000000000000003", 1 << 24, archived) == [
        "000000010000000000000001",
        "000000010000000000000003",
    ]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("000000010000000000000002", "000000010000000000000001"),
        ("000000010000000000000002", "000000020000000000000003"),
        ("000000010000000000000000", "00000001FFFFFFFF00000000"),
    ],
)
def test_ranges_that_make_no_sense_are_refused_before_anything_is_listed(first: str, last: str) -> None:
    with pytest.raises(WalError):
        segments_between(first, last, 1 << 24)


def test_only_segments_have_a_range() -> None:
    with pytest.raises(InvalidWalName):
        segments_between("00000002.history", "000000020000000000000003", 1 << 24)
