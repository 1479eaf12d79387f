"""Which archived WAL nothing needs any more. Pure.

The rule is a set difference: what is archived, without what any remaining backup needs, on any timeline. Nothing is
ever decided by counting files or by looking at neighbours in a list.

- A backup needs its own timeline from its first segment on, and every higher timeline from that position on: one of
  them may descend from it, and history files, which could tell, may be missing or of an earlier life of the server.
- A backup that is kept `standalone` needs the segments from its begin to its end.
- A backup whose needs cannot be told (an unreadable or empty record, a run that did not say yet where it begins) needs
  everything: nothing is removed while it is there.
- FAILED backups and those that are being deleted need nothing, unless they are kept.
- If no backup is left that needs WAL from some point on, the ones that go leave the WAL from their begin on.
- History files are never removed; labels and partial files share the fate of their segment.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.catalog.view import CatalogView
from barman.errors import InvalidWalName
from barman.postgres.wal_name import HistoryName, WalSegment, parse_wal_name
from barman.values import dataclass

_STANDALONE = "standalone"


@dataclass(frozen=True, slots=True)
class Need:
    """Positions from `begin` to `end` (no end: for ever) on the timelines from `lowest` to `highest`."""

    lowest: int
    highest: int | None
    begin: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class WalNeeds:
    """What the remaining backups need. `unknown` says why that cannot be told: then everything is needed."""

    needs: tuple[Need, ...]
    segment_sizes: tuple[int, ...]
    unknown: str | None = None

    def includes(self, name: str) -> bool:
        """Whether the archived file of that name is needed; what is no WAL file is none of our business: True."""
        if self.unknown is not None:
            return True
        try:
            parsed = parse_wal_name(name)
        except InvalidWalName:
            return True
        if isinstance(parsed, HistoryName):
            return True
        segment = parsed.segment
        # One server has one segment size, but may have had another: then each reading of the name is believed.
        starts = [(segment.log << 32) + segment.seg * size for size in self.segment_sizes]
        low, high = min(starts), max(starts)
        return any(
            need.lowest <= segment.timeline
            and (need.highest is None or segment.timeline <= need.highest)
            and need.begin <= high
            and (need.end is None or low <= need.end)
            for need in self.needs
        )

    def first_sure(self, timeline: int) -> str | None:
        """A name from which on everything of a timeline is needed; None if there is no such point.

        What can be removed has smaller names: nobody has to look at the others.
        """
        if self.unknown is not None:
            return f"{timeline:08X}"
        if len(self.segment_sizes) != 1:
            return None
        size = self.segment_sizes[0]
        begins = [need.begin for need in self.needs if need.end is None and need.lowest <= timeline]
        return WalSegment.numbered(min(begins) // size, timeline, size).name if begins else None


def gather_needs(view: CatalogView, gone: Collection[BackupId] = ()) -> WalNeeds:
    """What is needed when the backups `gone` are no more, nor those whose deletion has begun."""
    leaving = (frozenset(gone) | view.deleting) - frozenset(view.keep)
    sizes = tuple(sorted({info.xlog_segment_size for info in view.backups.values()}))
    unreadable = sorted(set(view.corrupt) - leaving)
    if unreadable:
        return WalNeeds((), sizes, f"the record of backup {unreadable[0]} cannot be read")
    needs = []
    for backup_id, info in view.backups.items():
        if backup_id in leaving or (info.status == BackupStatus.FAILED and backup_id not in view.keep):
            continue
        need = need_of(info, view.keep.get(backup_id))
        if need is None and info.status != BackupStatus.FAILED:
            return WalNeeds((), sizes, f"backup {backup_id} ({info.status}) does not tell which WAL it needs")
        if need is not None:
            needs.append(need)
    if not any(need.end is None for need in needs):
        departing = [view.backups[backup_id] for backup_id in sorted(leaving) if backup_id in view.backups]
        frontier = [need for info in departing if (need := need_of(info, None)) is not None]
        if not frontier:
            return WalNeeds((), sizes, "no backup tells from where on WAL is needed")
        needs += frontier
    return WalNeeds(_without_covered(needs), sizes)


def _without_covered(needs: list[Need]) -> tuple[Need, ...]:
    """Leave out what another need includes: of ten thousand backups the oldest one decides, on most servers."""
    begins: dict[int, int] = {}
    for need in needs:
        if need.end is None and need.begin < begins.get(need.lowest, need.begin + 1):
            begins[need.lowest] = need.begin
    found: list[Need] = []
    for lowest, begin in sorted(begins.items()):
        if not any(other.begin <= begin for other in found):
            found.append(Need(lowest, None, begin))
    endless = tuple(found)
    for need in needs:
        if need.end is not None and not any(o.lowest <= need.lowest and o.begin <= need.begin for o in endless):
            found.append(need)
    return tuple(found)


def plan_expiry(archived: Iterable[str], needs: WalNeeds) -> list[str]:
    """The archived files that nothing needs, in the order of names."""
    if needs.unknown is not None:
        return []
    return sorted({name for name in archived if not needs.includes(name)})


def need_of(info: BackupInfo, keep: str | None) -> Need | None:
    """What one backup needs; None if its record does not tell."""
    return _need(info.begin_wal, info.end_wal if keep == _STANDALONE else None, info.xlog_segment_size)


@functools.lru_cache(maxsize=1 << 15)
def _need(begin_wal: str | None, end_wal: str | None, size: int) -> Need | None:
    """From a segment on, or to another one. Remembered: a plan of many deletions asks of each backup before each."""
    begin, end = _segment(begin_wal), _segment(end_wal)
    if begin is None or size <= 0:
        return None
    start = begin.start(size).value
    if end is not None:
        return Need(begin.timeline, max(begin.timeline, end.timeline), start, end.start(size).value)
    return Need(begin.timeline, None, start)


def _segment(name: str | None) -> WalSegment | None:
    try:
        return WalSegment.parse(name) if name else None
    except InvalidWalName:
        return None
