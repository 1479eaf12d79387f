"""One archived WAL file as `xlog.db` knows it, and its line there.

A line is `name<TAB>size<TAB>time<TAB>compression<TAB>encryption`; older releases wrote three or four columns, and any
blanks between columns are accepted (catalog reference, section 11).
"""

from __future__ import annotations

import math

from barman.postgres.wal_name import is_wal_name
from barman.values import dataclass

_LONGEST_LINE = 400
"""Longer lines are garbage: no column is that long, and numbers of unbounded length are slow to read."""


@dataclass(frozen=True, slots=True)
class WalFile:
    """A file of the WAL archive: its size as stored, its modification time, and how it is stored."""

    name: str
    size: int
    time: float
    compression: str | None = None
    encryption: str | None = None

    def line(self) -> bytes:
        """The line of `xlog.db` for this file, always in five columns; `parse_line` gives back an equal value."""
        text = f"{self.name}\t{self.size}\t{self.time!r}\t{self.compression}\t{self.encryption}\n"
        return text.encode("ascii")


def parse_line(line: bytes) -> WalFile | None:
    """Read one line of `xlog.db`, with or without its line end; None when it is not one.

    Lines come from outside: names are checked before anyone makes a path of them.
    """
    columns = line.split()
    if not 3 <= len(columns) <= 5 or len(line) > _LONGEST_LINE:
        return None
    try:
        name, size_text, time_text, *rest = (column.decode("ascii") for column in columns)
        size, time = int(size_text), float(time_text)
    except ValueError:
        return None
    if size < 0 or not math.isfinite(time) or not is_wal_name(name):
        return None
    compression, encryption, *_ = [None if word == "None" else word for word in rest] + [None, None]
    return WalFile(name, size, time, compression, encryption)
