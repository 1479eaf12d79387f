"""Where the records of an unfinished segment end: what a recovery that gets it will replay.

Facts of PostgreSQL's `xlog_internal.h`, `xlogrecord.h` and `xlogreader.c`: a segment is a row of pages, each with a
header that names its position; records follow one another, aligned to 8 bytes, and go on behind the header of the next
page; each names the one before it and has a CRC-32C. What was received is a prefix of the segment, zeros follow.
"""

from __future__ import annotations

import io
import struct
import sys

from barman.postgres.crc32c import Crc32c
from barman.postgres.lsn import Lsn
from barman.postgres.wal_name import WalSegment
from barman.typing import TYPE_CHECKING, BinaryIO
from barman.values import dataclass
from barman.wal import header

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORT_HEADER_SIZE = 24
_PAGE_HEADER = "HHIQI"
_CONTINUES = 0x0001  # the page begins with the rest of a record
_LONG = 0x0002
_OVERWRITES = 0x0008  # the rest of a record that should be here was lost in a crash of the server, and given up
_RECORD_HEADER = "IIQBBxxI"
_RECORD_HEADER_SIZE = 24
_CRC_OFFSET = 20
_SWITCH = (0, 0x40)  # resource manager and kind of the record that gives up the rest of a segment
_LARGEST = 64 << 20
"""A record that is larger is not looked at; then the end is unknown."""


@dataclass(frozen=True, slots=True)
class _Page:
    """A page whose header is sound; `rest` bytes of a record from before come first."""

    address: int
    data: bytes
    flags: int
    rest: int

    @property
    def header_size(self) -> int:
        return header.LONG_HEADER_SIZE if self.flags & _LONG else _SHORT_HEADER_SIZE

    @property
    def first(self) -> int:
        """The offset at which the first record begins; the size of the page if none does."""
        return min(self.header_size + _aligned(self.rest), len(self.data))


def end_of_records(stream: BinaryIO, segment: WalSegment) -> Lsn | None:
    """Return the position after the last whole record of a segment that is read from its beginning.

    The start of the segment when there is none; None when it cannot be told. Records on the last pages are compared
    with their checksums, what lies before them is not. Raises what reading raises.
    """
    head = _read(stream, header.LONG_HEADER_SIZE)
    verdict = header.judge(io.BytesIO(head), segment.name)
    if verdict.header is None or not verdict.ok:
        return None
    order = "<" if struct.unpack("<H", head[:2])[0] == verdict.header.magic else ">"
    kept: list[_Page] = []
    beginnings: list[int] = []  # where in `kept` the last two pages are in which a record begins
    size = 0
    for page in _pages(stream, head, verdict.header, order):
        if page.first < len(page.data):
            if len(beginnings) == 2:
                kept = kept[beginnings[1] :]
                size = sum(len(item.data) for item in kept)
                beginnings = [0]
            beginnings.append(len(kept))
        kept.append(page)
        size += len(page.data)
        if size > _LARGEST:
            return None
    if not beginnings:
        return segment.start(verdict.header.segment_size)
    end = _Records(kept[beginnings[0] :], order).end()
    return segment.end(verdict.header.segment_size) if end is None else Lsn(end)


def _pages(stream: BinaryIO, head: bytes, first: header.PageHeader, order: str) -> Iterator[_Page]:
    """Yield pages as long as each is the one that belongs there."""
    address, timeline = first.address.value, first.timeline
    end = address + first.segment_size
    data = head + _read(stream, first.block_size - len(head))
    while len(data) == first.block_size and address < end:
        magic, flags, owner, position, rest = struct.unpack_from(order + _PAGE_HEADER, data)
        if (magic, position) != (first.magic, address) or owner < timeline:
            return
        timeline = owner
        yield _Page(address, data, flags, rest if flags & _CONTINUES else 0)
        address += first.block_size
        data = _read(stream, first.block_size)


class _Records:
    """The records that begin on a few pages in a row."""

    def __init__(self, pages: list[_Page], order: str) -> None:
        self._pages = pages
        self._order = order

    def end(self) -> int | None:
        """Follow the records; None when the last one gives up the rest of the segment."""
        number, offset = 0, self._pages[0].first
        end = self._pages[0].address + (offset if self._pages[0].rest else 0)
        previous: int | None = None
        while number < len(self._pages):
            page = self._pages[number]
            if offset >= len(page.data):
                number += 1
                # A record never begins behind a header that announces the rest of another one: it was read to its end.
                offset = self._pages[number].header_size if number < len(self._pages) else 0
                continue
            found = self._read(number, offset, previous)
            if found is None:
                later = range(number + 1, len(self._pages))
                number = next((at for at in later if self._pages[at].flags & _OVERWRITES), len(self._pages))
                offset = self._pages[number].header_size if number < len(self._pages) else 0
                previous = None
                continue
            if found.kind == _SWITCH:
                return None
            previous = page.address + offset
            number, offset = found.page, found.offset
            end = self._pages[number].address + offset
        return end

    def _read(self, number: int, offset: int, previous: int | None) -> _Record | None:
        page = self._pages[number]
        address = page.address + offset
        (total,) = struct.unpack_from(self._order + "I", page.data, offset)
        if total < _RECORD_HEADER_SIZE:
            return None
        data = bytearray(page.data[offset : offset + total])
        end = offset + len(data)
        while len(data) < total:
            number += 1
            if number == len(self._pages):
                return None
            page = self._pages[number]
            if page.rest != total - len(data):
                return None
            piece = page.data[page.header_size : page.header_size + page.rest]
            data += piece
            end = page.header_size + len(piece)
        _, _, before, kind, manager, checksum = struct.unpack_from(self._order + _RECORD_HEADER, data)
        if before >= address or previous not in (None, before) or checksum != _checksum(data):
            return None
        return _Record(number, _aligned(end), (manager, kind & 0xF0))


@dataclass(frozen=True, slots=True)
class _Record:
    """A whole record: where it ends, as page and offset, and what it is."""

    page: int
    offset: int
    kind: tuple[int, int]


def _checksum(record: bytearray) -> int:
    """PostgreSQL computes it over the content, then over the header up to the checksum itself."""
    digest = Crc32c()
    digest.update(bytes(record[_RECORD_HEADER_SIZE:]))
    digest.update(bytes(record[:_CRC_OFFSET]))
    return int.from_bytes(bytes.fromhex(digest.hexdigest()), sys.byteorder)


def _aligned(size: int) -> int:
    return -(-size // 8) * 8


def _read(stream: BinaryIO, size: int) -> bytes:
    """Up to `size` bytes; raw streams may give less than asked for at once."""
    data = b""
    while len(data) < size and (piece := stream.read(size - len(data))):
        data += piece
    return data
