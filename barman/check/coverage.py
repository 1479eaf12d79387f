"""Whether the archive holds everything from a backup to now. Pure: names in, holes out."""

from __future__ import annotations

from barman.postgres.wal_name import WalSegment
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.postgres.timeline import TimelineHistory


@dataclass(frozen=True, slots=True)
class Hole:
    """Missing segments in a row."""

    first: WalSegment
    last: WalSegment
    count: int

    def __str__(self) -> str:
        return self.first.name if self.count == 1 else f"{self.first.name} to {self.last.name} ({self.count} segments)"


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of one timeline that recovery reads; `stop` is the last segment needed, None for as far as there are."""

    start: WalSegment
    stop: WalSegment | None


def path_from(begin: WalSegment, history: TimelineHistory | None, segment_size: int) -> list[Stretch]:
    """The stretches that recovery reads from `begin` on when it follows `history`.

    A segment in which a timeline ends is read from the next one, which starts with a copy of it.
    """
    if history is None or history.timeline == begin.timeline:
        return [Stretch(begin, None)]
    stretches: list[Stretch] = []
    start = begin
    order = [*history.ancestors, history.timeline]
    for timeline, switch in zip(order[1:], history.switches, strict=True):
        if timeline <= begin.timeline:
            continue
        branch = WalSegment.containing(switch.lsn, timeline, segment_size)
        if branch.number(segment_size) > start.number(segment_size):
            stretches.append(Stretch(start, branch.on_timeline(start.timeline).previous(segment_size)))
            start = branch
        else:
            start = start.on_timeline(timeline)
    stretches.append(Stretch(start, None))
    return stretches


def holes(stretches: Sequence[Stretch], archived: Mapping[int, Sequence[str]], segment_size: int) -> list[Hole]:
    """What is missing on the way. `archived` has the sorted names of complete segments of each timeline.

    The last stretch ends with the newest segment there is: what has not been written yet is not missing.
    """
    found: list[Hole] = []
    for stretch in stretches:
        expected = stretch.start.number(segment_size)
        last = None if stretch.stop is None else stretch.stop.number(segment_size)
        for name in archived.get(stretch.start.timeline, ()):
            number = WalSegment.parse(name).number(segment_size)
            if number < expected:
                continue
            if last is not None and number > last:
                break
            if number > expected:
                found.append(_hole(expected, number - 1, stretch.start.timeline, segment_size))
            expected = number + 1
        if last is not None and expected <= last:
            found.append(_hole(expected, last, stretch.start.timeline, segment_size))
    return found


def _hole(first: int, last: int, timeline: int, segment_size: int) -> Hole:
    return Hole(
        WalSegment.numbered(first, timeline, segment_size),
        WalSegment.numbered(last, timeline, segment_size),
        last - first + 1,
    )
