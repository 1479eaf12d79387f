"""Which unfinished segments a recovery may end with (ADR 35). Reads only.

Only the last segment of a path may be unfinished: what was received of it is a prefix, and recovery ends there. A
receiver may be writing into it meanwhile; what is read then is at least what was there when it was looked at.
"""

from __future__ import annotations

import os

from barman.compression.codec import decoded
from barman.errors import BarmanError
from barman.postgres.wal_name import PartialSegment, WalSegment
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, replace
from barman.wal.tail import end_of_records
from barman.wal.unfinished import Unfinished, find_received, find_waiting, why_useless

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog
    from barman.catalog.layout import Layout
    from barman.compression.codec import CustomFilters
    from barman.postgres.lsn import Lsn
    from barman.postgres.timeline import TimelineHistory
    from barman.restore.request import RestoreRequest
    from barman.restore.wals import WalArchive


@dataclass(frozen=True, slots=True)
class PartialFacts:
    """An unfinished segment that can be used: `end` is the position after its last whole record, if known.

    `later_paths` are where the segment is, finished, if the receiver finishes it before it is delivered.
    """

    segment: WalSegment
    path: str
    written: float
    end: Lsn | None = None
    later_paths: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return `NAME.partial`."""
        return PartialSegment(self.segment).name


@dataclass(frozen=True, slots=True)
class Queues:
    """What is being received, and which finished segments wait to be archived."""

    received: tuple[Unfinished, ...] = ()
    waiting: frozenset[WalSegment] = frozenset()


def look_at_queues(layout: Layout) -> Queues:
    """Look into the queues: before the archive, so that a segment which moves on meanwhile is seen once at least."""
    received = find_received(layout)
    return Queues(tuple(received), frozenset(find_waiting(layout)))


def wants_partial(request: RestoreRequest) -> bool:
    """Tell whether a restore looks at unfinished segments at all.

    A standby would take one for whole and, without a primary to stream from, not ask again: it gets one on request.
    """
    return (not request.standby_mode if request.partial_wal is None else request.partial_wal) or False


def gather_partials(
    catalog: Catalog,
    archive: WalArchive,
    archived: Iterable[str],
    queues: Queues,
    info: BackupInfo,
    request: RestoreRequest,
) -> tuple[dict[WalSegment, PartialFacts], list[str]]:
    """Return the unfinished segments after the newest finished one of their timeline, and notes about those left out.

    `archived` are names in the archive; what is received wins over them. One that was asked for with `--partial-wal`
    and cannot be used is kept, so that the restore is refused.
    """
    size = info.xlog_segment_size
    layout, custom = catalog.layout, catalog.filters()
    own = info.timeline or 1
    begin = WalSegment.parse(info.begin_wal).number(size) if info.begin_wal else 0
    candidates = {item.name: item for item in _archived(layout, archived)}
    candidates.update((item.name, item) for item in queues.received)
    waiting = queues.waiting
    found: dict[WalSegment, PartialFacts] = {}
    notes = []
    for name, item in sorted(candidates.items()):
        segment, timeline = item.segment, item.segment.timeline
        history, number = archive.histories.get(timeline), segment.number(size)
        if history is None or not history.is_ancestor(own):
            continue
        first = max(_first_missing(history, archive.newest(timeline), size), begin)
        if number < first:
            continue
        reason = why_useless(item, size, info.systemid, custom)
        if reason == "" or (reason is not None and request.partial_wal is None):
            notes += [f"the unfinished segment '{item.path}' is left out: {reason}"] if reason else []
            continue
        missing = [WalSegment.numbered(n, timeline, size) for n in range(first, min(number, first + len(waiting) + 1))]
        if missing and waiting.issuperset(missing):
            if not request.get_wal:
                notes.append(
                    f"the unfinished segment '{name}' is left out: {len(missing)} segments before it, from "
                    f"{missing[0].name} on, wait in the queues and are not archived"
                )
            continue
        later = (os.path.join(layout.streaming_directory, segment.name), layout.wal_path(segment.name))
        end = _end(item, custom) if reason is None else None
        found[segment] = PartialFacts(segment, item.path, item.written, end, later)
    return found, notes


def with_partials(archive: WalArchive, partials: Mapping[WalSegment, PartialFacts]) -> WalArchive:
    """Return the archive with the unfinished segments."""
    numbers: dict[int, set[int]] = {}
    for segment in partials:
        numbers.setdefault(segment.timeline, set()).add(segment.number(archive.segment_size))
    return replace(
        archive,
        partials=numbers,
        partial_ends={segment: item.end for segment, item in partials.items() if item.end is not None},
        times={**archive.times, **{segment: item.written for segment, item in partials.items()}},
    )


def _archived(layout: Layout, names: Iterable[str]) -> Iterable[Unfinished]:
    for name in names:
        path = layout.wal_path(name)
        try:
            yield Unfinished(WalSegment.parse(name[:24]), path, os.stat(path).st_mtime)
        except OSError:
            continue


def _first_missing(history: TimelineHistory, newest: int | None, size: int) -> int:
    """Return the number of the first segment of a timeline that is not archived."""
    if newest is not None:
        return newest + 1
    return history.switches[-1].lsn.value // size if history.switches else 0


def _end(item: Unfinished, custom: CustomFilters | None) -> Lsn | None:
    try:
        with decoded(item.path, custom) as stream:
            return end_of_records(stream, item.segment)
    except (BarmanError, OSError):
        return None
