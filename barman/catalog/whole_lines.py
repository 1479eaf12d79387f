"""Whole lines of a text that is read in pieces, in memory that does not depend on the text.

A power loss can leave hundreds of megabytes of zeros in a file that was written to, without a single line end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

LONGEST = 1 << 16
GARBAGE = b"?\n"
"""Stands for a line that is longer than LONGEST: its last two bytes."""


def whole_lines(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Texts of one or more whole lines, each with the number of bytes up to its end. A torn last line is left out."""
    rest, total, skipping = b"", 0, False
    for piece in pieces:
        total += len(piece)
        if not skipping:
            text = rest + piece
        elif b"\n" in piece:
            text = GARBAGE + piece.partition(b"\n")[2]
        else:
            continue
        lines, newline, rest = text.rpartition(b"\n")
        if newline:
            yield lines + newline, total - len(rest)
        skipping = len(rest) > LONGEST
        if skipping:
            rest = b""
