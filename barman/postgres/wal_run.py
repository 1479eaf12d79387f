"""Runs of consecutive segment numbers: a million segments in a row are one pair. Pure."""

from __future__ import annotations

from bisect import bisect_right

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Run = tuple[int, int]
"""First and last number, both included."""
Runs = tuple[Run, ...]
"""Ascending, and never adjacent."""
_BEYOND = 1 << 64
"""More than the number of any segment."""


def run_holding(runs: Runs, number: int) -> Run | None:
    """The run that the number lies in."""
    place = bisect_right(runs, (number, _BEYOND)) - 1
    return runs[place] if place >= 0 and number <= runs[place][1] else None


def join_numbers(numbers: Iterable[int]) -> Runs:
    """The runs of these numbers, which need not be in order."""
    ordered = sorted(set(numbers))
    if not ordered:
        return ()
    if ordered[-1] - ordered[0] == len(ordered) - 1:
        return ((ordered[0], ordered[-1]),)
    runs: list[Run] = []
    first = previous = ordered[0]
    for number in ordered[1:]:
        if number != previous + 1:
            runs.append((first, previous))
            first = number
        previous = number
    runs.append((first, previous))
    return tuple(runs)


def join_runs(runs: Iterable[Run]) -> Runs:
    """The same numbers as these runs, which may touch and overlap, as few runs as possible."""
    joined: list[Run] = []
    for first, last in sorted(runs):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)
