"""Sorted blocks over the lines of `xlog.db`: sums and positions of a million segments in less than a megabyte.

A block stands for up to 64 consecutive lines of a text file. It knows the name of its first segment, where its text
lies, and how many segments and bytes come before it. The segments of all blocks taken together have strictly rising
names, so a question about a range of names costs a binary search and the parsing of the two blocks at its ends.

Lines that do not fit into the rising order go to `StrayLines`: labels, partial and history files, and the few segments
that were archived out of order.
"""

from __future__ import annotations

import math
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import lt

from barman.catalog.wal_file import WalFile, parse_line
from barman.errors import CatalogError
from barman.values import dataclass, field

BLOCK_LINES = 64
NAME = 24
_CACHED_BLOCKS = 1024
_HEX = b"0123456789ABCDEF"
_PLAIN = _HEX + b"abcdefghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ.+-_\t"
_LONGEST_LINE = 400


class OutOfOrder(Exception):
    """Too many lines are out of order for blocks over this text: sort it first. Never leaves the index."""


@dataclass(slots=True)
class LineCounts:
    """What was met while reading the text."""

    lines: int = 0
    blank: int = 0
    garbage: int = 0
    repeated: int = 0
    """Lines of a name that was listed before."""


class _Parsed:
    """The segments of one block, in columns. What was checked when the block was built is not checked again."""

    __slots__ = ("_columns", "names", "sizes")

    def __init__(self, columns: list[bytes]):
        self._columns = columns
        self.names = columns[0::5]
        self.sizes = columns[1::5]

    def file(self, index: int) -> WalFile:
        name, size, time, *stored = self._columns[5 * index : 5 * index + 5]
        compression, encryption = (None if word == b"None" else word.decode() for word in stored)
        return WalFile(name.decode(), int(size), float(time), compression, encryption)


@dataclass(frozen=True, slots=True)
class Place:
    """A position between segments: so many segments and bytes come before it."""

    block: int
    index: int
    count: int
    size: int


@dataclass(slots=True)
class Blocks:
    """All blocks. An offset below zero means the sorted copy: `-1 - offset` there.

    A length below zero means lines that need careful reading: fewer columns than five, or blanks between them.
    """

    keys: list[bytes] = field(default_factory=list)
    offsets: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("q"))
    counts: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    count: int = 0
    size: int = 0
    last_name: bytes = b""

    def add(self, names: list[bytes], size: int, offset: int, length: int) -> None:
        """Append a block; its names rise and are greater than all before."""
        self.keys.append(names[0])
        self.offsets.append(offset)
        self.lengths.append(length)
        self.counts.append(self.count)
        self.sizes.append(self.size)
        self.count += len(names)
        self.size += size
        self.last_name = names[-1]

    def __len__(self) -> int:
        return len(self.offsets)


class BlockReader:
    """Answers questions about blocks from the text they describe: `text` is `xlog.db`, `sorted_copy` may be -1."""

    def __init__(self, blocks: Blocks, text: int, sorted_copy: int = -1):
        self.blocks = blocks
        self._text = text
        self._sorted_copy = sorted_copy
        self._places: dict[tuple[bytes, bool], Place] = {}
        self._cache: dict[int, _Parsed] = {}

    def place(self, name: bytes, *, after: bool = False) -> Place:
        """The position before the first segment whose name is at least `name`, or greater with `after`.

        This and all other questions raise CatalogError when the text is not what it was.
        """
        found = self._places.get((name, after))
        if found is None:
            found = self._places[name, after] = self._find_place(name, after)
        return found

    def _find_place(self, name: bytes, after: bool) -> Place:
        block = bisect_right(self.blocks.keys, name) - 1
        if block < 0:
            return Place(0, 0, 0, 0)
        parsed = self._cached(block)
        index = (bisect_right if after else bisect_left)(parsed.names, name)
        size = self.blocks.sizes[block] + sum(map(int, parsed.sizes[:index]))
        return Place(block, index, self.blocks.counts[block] + index, size)

    def file_at(self, place: Place) -> WalFile:
        """The segment that follows the position; there must be one."""
        parsed = self._cached(place.block)
        if place.index < len(parsed.names):
            return parsed.file(place.index)
        return self._cached(place.block + 1).file(0)

    def file_before(self, place: Place) -> WalFile:
        """The segment that precedes the position; there must be one."""
        if place.index:
            return self._cached(place.block).file(place.index - 1)
        parsed = self._cached(place.block - 1)
        return parsed.file(len(parsed.names) - 1)

    def find(self, name: bytes) -> WalFile | None:
        """The segment of that name."""
        block = bisect_right(self.blocks.keys, name) - 1
        if block < 0:
            return None
        parsed = self._cached(block)
        index = bisect_left(parsed.names, name)
        return parsed.file(index) if index < len(parsed.names) and parsed.names[index] == name else None

    def files(self, start: Place, end: Place) -> Iterator[WalFile]:
        """The segments between two positions. Memory does not depend on how many."""
        for block in range(start.block, min(end.block + 1, len(self.blocks))):
            parsed = self._parse(block)
            stop = end.index if block == end.block else len(parsed.names)
            for index in range(start.index if block == start.block else 0, stop):
                yield parsed.file(index)

    def _cached(self, block: int) -> _Parsed:
        found = self._cache.get(block)
        if found is None:
            found = self._parse(block)
            if len(self._cache) >= _CACHED_BLOCKS:
                self._cache.clear()
            self._cache[block] = found
        return found

    def _parse(self, block: int) -> _Parsed:
        offset, length = self.blocks.offsets[block], self.blocks.lengths[block]
        descriptor, offset = (self._sorted_copy, -1 - offset) if offset < 0 else (self._text, offset)
        text = os.pread(descriptor, abs(length), offset)
        if length < 0:
            text = b"".join([file.line() for line in text.split(b"\n") if (file := parse_line(line)) is not None])
        next_count = self.blocks.counts[block + 1] if block + 1 < len(self.blocks) else self.blocks.count
        expected = next_count - self.blocks.counts[block]
        columns = text.replace(b"\n", b"\t").split(b"\t")
        columns.pop()
        if len(columns) != 5 * expected or columns[0] != self.blocks.keys[block]:
            raise CatalogError("the WAL index changed while it was read", hint="Run the command again.")
        return _Parsed(columns)


