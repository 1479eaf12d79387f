import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.errors import InvalidWalName
from barman.postgres.lsn import Lsn
from barman.postgres.wal_name import (
    BackupLabelName,
    HistoryName,
    PartialSegment,
    WalSegment,
    hash_directory,
    is_wal_name,
    parse_wal_name,
)

SIZES = st.integers(20, 30).map(lambda power: 1 << power)
POSITIONS = st.integers(0, (1 << 64) - 1).map(Lsn)
TIMELINES = st.integers(1, 0xFFFFFFFF)


@given(POSITIONS, TIMELINES, SIZES)
def test_a_segment_holds_the_position_it_was_made_for(lsn, timeline, size):
    segment = WalSegment.containing(lsn, timeline, size)
    assert segment.start(size) <= lsn < segment.end(size)
    assert parse_wal_name(segment.name) == segment
    assert hash_directory(segment.name) == segment.name[:16]


@given(POSITIONS, TIMELINES, SIZES)
def test_next_and_previous_are_inverse_and_adjacent(lsn, timeline, size):
    segment = WalSegment.containing(lsn, timeline, size)
    after = segment.next(size)
    assert after.start(size) == segment.end(size)
    assert after.previous(size) == segment
    assert segment.log > 0xFFFFFFFE or after > segment


def test_the_segment_that_ends_at_a_boundary_is_the_one_before():
    size = 16 << 20
    assert WalSegment.ending_at(Lsn.parse("0/4000000"), 1, size).name == "000000010000000000000003"
    assert WalSegment.ending_at(Lsn.parse("0/4000001"), 1, size).name == "000000010000000000000004"
    assert WalSegment.containing(Lsn.parse("0/4000000"), 1, size).name == "000000010000000000000004"


def test_a_log_of_one_gigabyte_segments_has_four_of_them():
    assert WalSegment.parse("000000010000000000000003").next(1 << 30).name == "000000010000000100000000"


def test_every_kind_of_name_is_told_apart():
    assert parse_wal_name("00000002.history") == HistoryName(2)
    segment = WalSegment(1, 0, 0x0A)
    assert parse_wal_name("00000001000000000000000A.partial") == PartialSegment(segment)
    assert parse_wal_name("00000001000000000000000a.00000028.backup") == BackupLabelName(segment, 0x28)
    assert hash_directory("00000002.history") == ""


@pytest.mark.parametrize(
    "name",
    ["", "x", "00000001000000000000000", "../000000010000000000000001", "000000010000000000000001\n",
     "000000010000000000000001.gz", "00000001.history.gz", "00000001000000000000000G", "0000000100000000 0000001",
     "000000010000000000000001.partial/", "/000000010000000000000001", "000000010000000000000001.0028.backup"],
)  # fmt: skip
def test_what_is_not_a_wal_name_never_becomes_one(name):
    assert not is_wal_name(name)
    with pytest.raises(InvalidWalName):
        parse_wal_name(name)


@given(st.text(max_size=40))
def test_only_bare_hexadecimal_names_are_accepted(text):
    if is_wal_name(text):
        assert "/" not in text
        assert parse_wal_name(text).name == text.upper().replace(".PARTIAL", ".partial").replace(
            ".BACKUP", ".backup"
        ).replace(".HISTORY", ".history")


@given(POSITIONS)
def test_positions_print_and_parse_as_postgresql_does(lsn):
    assert Lsn.parse(str(lsn)) == lsn


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/G", "0/123456789", "0/1 0/2"])
def test_nonsense_is_not_a_position(text):
    with pytest.raises(ValueError, match="not a log sequence number"):
        Lsn.parse(text)
