"""WalIndex: questions about `xlog.db` answered without reading a million lines.

The index is derived and disposable: it lives beside the records (`Layout.wal_index`), is validated against the text
each time it is opened, extended by the bytes that were appended since, and built anew by one linear read whenever
anything does not fit. Writers of `xlog.db` know nothing about it: appending costs the same however long the text is.

Two files in the end: the blocks, and, only for a text that is hopelessly out of order, a sorted copy of its segments.
"""

from __future__ import annotations

import os
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from heapq import merge
from itertools import accumulate

from barman.catalog.layout import Layout
from barman.catalog.wal_blocks import (
    BlockBuilder,
    BlockReader,
    Blocks,
    LineCounts,
    OutOfOrder,
    Stray,
    is_plain_segment,
)
from barman.catalog.wal_file import WalFile, parse_line
from barman.catalog.whole_lines import whole_lines
from barman.catalog.xlogdb import XlogDb, XlogLock
from barman.clock import timestamp
from barman.errors import BarmanError, CatalogError
from barman.fs.durable import Temporary, write_atomic
from barman.typing import Protocol
from barman.values import dataclass, field

_MAGIC = b"barman wal index 1\n"
_HEADER = struct.Struct("<19sI" + "q" * 14 + "24s")
_CHUNK = 1 << 20
_SAMPLES = 16
_SAMPLE_BYTES = 512
_TAIL_BYTES = 4096
_RACY_SECONDS = 0.05
"""A text that was written so shortly ago could be written again without a new modification time."""
_END_OF_TIMELINE = "FFFFFFFFFFFFFFFF"


