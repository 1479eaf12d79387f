"""Read and judge the first page header of a WAL segment: is the file what its name says, and of this cluster?

Facts of PostgreSQL's `xlog_internal.h`: the first page of a segment has a long header; all numbers are in the byte
order of the server. The page magic changes with major versions only.
"""

from __future__ import annotations

import struct

from barman.postgres.lsn import Lsn
from barman.postgres.wal_name import WalSegment, is_segment_size
from barman.typing import BinaryIO
from barman.values import dataclass

LONG_HEADER_SIZE = 40
_LAYOUT = "HHIQIxxxxQII"
_LONG_HEADER_FLAG = 0x0002
_ALL_FLAGS = 0x000F

MAGICS = {
    0xD075: "9.3",
    0xD07E: "9.4",
    0xD087: "9.5",
    0xD093: "9.6",
    0xD097: "10",
    0xD098: "11",
    0xD101: "12",
    0xD106: "13",
    0xD10D: "14",
    0xD110: "15",
    0xD113: "16",
    0xD116: "17",
    0xD118: "18",
}
"""Page magic of each major version that has this header: archives live longer than servers.

Greater ones are taken for later versions: everything else is still checked.
"""

_GREATEST_MAGIC = 0xD1FF
_BLOCK_SIZES = frozenset(1 << bits for bits in range(10, 17))


@dataclass(frozen=True, slots=True)
class PageHeader:
    """The long header. `version` is the major version, None when it is later than any we know."""

    magic: int
    flags: int
    timeline: int
    address: Lsn
    system_id: int
    segment_size: int
    block_size: int

    @property
    def version(self) -> str | None:
        """The major version that writes this magic."""
        return MAGICS.get(self.magic)


@dataclass(frozen=True, slots=True)
class HeaderVerdict:
    """What was read, and all reasons why the file is not the segment it should be; none of them: it is."""

    header: PageHeader | None
    reasons: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the file may be archived under its name."""
        return not self.reasons


def judge(
    stream: BinaryIO, name: str, segment_size: int | None = None, system_id: str | int | None = None
) -> HeaderVerdict:
    """Judge a segment by its first 40 plain bytes.

    `name` is the segment's (of a partial file: without the suffix). What is known of the server is compared when it is
    given. The size of the file is the caller's business. Raises InvalidWalName, and what reading raises.
    """
    segment = WalSegment.parse(name)
    data = _read(stream, LONG_HEADER_SIZE)
    if len(data) < LONG_HEADER_SIZE:
        return HeaderVerdict(None, (f"it has only {len(data)} bytes, too few for a WAL page header",))
    header = _parse(data)
    if header is None:
        return HeaderVerdict(None, (_describe_magic(data),))
    return HeaderVerdict(header, tuple(_disagreements(header, segment, segment_size, system_id)))


def _read(stream: BinaryIO, size: int) -> bytes:
    """Up to `size` bytes; raw streams may give less than asked for at once."""
    data = b""
    while len(data) < size and (piece := stream.read(size - len(data))):
        data += piece
    return data


def _parse(data: bytes) -> PageHeader | None:
    """The header in either byte order; None when there is no page magic."""
    for order in "<>":
        magic, flags, timeline, address, _, system_id, segment_size, block_size = struct.unpack(order + _LAYOUT, data)
        if magic in MAGICS or max(MAGICS) < magic <= _GREATEST_MAGIC:
            return PageHeader(magic, flags, timeline, Lsn(address), system_id, segment_size, block_size)
    return None


def _describe_magic(data: bytes) -> str:
    if not any(data):
        return "it begins with zeros: no WAL was written into it"
    return f"it does not begin with a known WAL page magic ({data[:2].hex()})"


def _disagreements(
    header: PageHeader, segment: WalSegment, segment_size: int | None, system_id: str | int | None
) -> list[str]:
    if not header.flags & _LONG_HEADER_FLAG or header.flags & ~_ALL_FLAGS:
        return [f"its first page has no long header (flags {header.flags:#06x})"]
    if not is_segment_size(header.segment_size) or header.block_size not in _BLOCK_SIZES:
        return [f"its header is damaged: segment size {header.segment_size}, block size {header.block_size}"]
    reasons = []
    if system_id is not None and str(system_id) != str(header.system_id):
        reasons.append(f"it is of the cluster with system identifier {header.system_id}, not {system_id}")
    if segment_size is not None and segment_size != header.segment_size:
        reasons.append(f"its segment size is {header.segment_size}, that of the server is {segment_size}")
    # The first segment of a timeline is a copy of its parent's up to the switch: it begins with the parent's pages.
    if not 1 <= header.timeline <= segment.timeline:
        reasons.append(f"its header is of timeline {header.timeline}, its name of timeline {segment.timeline}")
    expected = segment.start(header.segment_size)
    if header.address != expected:
        reasons.append(f"its header is of position {header.address}, its name of {expected}")
    return reasons
