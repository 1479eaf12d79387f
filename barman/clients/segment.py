"""What a segment says about itself in its first page header, for the clients: little, and without heavy imports.

The layout is that of PostgreSQL's `XLogLongPageHeaderData`; the Barman host judges the rest.
"""

from __future__ import annotations

HEADER_SIZE = 40
MIN_SEGMENT, MAX_SEGMENT = 1 << 20, 1 << 30


def is_plain_segment(name: str) -> bool:
    """Tell whether a bare name is one of a complete segment."""
    return len(name) == 24 and all(digit in "0123456789ABCDEFabcdef" for digit in name)


def is_segment_size(size: int) -> bool:
    """Tell whether PostgreSQL knows this segment size."""
    return MIN_SEGMENT <= size <= MAX_SEGMENT and size & (size - 1) == 0


def read_header(data: bytes) -> tuple[int, int, int] | None:
    """Return system identifier, segment size and start position; None if this is no long page header."""
    if len(data) < HEADER_SIZE:
        return None
    for order in ("little", "big"):
        if order == "little":
            magic, fields = data[1], [int.from_bytes(data[a:b], "little") for a, b in ((24, 32), (32, 36), (8, 16))]
        else:
            magic, fields = data[0], [int.from_bytes(data[a:b], "big") for a, b in ((24, 32), (32, 36), (8, 16))]
        if magic in (0xD0, 0xD1) and is_segment_size(fields[1]):
            return fields[0], fields[1], fields[2]
    return None


def start_position(name: str, segment_size: int) -> int:
    """Return the position of the first byte of a segment."""
    return int(name[8:16], 16) * (1 << 32) + int(name[16:24], 16) * segment_size
