"""Timeline histories: which timeline owns which part of the WAL (PostgreSQL manual, "Timelines")."""

from __future__ import annotations

from barman.errors import CorruptRecord
from barman.postgres.lsn import Lsn
from barman.values import dataclass

# A history has one line a timeline switch; anything longer is no history file.
MAX_HISTORY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Switch:
    """Timeline `parent` ended at `lsn`; what follows belongs to the next timeline of the history."""

    parent: int
    lsn: Lsn
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TimelineHistory:
    """The ancestry of one timeline, oldest first; timeline 1 has no file and no switches."""

    timeline: int
    switches: tuple[Switch, ...] = ()

    @classmethod
    def parse(cls, timeline: int, text: str) -> TimelineHistory:
        """Return the history in the text of a file. Raises CorruptRecord for anything malformed or disordered."""
        switches: list[Switch] = []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            fields = line.strip().split(None, 2)
            try:
                parent, lsn = int(fields[0]), Lsn.parse(fields[1])
            except (ValueError, IndexError):
                raise CorruptRecord(f"history of timeline {timeline}, line {number} is not a timeline switch") from None
            if parent >= timeline or parent < 1:
                raise CorruptRecord(
                    f"history of timeline {timeline}, line {number}: timeline {parent} cannot be a parent"
                )
            if switches and (parent <= switches[-1].parent or lsn < switches[-1].lsn):
                raise CorruptRecord(f"history of timeline {timeline}, line {number} is out of order")
            switches.append(Switch(parent, lsn, fields[2] if len(fields) > 2 else ""))
        if not switches:
            raise CorruptRecord(f"history of timeline {timeline} is empty")
        return cls(timeline, tuple(switches))

    @property
    def ancestors(self) -> tuple[int, ...]:
        """Return the timelines before this one, oldest first."""
        return tuple(switch.parent for switch in self.switches)

    def is_ancestor(self, timeline: int) -> bool:
        """Tell whether `timeline` is this one or one of its ancestors."""
        return timeline == self.timeline or timeline in self.ancestors

    def owner_of(self, lsn: Lsn) -> int:
        """Return the timeline that the byte at `lsn` belongs to when this history is followed."""
        for switch in self.switches:
            if lsn < switch.lsn:
                return switch.parent
        return self.timeline

    def end_of(self, timeline: int) -> Lsn | None:
        """Return where an ancestor ended; None for this timeline itself and for strangers."""
        for switch in self.switches:
            if switch.parent == timeline:
                return switch.lsn
        return None