class IndexedCatalog(Protocol):
    """What this module needs of a Catalog."""

    layout: Layout

    @property
    def locks(self) -> XlogLock:
        """The locks of the server."""

    @property
    def xlogdb(self) -> XlogDb:
        """The text."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """When the index does what. The defaults are right for everything but tests."""

    unsaved_bytes: int = 256 * 1024
    """Less than this is read again by each command rather than saved: a command that asks should not write and sync."""
    out_of_order: int = 8192
    """More segments than this out of order, and the text is sorted first."""


@dataclass(frozen=True, slots=True)
class RangeStats:
    """The complete segments of a range: how many, their size as stored, and the first and last of them by name.

    Labels, partial and history files do not count. Times are modification times; 0.0 and "" when the range is empty.
    """

    count: int = 0
    size: int = 0
    first_name: str = ""
    last_name: str = ""
    first_time: float = 0.0
    last_time: float = 0.0


@dataclass(slots=True)
class _State:
    """What is saved: the blocks, what lies outside them, and what the text looked like."""

    blocks: Blocks = field(default_factory=Blocks)
    strays: dict[str, Stray] = field(default_factory=dict)
    counts: LineCounts = field(default_factory=LineCounts)
    inode: int = 0
    indexed: int = 0
    """The text is indexed up to this byte, the end of a line."""
    size: int = -1
    mtime_ns: int = 0
    samples: int = 0
    """Checksum of some places of the indexed text."""
    sorted_copy: int = 0
    """Size of the sorted copy in bytes, 0 without one."""
    sorted_samples: int = 0


class WalIndex:
    """`xlog.db` at one moment, by name. Open it, ask, close it. A name listed twice counts once: its last line."""

    def __init__(self, state: _State, text: int, sorted_copy: int):
        self._state = state
        self._descriptors = [number for number in (text, sorted_copy) if number >= 0]
        self._reader = BlockReader(state.blocks, text, sorted_copy)
        late = sorted((name, stray) for name, stray in state.strays.items() if is_plain_segment(name.encode()))
        self._late = [name for name, _ in late]
        self._late_counts = [0, *accumulate(stray.listed_size is None for _, stray in late)]
        self._late_sizes = [0, *accumulate(stray.file.size - (stray.listed_size or 0) for _, stray in late)]

    @classmethod
    def open(cls, catalog: IndexedCatalog, tuning: Tuning | None = None) -> WalIndex:
        """Open the index of a server, brought up to date with the text. A missing text is built from the archive.

        Costs a few reads when the index is current, a read of what was appended when it is not, and one read of the
        whole text when there is no index or the text was rewritten. Raises OSError; CatalogError when the text keeps
        changing.
        """
        catalog.xlogdb.ensure()
        return _open(catalog.layout, catalog.locks, tuning or Tuning())

    def close(self) -> None:
        """Close the text; further questions fail."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def __enter__(self) -> WalIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    @property
    def count(self) -> int:
        """How many files are listed, of every kind, each counted once."""
        replacing = sum(stray.listed_size is not None for stray in self._state.strays.values())
        return self._state.blocks.count + len(self._state.strays) - replacing

    @property
    def size(self) -> int:
        """The stored size of all listed files."""
        strays = self._state.strays.values()
        return self._state.blocks.size + sum(stray.file.size - (stray.listed_size or 0) for stray in strays)

    @property
    def problems(self) -> LineCounts:
        """What the text holds besides good lines."""
        return self._state.counts

    def find(self, name: str) -> WalFile | None:
        """The listed file of that name, of any kind."""
        stray = self._state.strays.get(name)
        if stray is not None:
            return stray.file
        return self._reader.find(name.encode("ascii", "replace"))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def timelines(self) -> list[int]:
        """The timelines of the listed files, of every kind, in order."""
        found = {int(name[:8], 16) for name in self._state.strays}
        place = self._reader.place(b"")
        while place.count < self._state.blocks.count:
            timeline = int(self._reader.file_at(place).name[:8], 16)
            found.add(timeline)
            place = self._reader.place(f"{timeline:08X}{_END_OF_TIMELINE}".encode(), after=True)
        return sorted(found)

    def last(self, timeline: int) -> WalFile | None:
        """The newest complete segment of a timeline."""
        stats = self.range_stats(f"{timeline:08X}" + "0" * 16)
        return self.find(stats.last_name) if stats.count else None

    @property
    def newest(self) -> WalFile | None:
        """The newest complete segment of the highest timeline that has one."""
        return next((file for timeline in reversed(self.timelines()) if (file := self.last(timeline))), None)

    def range_stats(self, first: str, last: str | None = None, *, after: bool = False) -> RangeStats:
        """The complete segments from `first` (excluded with `after`) to `last` (included) on the timeline of `first`.

        Without `last` to the end of that timeline. The names need not be listed.
        """
        end = first[:8] + _END_OF_TIMELINE
        end = end if last is None else min(last, end)
        start_place = self._reader.place(first.encode(), after=after)
        end_place = self._reader.place(end.encode(), after=True)
        low = (bisect_right if after else bisect_left)(self._late, first)
        high = bisect_right(self._late, end)
        count = end_place.count - start_place.count + self._late_counts[max(low, high)] - self._late_counts[low]
        if count <= 0 or end < first:
            return RangeStats()
        size = end_place.size - start_place.size + self._late_sizes[max(low, high)] - self._late_sizes[low]
        ends = []
        if end_place.count > start_place.count:
            ends = [self._reader.file_at(start_place), self._reader.file_before(end_place)]
        # What replaces a segment of the blocks comes last and wins: min and max prefer the first of equal names.
        late = [self._state.strays[self._late[index]].file for index in (low, high - 1) if low < high]
        first_file = min([*late, *ends], key=lambda file: file.name)
        last_file = max([*late, *ends], key=lambda file: file.name)
        return RangeStats(count, size, first_file.name, last_file.name, first_file.time, last_file.time)

    def files(self, first: str = "", last: str | None = None) -> Iterator[WalFile]:
        """The listed files of every kind whose names lie between, both included, in the order of names.

        Names compare as text: the label of the last segment is greater than its name.
        """
        start = self._reader.place(first.encode())
        end = self._reader.place(last.encode() if last is not None else b"~", after=True)
        strays = self._state.strays
        chosen = sorted(name for name in strays if name >= first and (last is None or name <= last))
        if end.count < start.count:
            return
        listed = (file for file in self._reader.files(start, end) if file.name not in strays)
        yield from merge((strays[name].file for name in chosen), listed, key=lambda file: file.name)


# -- opening -----------------------------------------------------------------------------------------------------------


def _open(layout: Layout, locks: XlogLock, tuning: Tuning) -> WalIndex:
    saved = _load(layout.wal_index)
    for _ in range(3):
        text = os.open(layout.xlogdb, os.O_RDONLY | os.O_CLOEXEC)
        try:
            index = _open_text(text, layout, locks, saved, tuning)
        except BaseException:
            os.close(text)
            raise
        if index is not None:
            return index
        os.close(text)
        saved = None
    raise CatalogError(f"'{layout.xlogdb}' keeps changing while it is read", hint="Run the command again.")


