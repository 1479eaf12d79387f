"""The end of the records of an unfinished segment, against pages and records that are built here byte by byte."""

import io
import random
import struct

import pytest

from barman.postgres.lsn import Lsn
from barman.postgres.wal_name import WalSegment
from barman.wal.tail import end_of_records
from tests.support.wal_builder import MB, PAGE_MAGIC, long_header

NAME = "000000010000000000000007"
SEGMENT = WalSegment.parse(NAME)
START = SEGMENT.start(MB).value
PAGE = 8192


def crc32c(data):
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


class Wal:
    """A segment in the making; `ends` has for each record the offset of its last byte and the position after it."""

    def __init__(self, order="<", rest=b""):
        self.order = order
        self.data = bytearray()
        self.previous = START - 64
        self.ends = [(0, START)]
        self._page(len(rest))
        self.data += rest
        if rest:
            self._end()

    def _page(self, rest=0, flags=0):
        flags |= 1 if rest else 0
        if not self.data:
            head = long_header(NAME, segment_size=MB, byte_order=self.order)
            self.data += head[:2] + struct.pack(self.order + "H", flags | 2) + head[4:16]
            self.data += struct.pack(self.order + "I", rest) + head[20:]
        else:
            position = START + len(self.data)
            self.data += struct.pack(self.order + "HHIQIxxxx", PAGE_MAGIC[15], flags, 1, position, rest)

    def _end(self):
        whole = len(self.data)
        self.data += bytes(-len(self.data) % 8)
        self.ends.append((whole, START + len(self.data)))

    def add(self, size, kind=(10, 0x20)):
        if len(self.data) % PAGE == 0:
            self._page()
        content = bytes([7]) * size
        position = START + len(self.data)
        head = struct.pack(self.order + "IIQBBxx", 24 + size, 700, self.previous, kind[1], kind[0])
        record = head + struct.pack(self.order + "I", crc32c(content + head)) + content
        self.previous = position
        while record:
            room = -len(self.data) % PAGE
            if not room:
                self._page(len(record))
                room = -len(self.data) % PAGE
            self.data += record[:room]
            record = record[room:]
        self._end()

    def end(self, cut=None, data=None):
        content = bytes(self.data if data is None else data)[:cut]
        return end_of_records(io.BytesIO(content.ljust(MB, b"\0")), SEGMENT)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("rest", [b"", b"r" * 100])
def test_wherever_a_segment_breaks_off_its_last_whole_record_is_found(order, rest):
    chance = random.Random(len(rest))
    for _ in range(6):
        wal = Wal(order, rest)
        for _ in range(chance.randrange(1, 12)):
            wal.add(chance.choice([1, 8, 50, 300, 2000, 8100, 8128, 8168, 9000, 30000]))
        assert wal.end() == Lsn(wal.ends[-1][1])
        cuts = [chance.randrange(40 + len(rest), len(wal.data)) for _ in range(12)]
        cuts += [at + step for at, _ in wal.ends[1:] for step in (-1, 0, 1) if at > 150]
        cuts += range(PAGE, len(wal.data), PAGE)
        for cut in cuts:
            expected = max(position for at, position in wal.ends if at <= cut)
            assert wal.end(cut) == Lsn(expected), cut


def test_a_damaged_record_on_the_last_pages_ends_what_can_be_replayed():
    wal = Wal()
    for _ in range(5):
        wal.add(1000)
    data = bytearray(wal.data)
    data[wal.ends[4][0] + 500] ^= 1  # within the last one
    assert wal.end(data=data) == Lsn(wal.ends[4][1])


def test_old_content_behind_what_was_received_is_no_wal():
    wal = Wal()
    wal.add(9000)
    old = Wal()
    for _ in range(40):
        old.add(3000)
    stale = bytearray(old.data)
    struct.pack_into("<Q", stale, 3 * PAGE + 8, START - 5 * MB)  # a page of a segment that was there before
    assert wal.end(data=wal.data[: 2 * PAGE].ljust(3 * PAGE, b"\0") + stale[3 * PAGE :]) == Lsn(wal.ends[-1][1])


def test_a_switch_gives_up_the_rest_of_the_segment():
    wal = Wal()
    wal.add(100)
    wal.add(1, kind=(0, 0x40))
    assert wal.end() == SEGMENT.end(MB)


def test_a_record_that_a_crash_of_the_server_cut_is_passed_over():
    wal = Wal()
    wal.add(PAGE - 500)
    wal.add(5000)
    begun = len(wal.data) // PAGE * PAGE
    del wal.data[begun:], wal.ends[2:]
    wal._page(flags=8)
    wal.add(100)
    assert wal.end() == Lsn(wal.ends[-1][1])


@pytest.mark.parametrize("content", [b"", bytes(MB), b"\x10\xd1", long_header("000000010000000000000008")])
def test_what_is_not_the_beginning_of_the_segment_has_no_end(content):
    assert end_of_records(io.BytesIO(content), SEGMENT) is None


def test_without_a_record_the_end_is_the_beginning():
    assert Wal().end() == SEGMENT.start(MB)


def test_damage_anywhere_gives_an_earlier_end_or_none():
    chance = random.Random(3)
    wal = Wal()
    while len(wal.data) < 5 * PAGE:
        wal.add(chance.choice([1, 60, 700, 9000]))
    for _ in range(300):
        data = bytearray(wal.data)
        for _ in range(chance.choice([1, 1, 8])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        end = wal.end(data=data)
        assert end is None or START <= end.value <= wal.ends[-1][1]
