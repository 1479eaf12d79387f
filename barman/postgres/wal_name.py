"""Names of WAL files and the arithmetic on them (PostgreSQL manual, "WAL Internals").

A segment name is timeline, log and segment number, eight hexadecimal digits each; a log is 4 GiB of WAL, so it has
2**32 / segment size segments. All arithmetic on names, segments and positions is here and nowhere else.
"""

from __future__ import annotations

import re

from barman.errors import InvalidWalName
from barman.postgres.lsn import Lsn
from barman.values import dataclass

_NAME = re.compile(
    r"([0-9A-Fa-f]{8})(?:([0-9A-Fa-f]{8})([0-9A-Fa-f]{8})(\.partial|\.([0-9A-Fa-f]{8})\.backup)?|\.history)\Z"
)
_LOG_BYTES = 1 << 32
DEFAULT_SEGMENT_SIZE = 16 * 1024 * 1024


def segments_per_log(segment_size: int) -> int:
    """Return how many segments make 4 GiB: 256 for 16 MB."""
    return _LOG_BYTES // segment_size


def is_segment_size(size: int) -> bool:
    """Tell whether PostgreSQL knows this segment size: a power of two from 1 MB to 1 GB."""
    return 1 << 20 <= size <= 1 << 30 and size & (size - 1) == 0


@dataclass(frozen=True, slots=True, order=True)
class WalSegment:
    """A complete segment; order is timeline, then position."""

    timeline: int
    log: int
    seg: int

    @property
    def name(self) -> str:
        """Return the 24 upper-case digits."""
        return f"{self.timeline:08X}{self.log:08X}{self.seg:08X}"

    def __str__(self) -> str:
        return self.name

    @property
    def segment(self) -> WalSegment:
        """Return itself: what the other kinds of names have too."""
        return self

    @classmethod
    def parse(cls, name: str) -> WalSegment:
        """Return the segment of a plain name. Raises InvalidWalName."""
        if len(name) != 24:
            raise InvalidWalName(name)
        parsed = parse_wal_name(name)
        if not isinstance(parsed, WalSegment):
            raise InvalidWalName(name)
        return parsed

    @classmethod
    def containing(cls, lsn: Lsn, timeline: int, segment_size: int) -> WalSegment:
        """Return the segment that holds the byte at `lsn`."""
        return cls.numbered(lsn.value // segment_size, timeline, segment_size)

    @classmethod
    def ending_at(cls, lsn: Lsn, timeline: int, segment_size: int) -> WalSegment:
        """Return the segment that holds the byte before `lsn`: the last one needed to reach an end position."""
        return cls.numbered((lsn.value - 1) // segment_size if lsn.value else 0, timeline, segment_size)

    @classmethod
    def numbered(cls, number: int, timeline: int, segment_size: int) -> WalSegment:
        """Return the segment with this number counted from position 0."""
        log, seg = divmod(number, segments_per_log(segment_size))
        return cls(timeline, log, seg)

    def number(self, segment_size: int) -> int:
        """Return its number counted from position 0."""
        return self.log * segments_per_log(segment_size) + self.seg

    def start(self, segment_size: int) -> Lsn:
        """Return the position of its first byte."""
        return Lsn(self.number(segment_size) * segment_size)

    def end(self, segment_size: int) -> Lsn:
        """Return the position after its last byte."""
        return Lsn((self.number(segment_size) + 1) * segment_size)

    def next(self, segment_size: int) -> WalSegment:
        """Return the following segment on the same timeline."""
        return WalSegment.numbered(self.number(segment_size) + 1, self.timeline, segment_size)

    def previous(self, segment_size: int) -> WalSegment:
        """Return the segment before. Raises ValueError at position 0."""
        number = self.number(segment_size)
        if number == 0:
            raise ValueError(f"no segment lies before {self.name}")
        return WalSegment.numbered(number - 1, self.timeline, segment_size)

    def on_timeline(self, timeline: int) -> WalSegment:
        """Return the segment at the same position on another timeline."""
        return WalSegment(timeline, self.log, self.seg)


@dataclass(frozen=True, slots=True, order=True)
class PartialSegment:
    """A segment that was not finished: `NAME.partial`."""

    segment: WalSegment

    @property
    def name(self) -> str:
        """Return `NAME.partial`."""
        return f"{self.segment.name}.partial"

    @property
    def timeline(self) -> int:
        """Return the timeline of the segment."""
        return self.segment.timeline


@dataclass(frozen=True, slots=True, order=True)
class BackupLabelName:
    """A backup history file: `NAME.OFFSET.backup`."""

    segment: WalSegment
    offset: int

    @property
    def name(self) -> str:
        """Return `NAME.OFFSET.backup`."""
        return f"{self.segment.name}.{self.offset:08X}.backup"

    @property
    def timeline(self) -> int:
        """Return the timeline of the segment."""
        return self.segment.timeline


@dataclass(frozen=True, slots=True, order=True)
class HistoryName:
    """A timeline history file: `TTTTTTTT.history`."""

    timeline: int

    @property
    def name(self) -> str:
        """Return `TTTTTTTT.history`."""
        return f"{self.timeline:08X}.history"


WalName = WalSegment | PartialSegment | BackupLabelName | HistoryName


def parse_wal_name(name: str) -> WalName:
    """Return what a bare file name stands for. Raises InvalidWalName for everything else, paths included."""
    match = _NAME.match(name)
    if match is None:
        raise InvalidWalName(name)
    timeline, log, seg, suffix, offset = match.groups()
    if log is None:
        return HistoryName(int(timeline, 16))
    segment = WalSegment(int(timeline, 16), int(log, 16), int(seg, 16))
    if suffix is None:
        return segment
    if offset is None:
        return PartialSegment(segment)
    return BackupLabelName(segment, int(offset, 16))


def is_wal_name(name: str) -> bool:
    """Tell whether a bare file name is one of a WAL file of any kind."""
    return _NAME.match(name) is not None


def is_segment_name(name: str) -> bool:
    """Tell whether a bare file name is one of a complete segment."""
    return len(name) == 24 and _NAME.match(name) is not None


def hash_directory(name: str) -> str:
    """Return the directory of the archive that holds the file: timeline and log; "" for history files.

    Raises InvalidWalName.
    """
    match = _NAME.match(name)
    if match is None:
        raise InvalidWalName(name)
    return "" if match.group(2) is None else (match.group(1) + match.group(2)).upper()