def _open_text(text: int, layout: Layout, locks: XlogLock, saved: _State | None, tuning: Tuning) -> WalIndex | None:
    """The index over an open text, saved if that is worth it; None if the text was rewritten meanwhile."""
    copy = -1 if saved is None else _open_sorted_copy(layout, saved)
    if copy is None:
        saved, copy = None, -1
    if saved is not None and _looks_current(saved, os.fstat(text)):
        return WalIndex(saved, text, copy)
    with locks.xlogdb():  # the original rewrites in place: begin and end while it does not
        facts = os.fstat(text)
        if saved is not None and not _is_prefix(saved, text, facts):
            _close(copy)
            saved, copy = None, -1
    old_end = saved.indexed if saved is not None else 0
    state, copy = _bring_up_to(text, facts.st_size, saved, copy, layout, tuning.out_of_order)
    try:
        state.inode, state.size, state.mtime_ns = facts.st_ino, facts.st_size, facts.st_mtime_ns
        state.samples = _sample(text, state.indexed)
        with locks.xlogdb():
            unharmed = _is_prefix(state, text, os.fstat(text))
    except BaseException:
        _close(copy)
        raise
    if not unharmed:
        _close(copy)
        return None
    racy = timestamp() - facts.st_mtime < _RACY_SECONDS
    if (saved is None or state.indexed - old_end > tuning.unsaved_bytes) and not racy:
        _save(layout.wal_index, state)
    return WalIndex(state, text, copy)


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def _looks_current(state: _State, facts: os.stat_result) -> bool:
    return (state.inode, state.size, state.mtime_ns) == (facts.st_ino, facts.st_size, facts.st_mtime_ns)


def _is_prefix(state: _State, text: int, facts: os.stat_result) -> bool:
    """Whether the text still begins with what was indexed: it was only appended to, if at all."""
    if state.inode != facts.st_ino or state.indexed > facts.st_size:
        return False
    if state.size == facts.st_size and state.mtime_ns != facts.st_mtime_ns:
        return False  # written to without growing: edited in place
    return state.samples == _sample(text, state.indexed)


def _sample(text: int, end: int) -> int:
    """A checksum over the begin, the end and some places between of the first `end` bytes."""
    checksum = zlib.crc32(os.pread(text, min(_TAIL_BYTES, end), max(0, end - _TAIL_BYTES)))
    for part in range(_SAMPLES):
        offset = end * part // _SAMPLES
        checksum = zlib.crc32(os.pread(text, min(_SAMPLE_BYTES, end - offset), offset), checksum)
    return checksum


def _bring_up_to(
    text: int, size: int, saved: _State | None, copy: int, layout: Layout, limit: int
) -> tuple[_State, int]:
    """Index the text up to `size`; sort it first when it is too disorderly. Answer the state and its sorted copy.

    Takes over the descriptor `copy`.
    """
    state = saved if saved is not None else _State()
    try:
        _read_lines(state, BlockReader(state.blocks, text, copy), text, size, limit)
        return state, copy
    except OutOfOrder:
        _close(copy)
    except BaseException:
        _close(copy)
        raise
    state = _State()
    copy = _sort_into_copy(state, text, size, layout)
    try:
        builder = BlockBuilder(BlockReader(state.blocks, text, copy), {}, LineCounts(), 0)
        for offset, lines in _chunks(copy, 0, state.sorted_copy):
            builder.add_text(lines, offset, in_sorted_copy=True)
    except BaseException:
        _close(copy)
        raise
    return state, copy


def _read_lines(state: _State, reader: BlockReader, text: int, size: int, limit: int) -> None:
    late = sum(is_plain_segment(name.encode()) for name in state.strays)
    builder = BlockBuilder(reader, state.strays, state.counts, max(0, limit - late))
    for offset, lines in _chunks(text, state.indexed, size):
        builder.add_text(lines, offset)
        state.indexed = offset + len(lines)


