"""Read the stream of `barman get-wal --following`: segments, each between two lines that tell where it begins and ends.

Whatever a remote shell prints before a line of ours is passed over. A segment counts when its last line has come.
"""

from __future__ import annotations

from barman.clients.segment import MAX_SEGMENT, is_plain_segment
from barman.errors import BarmanError
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MARK = b"barman-wal "
_END = b"barman-wal end"
_LONGEST_LINE = 256
_LARGEST = MAX_SEGMENT + (1 << 24)
"""A segment, and what a compression may add to content that cannot be compressed."""


class BrokenSeries(BarmanError):
    """What comes is no series of segments."""


class SeriesReader:
    """Takes the stream piece by piece; `begin`, `write` and `end` are called for each file that comes."""

    def __init__(
        self, begin: Callable[[str], object], write: Callable[[bytes], object], end: Callable[[], object]
    ) -> None:
        self._begin = begin
        self._write = write
        self._end = end
        self._line = b""
        self._left = 0
        self._in_file = False

    def feed(self, data: bytes) -> None:
        """Take what came. Raises BrokenSeries, and what the three functions raise."""
        view = memoryview(data)
        while view:
            if self._left:
                piece = view[: self._left]
                self._write(bytes(piece) if len(piece) < len(data) else data)
                self._left -= len(piece)
                view = view[len(piece) :]
                continue
            rest = bytes(view)
            line, found, after = rest.partition(b"\n")
            view = memoryview(after)
            self._line += line
            if found:
                self._take_line(self._line)
                self._line = b""
            elif self._in_file and len(self._line) > _LONGEST_LINE:
                raise BrokenSeries("a segment has no end")
            else:
                self._line = self._line[-_LONGEST_LINE:]

    def _take_line(self, line: bytes) -> None:
        if self._in_file:
            if line != _END:
                raise BrokenSeries("a segment has no end")
            self._in_file = False
            self._end()
            return
        if not line.startswith(_MARK):
            return
        words = line.decode("ascii", "replace").split(" ")
        if len(words) != 3 or not is_plain_segment(words[1]) or not words[2].isdecimal() or len(words[2]) > 10:
            raise BrokenSeries(f"a segment begins with '{line[:_LONGEST_LINE].decode('ascii', 'replace')}'")
        if not 0 < int(words[2]) <= _LARGEST:
            raise BrokenSeries(f"a segment of {words[2]} bytes is announced")
        self._begin(words[1])
        self._left, self._in_file = int(words[2]), True
