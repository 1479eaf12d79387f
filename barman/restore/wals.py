"""Which archived WAL a recovery needs: the path along a timeline history, what is there, and where it breaks. Pure.

PostgreSQL reads each segment from the newest timeline of the history that can have it (`XLogFileReadAnyTLI` in
`xlogrecovery.c`): the segment in which a timeline was left exists under two names, and the child's is tried first.
Segments are counted from position 0, so that numbers compare across timelines.
"""

from __future__ import annotations

from barman.postgres.wal_name import WalSegment
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from barman.postgres.lsn import Lsn
    from barman.postgres.timeline import TimelineHistory


@dataclass(frozen=True, slots=True)
class WalArchive:
    """What the archive holds, as far as a restore looks: numbers of segments by timeline.

    `partials` are segments that exist only as `.partial`, after the newest whole one of their timeline; `partial_ends`
    the positions after their last records, where known. `times` are the modification times of partials and of segments
    that end a run (see `run_ends`), `history_times` those of history files.
    """

    segment_size: int
    segments: Mapping[int, Set[int]]
    histories: Mapping[int, TimelineHistory]
    partials: Mapping[int, Set[int]] = field(default_factory=dict)
    partial_ends: Mapping[WalSegment, Lsn] = field(default_factory=dict)
    times: Mapping[WalSegment, float] = field(default_factory=dict)
    history_times: Mapping[int, float] = field(default_factory=dict)

    def segment(self, number: int, timeline: int) -> WalSegment:
        """Return the segment with that number."""
        return WalSegment.numbered(number, timeline, self.segment_size)

    def has(self, number: int, timeline: int) -> bool:
        """Tell whether the complete segment is archived."""
        return number in self.segments.get(timeline, ())

    def has_partial(self, number: int, timeline: int) -> bool:
        """Tell whether only the beginning of the segment is there."""
        return number in self.partials.get(timeline, ()) and not self.has(number, timeline)

    def newest(self, timeline: int) -> int | None:
        """Return the greatest complete segment of a timeline."""
        return max(self.segments.get(timeline, ()), default=None)


@dataclass(frozen=True, slots=True)
class Hole:
    """Segments that are missing although later ones exist or are needed: from `first`, `count` of them."""

    first: WalSegment
    count: int
    before: WalSegment | None

    def describe(self) -> str:
        """Return `segment X` or `N segments from X`."""
        if self.count == 1:
            return f"WAL segment {self.first.name}"
        return f"{self.count} WAL segments from {self.first.name}"


@dataclass(frozen=True, slots=True)
class WalChain:
    """What exists of the path from a first segment on, along one history.

    `last` is the greatest segment that exists, None when there is none; `holes` lie between the first and `last`, or
    between it and a position that was demanded. `found` has every file of the path before the first hole, in order;
    only the last one may be `partial`.
    """

    history: TimelineHistory
    first: WalSegment
    last: WalSegment | None
    holes: tuple[Hole, ...]
    found: tuple[WalSegment, ...]
    partial: WalSegment | None = None

    @property
    def timeline(self) -> int:
        """Return the timeline at the end of the path."""
        return self.history.timeline

    @property
    def reached(self) -> WalSegment | None:
        """Return the last segment that can be replayed: the one before the first hole."""
        return self.found[-1] if self.found else None


def run_ends(numbers: Set[int]) -> list[int]:
    """Return the numbers whose successor is missing: where runs end."""
    return sorted(number for number in numbers if number + 1 not in numbers)


class _Path:
    """Which timelines can have a segment along a history, and which of them is asked for."""

    def __init__(self, history: TimelineHistory, segment_size: int) -> None:
        self.history = history
        self.spans: list[tuple[int, int, float]] = []  # timeline, first number, last number
        begin = 0
        for switch in history.switches:
            end = (switch.lsn.value - 1) // segment_size if switch.lsn.value else 0
            self.spans.append((switch.parent, begin, end))
            begin = switch.lsn.value // segment_size
        self.spans.append((history.timeline, begin, float("inf")))

    def owners(self, number: int) -> list[int]:
        """Return the timelines that can have the segment, the one asked first in front."""
        return [timeline for timeline, first, last in reversed(self.spans) if first <= number <= last]

    def may_end_with(self, archive: WalArchive, number: int, timeline: int) -> bool:
        """Tell whether recovery may read what there is of an unfinished segment: nothing from after the switch."""
        if not archive.has_partial(number, timeline):
            return False
        left = self.history.end_of(timeline)
        segment = archive.segment(number, timeline)
        if left is None or segment.end(archive.segment_size) <= left:
            return True
        end = archive.partial_ends.get(segment)
        return end is not None and end <= left


