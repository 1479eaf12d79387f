"""Log sequence numbers: byte positions in the WAL (PostgreSQL manual, "pg_lsn Type")."""

from __future__ import annotations

import re

from barman.values import dataclass

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})\Z")


@dataclass(frozen=True, slots=True, order=True)
class Lsn:
    """A position in the WAL; prints as PostgreSQL does: `0/3000028`."""

    value: int

    @classmethod
    def parse(cls, text: str) -> Lsn:
        """Return the position of `X/X`. Raises ValueError."""
        match = _LSN.match(text.strip())
        if match is None:
            raise ValueError(f"'{text}' is not a log sequence number such as 0/3000028")
        return cls((int(match.group(1), 16) << 32) | int(match.group(2), 16))

    def __str__(self) -> str:
        return f"{self.value >> 32:X}/{self.value & 0xFFFFFFFF:X}"

    def __add__(self, count: int) -> Lsn:
        return Lsn(self.value + count)

    def __sub__(self, other: Lsn) -> int:
        return self.value - other.value

    def offset(self, segment_size: int) -> int:
        """Return the byte offset inside its segment."""
        return self.value % segment_size
