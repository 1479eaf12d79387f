"""Which archived segments lie on the way of a recovery along one timeline history, in runs. Pure.

The rule is that of a restore: PostgreSQL reads each segment from the newest timeline of the history that can have it
(`XLogFileReadAnyTLI` in `xlogrecovery.c`). The segment in which a timeline was left exists under two names, and what
follows it is reached through the child's copy only; the parent's copy counts where nothing of the child is there yet.
Segments are numbered from position 0, so that numbers compare across timelines.
"""

from __future__ import annotations

from barman.postgres.lsn import Lsn
from barman.postgres.wal_name import WalSegment
from barman.postgres.wal_run import join_runs, run_holding
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from barman.postgres.timeline import TimelineHistory
    from barman.postgres.wal_run import Run, Runs


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a timeline that recovery reads: `last` is None on the newest one. `wins` is the last number that
    counts under this timeline's name whatever else is there.
    """

    timeline: int
    first: int
    last: int | None
    wins: int | None

    def holds(self, number: int) -> bool:
        """Whether the timeline can have the segment."""
        return self.first <= number and (self.last is None or number <= self.last)


def leads_from(history: TimelineHistory, timeline: int, end: Lsn) -> bool:
    """Whether a history continues a backup on `timeline` that ended at `end`."""
    left = history.end_of(timeline)
    return timeline == history.timeline or (left is not None and left >= end)


class RecoveryPath:
    """The archive as one history sees it."""

    def __init__(
        self, history: TimelineHistory, runs: Mapping[int, Runs], segment_size: int, begins: Iterable[int] = ()
    ) -> None:
        """`begins` are the segments in which recoveries along this path may begin."""
        self.history = history
        self.segment_size = segment_size
        self._runs = runs
        self._spans = _spans(history, segment_size)
        self._through = self._join()
        after = self._through[-1][1] + 1 if self._through else 0
        ends = {after, *(number for number in begins if number > after)}
        # A parent's copy ends the path of whoever gets to it, unless there is WAL after it.
        self._ends = frozenset(number for number in ends if self._is_anywhere(number))

    @property
    def newest(self) -> int | None:
        """The greatest number that is there."""
        return max([*self._ends, *(last for _, last in self._through[-1:])], default=None)

    def segment(self, number: int) -> WalSegment:
        """The segment of that number, by the name that is asked for first."""
        return WalSegment.numbered(number, self._owners(number)[0], self.segment_size)

    def archived(self, number: int) -> WalSegment:
        """The segment of that number, by the name under which it is archived; the name asked for first if it is not."""
        held = next((timeline for timeline in self._owners(number) if self._holds(timeline, number)), None)
        return self.segment(number) if held is None else WalSegment.numbered(number, held, self.segment_size)

    def end_of(self, number: int) -> Lsn:
        """The position up to which recovery gets with that segment: its end, or where its timeline was left."""
        end = self.segment(number).end(self.segment_size)
        held = self.archived(number)
        left = self.history.end_of(held.timeline)
        return end if left is None else min(end, left)

    def reach(self, first: int) -> int | None:
        """The last segment that can be replayed from `first` on; None when `first` itself is not there."""
        run = run_holding(self._through, first)
        if run is None:
            return first if first in self._ends else None
        return run[1] + 1 if run[1] + 1 in self._ends else run[1]

    def missing(self, first: int, last: int) -> Iterator[Run]:
        """The holes between two numbers, both included."""
        expected = first
        for begin, end in join_runs([*self._through, *((number, number) for number in self._ends)]):
            if end < expected:
                continue
            if begin > last:
                break
            if begin > expected:
                yield expected, begin - 1
            expected = end + 1
        if expected <= last:
            yield expected, last

    def _join(self) -> Runs:
        """What can be replayed to its end: the way goes on after it."""
        clipped = [
            (max(first, span.first), last if span.wins is None else min(last, span.wins))
            for span in self._spans
            for first, last in self._runs.get(span.timeline, ())
            if last >= span.first and (span.wins is None or first <= span.wins)
        ]
        return join_runs(run for run in clipped if run[0] <= run[1])

    def _owners(self, number: int) -> list[int]:
        return [span.timeline for span in reversed(self._spans) if span.holds(number)]

    def _is_anywhere(self, number: int) -> bool:
        return any(self._holds(timeline, number) for timeline in self._owners(number))

    def _holds(self, timeline: int, number: int) -> bool:
        return run_holding(self._runs.get(timeline, ()), number) is not None


def _spans(history: TimelineHistory, segment_size: int) -> list[Span]:
    spans = []
    begin = 0
    for switch in history.switches:
        end = (switch.lsn.value - 1) // segment_size if switch.lsn.value else 0
        branch = switch.lsn.value // segment_size
        # The segment of the switch counts under the child's name only: the parent's copy stops at the switch.
        spans.append(Span(switch.parent, begin, end, min(end, branch - 1)))
        begin = branch
    spans.append(Span(history.timeline, begin, None, None))
    return spans