def _chunks(text: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines of the text with their offset; a torn last line is left out."""
    for lines, consumed in whole_lines(_pieces(text, start, end)):
        yield start + consumed - len(lines), lines


def _pieces(text: int, start: int, end: int) -> Iterator[bytes]:
    while start < end and (piece := os.pread(text, min(_CHUNK, end - start), start)):
        yield piece
        start += len(piece)


def _sort_into_copy(state: _State, text: int, size: int, layout: Layout) -> int:
    """Write the segments of the text, sorted and each once, into the sorted copy and open it.

    The rest goes to `state`. Holds all lines of segments in memory while it sorts.
    """
    segments: list[bytes] = []
    for offset, lines in _chunks(text, 0, size):
        state.indexed = offset + len(lines)
        for line in lines.split(b"\n")[:-1]:
            _sort_line(line, segments, state)
    segments.sort()
    unique, disputed = _without_repeats(segments, state.counts)
    del segments
    if disputed:
        unique = _settle(unique, disputed, text, size)
    with Temporary(layout.wal_index_sorted) as new:
        for line in unique:
            state.sorted_copy += len(line)
            new.file.write(line)
        new.publish(replace=True)
    copy = os.open(layout.wal_index_sorted, os.O_RDONLY | os.O_CLOEXEC)
    state.sorted_samples = _sample(copy, state.sorted_copy)
    return copy


def _sort_line(line: bytes, segments: list[bytes], state: _State) -> None:
    state.counts.lines += 1
    file = parse_line(line)
    if file is None:
        if line.strip():
            state.counts.garbage += 1
        else:
            state.counts.blank += 1
    elif is_plain_segment(file.name.encode()):
        segments.append(file.line())
    else:
        state.counts.repeated += file.name in state.strays
        state.strays[file.name] = Stray(file)


def _without_repeats(segments: list[bytes], counts: LineCounts) -> tuple[list[bytes], set[bytes]]:
    """Sorted lines without equal ones, and the names that still have several lines."""
    unique: list[bytes] = []
    disputed: set[bytes] = set()
    previous = b""
    for line in segments:
        if line[:24] == previous[:24]:
            counts.repeated += 1
            if line == previous:
                continue
            disputed.add(line[:24])
        unique.append(line)
        previous = line
    return unique, disputed


def _settle(unique: list[bytes], disputed: set[bytes], text: int, size: int) -> list[bytes]:
    """Give each disputed name the line that comes last in the text."""
    winners: dict[bytes, bytes] = {}
    for _, lines in _chunks(text, 0, size):
        for line in lines.split(b"\n"):
            file = parse_line(line)
            if file is not None and file.name.encode() in disputed:
                winners[file.name.encode()] = file.line()
    settled = [line for line in unique if line[:24] not in disputed]
    settled.extend(winners.values())
    settled.sort()
    return settled


# -- the saved form ----------------------------------------------------------------------------------------------------


def _open_sorted_copy(layout: Layout, state: _State) -> int | None:
    """The sorted copy that belongs to the state: -1 if it needs none, None if it is not there."""
    if not state.sorted_copy:
        return -1
    try:
        copy = os.open(layout.wal_index_sorted, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    if os.fstat(copy).st_size == state.sorted_copy and _sample(copy, state.sorted_copy) == state.sorted_samples:
        return copy
    os.close(copy)
    return None


def _save(path: str, state: _State) -> None:
    """Save the state; a cache that cannot be saved (permissions, a full disk) is done without."""
    blocks, counts = state.blocks, state.counts
    strays = b"".join(
        b"%d\t%s" % (-1 if stray.listed_size is None else stray.listed_size, stray.file.line())
        for stray in state.strays.values()
    )
    columns = [part.tobytes() for part in (blocks.offsets, blocks.lengths, blocks.counts, blocks.sizes)]
    body = b"".join([*blocks.keys, *columns, strays])
    numbers = (
        *(len(blocks), blocks.count, blocks.size, state.inode, state.indexed, state.size, state.mtime_ns),
        *(state.samples, state.sorted_copy, state.sorted_samples),
        *(counts.lines, counts.blank, counts.garbage, counts.repeated),
    )
    head = _HEADER.pack(_MAGIC, 0, *numbers, blocks.last_name)
    checksum = zlib.crc32(body, zlib.crc32(head))
    try:
        write_atomic(path, _HEADER.pack(_MAGIC, checksum, *numbers, blocks.last_name) + body)
    except (OSError, BarmanError):
        return


def _load(path: str) -> _State | None:
    """The saved state; None when there is none or it is damaged."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except OSError:
        return None
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        return None
    _, checksum, length, count, size, *numbers, last_name = _HEADER.unpack_from(data)
    zeroed = data[: len(_MAGIC)] + b"\0\0\0\0" + data[len(_MAGIC) + 4 : _HEADER.size]
    body = data[_HEADER.size :]
    if zlib.crc32(body, zlib.crc32(zeroed)) != checksum:
        return None
    keys = list(struct.unpack_from("24s" * length, body))
    blocks = Blocks(keys=keys, count=count, size=size, last_name=last_name.rstrip(b"\0"))
    position = 24 * length
    for column in (blocks.offsets, blocks.lengths, blocks.counts, blocks.sizes):
        column.frombytes(body[position : position + 8 * length])
        position += 8 * length
    inode, indexed, text_size, mtime_ns, samples, sorted_copy, sorted_samples, *counts = numbers
    return _State(
        blocks, _read_strays(body[position:]), LineCounts(*counts), inode, indexed, text_size, mtime_ns, samples,
        sorted_copy, sorted_samples,
    )  # fmt: skip


def _read_strays(text: bytes) -> dict[str, Stray]:
    strays = {}
    for line in text.splitlines():
        listed, _, rest = line.partition(b"\t")
        file = parse_line(rest)
        if file is not None:
            strays[file.name] = Stray(file, None if listed == b"-1" else int(listed))
    return strays
