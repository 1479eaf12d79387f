"""Where the archive has holes, and how far a recovery can go. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from barman.postgres.lsn import Lsn
from barman.postgres.timeline import TimelineHistory
from barman.postgres.wal_name import WalSegment, is_segment_name


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive segments of one timeline, all archived, from `first` to `last`."""

    first: WalSegment
    last: WalSegment


@dataclass(frozen=True, slots=True)
class Hole:
    """Missing segments of one timeline, from `first` to `last`, with archived ones before and after."""

    first: WalSegment
    last: WalSegment
    count: int


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch over which a backup can be recovered along one timeline: from its begin to the end of `last`."""

    timeline: int
    first: WalSegment
    last: WalSegment
    end: Lsn


def find_runs(names: Iterable[str], segment_size: int) -> dict[int, list[Run]]:
    """The runs of each timeline, in order. Names of other files than complete segments are passed over."""
    segments = sorted({WalSegment.parse(name) for name in names if is_segment_name(name)})
    runs: dict[int, list[Run]] = {}
    for segment in segments:
        known = runs.setdefault(segment.timeline, [])
        if known and known[-1].last.number(segment_size) + 1 == segment.number(segment_size):
            known[-1] = Run(known[-1].first, segment)
        else:
            known.append(Run(segment, segment))
    return runs


def find_holes(names: Iterable[str], segment_size: int) -> dict[int, list[Hole]]:
    """The holes between the segments of each timeline that has any, in order.

    Segments of one timeline only are compared: a timeline begins where its parent ends, which is no hole.
    """
    holes = {}
    for timeline, runs in find_runs(names, segment_size).items():
        found = [_between(left, right, segment_size) for left, right in zip(runs, runs[1:], strict=False)]
        if found:
            holes[timeline] = found
    return holes


def _between(left: Run, right: Run, segment_size: int) -> Hole:
    first, last = left.last.next(segment_size), right.first.previous(segment_size)
    return Hole(first, last, last.number(segment_size) - first.number(segment_size) + 1)


def find_window(
    begin: WalSegment, history: TimelineHistory, runs: Mapping[int, Sequence[Run]], segment_size: int
) -> Window | None:
    """How far a recovery that begins with `begin` gets along `history`; None if it cannot even begin.

    On each timeline of the history the segments up to the switch are needed, and then those of the next timeline from
    the switch on. The segment of a switch is searched under the child's name first, as PostgreSQL does.
    """
    left_at = history.end_of(begin.timeline)
    if not history.is_ancestor(begin.timeline) or (left_at is not None and begin.start(segment_size) > left_at):
        return None
    archived = {timeline: [(run.first.number(segment_size), run.last.number(segment_size)) for run in known]
                for timeline, known in runs.items()}  # fmt: skip
    position, reached = begin.number(segment_size), None
    for timeline in [*history.ancestors, history.timeline]:
        if timeline < begin.timeline:
            continue
        end = history.end_of(timeline)
        reached_here = _last_in_run(position, archived.get(timeline, ()))
        if end is not None:
            switch = end.value // segment_size  # the child's first segment holds the byte of the switch
            if reached_here is not None and (reached is None or reached_here > reached[1]):
                reached = (timeline, min(reached_here, switch))
            needed_before = switch - 1
            if position <= needed_before and (reached_here is None or reached_here < needed_before):
                break
            position = max(position, switch)
        elif reached_here is not None:
            reached = (timeline, reached_here)
    if reached is None:
        return None
    last = WalSegment.numbered(reached[1], reached[0], segment_size)
    return Window(history.timeline, begin, last, last.end(segment_size))


def _last_in_run(number: int, runs: Iterable[tuple[int, int]]) -> int | None:
    """The last segment of the run that holds the number."""
    return next((last for first, last in runs if first <= number <= last), None)