def follow(archive: WalArchive, history: TimelineHistory, first: int, until: int | None = None) -> WalChain:
    """Follow a history through the archive from segment number `first`.

    With `until`, a segment number that must be reached, nothing after it is looked at, and missing segments up to it
    are holes; without, the path ends at the newest segment.
    """
    path = _Path(history, archive.segment_size)
    present = _present(archive, path, first, until)
    last = max(present, default=None)
    end = until if until is not None else last
    holes = () if end is None else _holes(archive, path, present, first, end)
    stop = holes[0].first.number(archive.segment_size) if holes else (end + 1 if end is not None else first)
    found = [
        archive.segment(number, timeline)
        for number in range(first, stop)
        for timeline in reversed(path.owners(number))
        if archive.has(number, timeline)
    ]
    partial = _partial_end(archive, path, stop - 1, found) if stop > first else None
    if partial is not None:
        found.append(partial)
    return WalChain(
        history,
        archive.segment(first, path.owners(first)[0]),
        None if last is None else archive.segment(last, path.owners(last)[0]),
        holes,
        tuple(found),
        partial,
    )


def _partial_end(archive: WalArchive, path: _Path, number: int, found: Sequence[WalSegment]) -> WalSegment | None:
    """Return the unfinished segment with which a path ends: that of the timeline that is asked for first.

    A whole copy of the parent's goes along where there is one; a whole copy of a child's is all that is read.
    """
    for timeline in path.owners(number):
        segment = archive.segment(number, timeline)
        if segment in found:
            return None
        if path.may_end_with(archive, number, timeline):
            return segment
    return None


def _present(archive: WalArchive, path: _Path, first: int, until: int | None) -> set[int]:
    """Return the numbers that exist on the path under a name with which recovery can go on."""
    present: set[int] = set()
    limit = float("inf") if until is None else until
    spans = path.spans
    for index, (timeline, begin, end) in enumerate(spans):
        # The segment of the switch counts under the child's name only: the parent's copy stops at the switch.
        stop = end if index == len(spans) - 1 else min(end, spans[index + 1][1] - 1)
        present.update(
            number for number in archive.segments.get(timeline, ()) if max(begin, first) <= number <= min(stop, limit)
        )
    _add_partial(archive, path, present, first, limit)
    _add_last_of_parent(archive, path, present, first, limit)
    return present


def _add_partial(archive: WalArchive, path: _Path, present: set[int], first: int, limit: float) -> None:
    """Count the newest unfinished segment if nothing whole follows it: a path ends with it, or breaks before it."""
    newest = max(present, default=first - 1)
    spans = path.spans
    found = [
        number
        for index, (timeline, begin, end) in enumerate(spans)
        for number in archive.partials.get(timeline, ())
        if max(begin, first, newest + 1) <= number <= min(end, limit)
        # The parent's copy of the segment of a switch comes last of all.
        and (index == len(spans) - 1 or number < spans[index + 1][1])
    ]
    if found:
        present.add(max(found))


def _add_last_of_parent(archive: WalArchive, path: _Path, present: set[int], first: int, limit: float) -> None:
    """Count the parent's copy of a switch segment when nothing of the child is there yet: it ends the path."""
    following = max(present, default=first - 1) + 1
    if following > limit:
        return
    for timeline in path.owners(following):
        if archive.has(following, timeline) or path.may_end_with(archive, following, timeline):
            present.add(following)
            return


def _holes(archive: WalArchive, path: _Path, present: set[int], first: int, end: int) -> tuple[Hole, ...]:
    holes: list[Hole] = []
    previous = first - 1
    for number in [*sorted(present), end + 1]:
        if number > previous + 1 and previous < end:
            missing = previous + 1
            before = archive.segment(previous, path.owners(previous)[0]) if previous >= first else None
            holes.append(Hole(archive.segment(missing, path.owners(missing)[0]), number - missing, before))
        previous = number
    return tuple(holes)


def descendants(archive: WalArchive, timeline: int, end: Lsn) -> list[TimelineHistory]:
    """Return the histories that lead through `timeline` beyond `end`, lowest timeline first, itself included.

    A timeline that left before `end` cannot continue a backup that ended there.
    """
    found = []
    for number in sorted(set(archive.histories) | {timeline}):
        history = archive.histories.get(number)
        if history is None:
            continue
        left = history.end_of(timeline)
        if number == timeline or (left is not None and left >= end):
            found.append(history)
    return found