class BlockBuilder:
    """Adds lines to blocks. `limit` bounds how many lines may be out of order before OutOfOrder is raised."""

    def __init__(self, reader: BlockReader, strays: dict[str, Stray], counts: LineCounts, limit: int):
        self._reader = reader
        self._blocks = reader.blocks
        self._strays = strays
        self._counts = counts
        self._left = limit

    def add_text(self, text: bytes, offset: int, *, in_sorted_copy: bool = False) -> None:
        """Take whole lines that begin at `offset` of their file."""
        lines = text.split(b"\n")
        lines.pop()
        self._counts.lines += len(lines)
        for start in range(0, len(lines), BLOCK_LINES):
            group = lines[start : start + BLOCK_LINES]
            length = sum(map(len, group)) + len(group)
            plain = _parse_plain(group)
            if plain is not None and plain[0][0] > self._blocks.last_name:
                names, sizes = plain
                self._blocks.add(names, sum(sizes), -1 - offset if in_sorted_copy else offset, length)
            else:
                self._add_mixed(group, offset)
            offset += length

    def _add_mixed(self, group: list[bytes], offset: int) -> None:
        """Make a block of each run of lines that rise; the other lines go their own ways, after all of them."""
        last = self._blocks.last_name
        run: list[bytes] = []
        others = []
        for line in group:
            file = parse_line(line)
            name = file.name.encode() if file is not None else b""
            if name > last and is_plain_segment(name):
                last = name
                run.append(line)
            else:
                others.append(line)
                offset = self._add_run(run, offset) + len(line) + 1
                run = []
        self._add_run(run, offset)
        for line in others:
            self._add_other(line)

    def _add_run(self, run: list[bytes], offset: int) -> int:
        if not run:
            return offset
        length = sum(map(len, run)) + len(run)
        plain = _parse_plain(run)
        if plain is not None:
            self._blocks.add(plain[0], sum(plain[1]), offset, length)
        else:
            files = [file for line in run if (file := parse_line(line)) is not None]
            self._blocks.add([file.name.encode() for file in files], sum(f.size for f in files), offset, -length)
        return offset + length

    def _add_other(self, line: bytes) -> None:
        file = parse_line(line)
        if file is None:
            if line.strip():
                self._counts.garbage += 1
            else:
                self._counts.blank += 1
            return
        listed = None
        if is_plain_segment(file.name.encode()):
            self._left -= 1
            if self._left < 0:
                raise OutOfOrder
            listed = self._reader.find(file.name.encode())
        if listed is not None or file.name in self._strays:
            self._counts.repeated += 1
        if file == listed:
            self._strays.pop(file.name, None)
        else:
            self._strays[file.name] = Stray(file, None if listed is None else listed.size)


@dataclass(frozen=True, slots=True)
class Stray:
    """A file outside the blocks; `listed_size` is set when it replaces a segment that the blocks count."""

    file: WalFile
    listed_size: int | None = None


def is_plain_segment(name: bytes) -> bool:
    """Whether a name belongs into blocks: 24 upper-case digits."""
    return len(name) == NAME and not name.translate(None, _HEX)


def _parse_plain(lines: list[bytes]) -> tuple[list[bytes], list[int]] | None:
    """Names and sizes of lines that are all segments, rising, in five columns; None when any is something else.

    This is the hot path of building: few calls for many lines. It accepts nothing that `parse_line` refuses.
    """
    joined = b"\t".join(lines)
    if joined.translate(None, _PLAIN):
        return None
    columns = joined.split(b"\t")
    names = columns[0::5]
    digits = b"".join(names)
    if len(columns) != 5 * len(lines) or len(digits) != NAME * len(lines) or digits.translate(None, _HEX):
        return None
    if not all(map(lt, names, names[1:])) or set(map(len, names)) != {NAME} or max(map(len, lines)) > _LONGEST_LINE:
        return None
    try:
        sizes = list(map(int, columns[1::5]))
        times = sum(map(float, columns[2::5]))
    except ValueError:
        return None
    if min(sizes) < 0 or not math.isfinite(times) or b"" in columns[3::5] or b"" in columns[4::5]:
        return None
    return names, sizes
