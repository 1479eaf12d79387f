"""Which segments lie between two points of the WAL. Pure; for every segment size."""

from __future__ import annotations

from collections.abc import Container, Iterator

from barman.errors import WalError
from barman.postgres.lsn import Lsn
from barman.postgres.wal_name import WalSegment

MANY = 1 << 22
"""More segments than this in one range (64 TiB of 16 MB segments) is a typing error, and nothing to loop over."""


def segments_between(first: str, last: str, segment_size: int) -> Iterator[WalSegment]:
    """The segments from one name to another, both included.

    Raises, before the first segment, InvalidWalName for anything but names of segments, and WalError for a range over
    two timelines, a backward range or an absurdly long one.
    """
    begin, end = WalSegment.parse(first), WalSegment.parse(last)
    if begin.timeline != end.timeline:
        raise WalError(f"segments {begin.name} and {end.name} are on different timelines")
    return _numbered(begin, begin.number(segment_size), end.number(segment_size), segment_size)


def segments_covering(begin: Lsn, end: Lsn, timeline: int, segment_size: int) -> Iterator[WalSegment]:
    """The segments that hold the bytes from `begin` up to, not including, `end`. Raises WalError as above."""
    first = WalSegment.containing(begin, timeline, segment_size)
    last = WalSegment.ending_at(end, timeline, segment_size) if end > begin else first
    return _numbered(first, first.number(segment_size), last.number(segment_size), segment_size)


def missing_segments(first: str, last: str, segment_size: int, archived: Container[str]) -> list[str]:
    """The names of the range that are not archived, in order. Raises as `segments_between`."""
    return [segment.name for segment in segments_between(first, last, segment_size) if segment.name not in archived]


def _numbered(begin: WalSegment, first: int, last: int, segment_size: int) -> Iterator[WalSegment]:
    if last < first:
        raise WalError(f"the range begins at {begin.name}, after its end")
    if last - first >= MANY:
        raise WalError(f"the range from {begin.name} on has {last - first + 1} segments, more than can be looked at")
    return (WalSegment.numbered(number, begin.timeline, segment_size) for number in range(first, last + 1))
