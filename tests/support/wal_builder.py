"""Build WAL segments that PostgreSQL's own header checks would accept. Only the first page has content; the rest is a
hole, so that a thousand segments cost nothing."""

import os
import struct

from barman.postgres.wal_name import WalSegment

PAGE_MAGIC = {
    9.6: 0xD093,
    10: 0xD097,
    11: 0xD098,
    12: 0xD101,
    13: 0xD106,
    14: 0xD10D,
    15: 0xD110,
    16: 0xD113,
    17: 0xD116,
    18: 0xD118,
}
SYSTEM_ID = 7710915947716966543
MB = 1 << 20


def long_header(
    name: str,
    *,
    segment_size: int = 16 * MB,
    system_id: int = SYSTEM_ID,
    version: float = 15,
    timeline: int | None = None,
    byte_order: str = "<",
) -> bytes:
    """The first 40 bytes of a segment; `timeline` differs from the name's in the first segment after a switch."""
    segment = WalSegment.parse(name[:24])
    return struct.pack(
        byte_order + "HHIQIxxxxQII",
        PAGE_MAGIC[version],
        0x0002,
        segment.timeline if timeline is None else timeline,
        segment.start(segment_size).value,
        0,
        system_id,
        segment_size,
        8192,
    )


def segment_bytes(name: str, *, segment_size: int = MB, system_id: int = SYSTEM_ID, version: float = 15,
                  timeline: int | None = None, fill: bytes = b"") -> bytes:  # fmt: skip
    """A whole segment in memory; `fill` follows the header."""
    head = long_header(name, segment_size=segment_size, system_id=system_id, version=version, timeline=timeline)
    return (head + fill).ljust(segment_size, b"\0")


def write_segment(
    directory: str,
    name: str,
    *,
    segment_size: int = 16 * MB,
    system_id: int = SYSTEM_ID,
    version: float = 15,
    timeline: int | None = None,
    fill: bytes = b"",
) -> str:
    """Write a sparse segment (or `.partial`) into a directory, which is made if needed; answer its path."""
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, name)
    head = long_header(name, segment_size=segment_size, system_id=system_id, version=version, timeline=timeline)
    with open(path, "wb") as file:
        file.write(head + fill)
        file.truncate(segment_size)
    return path
