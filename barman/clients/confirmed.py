"""What a Barman host has confirmed, remembered between calls of `barman-wal-archive`.

Segments that went along with an earlier one need not be sent again. What counts is the content: a line names the system
identifier, the name and the SHA-256 of the plain bytes. A file of another cluster, or of the same name with other
bytes, is a new file; no order of names means anything. A lost or damaged state costs a transfer, nothing else.
"""

from __future__ import annotations

import os

from barman.clock import timestamp
from barman.fs.spool import replace_file
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_BYTES = 1 << 20
_SECONDS = 3600.0


class Confirmed:
    """The state for one destination in a private directory."""

    def __init__(self, directory: str, key: str) -> None:
        self._path = os.path.join(directory, f"confirmed-{key}")
        self._mark = os.path.join(directory, f"silent-{key}")

    def lines(self) -> list[tuple[str, str, str]]:
        """Return system identifier, name and digest of every confirmed segment; an old state is none."""
        if not _is_recent(self._path):
            return []
        try:
            with open(self._path, "rb") as file:
                text = file.read(_MAX_BYTES).decode("ascii", "replace")
        except OSError:
            return []
        rows = [line.split(" ") for line in text.split("\n")]
        return [(row[0], row[1], row[2]) for row in rows if len(row) == 3 and len(row[2]) == 64]

    def save(self, segments: Iterable[tuple[str, str, str]]) -> None:
        """Remember the segments of the last transfer, and those only."""
        replace_file(self._path, "".join(f"{' '.join(segment)}\n" for segment in segments).encode())

    def is_useless(self) -> bool:
        """Whether the server was seen lately to confirm nothing: then what goes along is sent twice for nothing."""
        return _is_recent(self._mark)

    def mark_useless(self) -> None:
        """Remember that the server confirms nothing."""
        replace_file(self._mark, b"")


def _is_recent(path: str) -> bool:
    try:
        return 0 <= timestamp() - os.stat(path).st_mtime < _SECONDS
    except OSError:
        return False
