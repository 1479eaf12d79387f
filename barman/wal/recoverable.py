"""Look at the archive of one server and say what can be recovered. Reads directories; no file, and no server."""

from __future__ import annotations

import os

from barman import clock
from barman.catalog.backup_info import DEFAULT_SEGMENT_SIZE
from barman.catalog.wal_runs import read_runs
from barman.errors import BarmanError
from barman.postgres.timeline import TimelineHistory
from barman.postgres.wal_name import WalSegment, is_segment_name, is_segment_size
from barman.typing import TYPE_CHECKING
from barman.values import replace
from barman.wal.recovery_window import ArchivedWal, RecoveryWindows, find_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.catalog.catalog import Catalog
    from barman.catalog.layout import Layout
    from barman.catalog.view import CatalogView
    from barman.catalog.wal_store import WalStore

_PARTIAL = ".partial"


def read_windows(catalog: Catalog, view: CatalogView) -> RecoveryWindows:
    """From when to when the server can be recovered, now. A damaged history file is a problem that is told."""
    if not view.copy_done:
        return RecoveryWindows(view.server_name, clock.now(), problems=_unreadable(view))
    found = _look(catalog, view)
    if any(_has_come(catalog, gap.first, gap.last) for line in found.lines for gap in line.gaps):
        # Archiving goes on while we look: a directory was listed before a segment came, and the next one after.
        return _look(catalog, view)
    return found


def _look(catalog: Catalog, view: CatalogView) -> RecoveryWindows:
    # In the order in which WAL travels, so that what moves meanwhile is seen once at least.
    waiting = frozenset(_waiting(catalog.layout))
    partials = dict(_partials(catalog.layout))
    histories, problems = _histories(catalog.wals)
    without_data = frozenset(catalog.backups.find_orphans(view.copy_done))

    def written(segment: WalSegment) -> float | None:
        stored = catalog.wals.find(segment.name)
        return None if stored is None else stored.time

    sizes = sorted({info.xlog_segment_size for info in view.copy_done if is_segment_size(info.xlog_segment_size)})
    archives = [
        ArchivedWal(size, read_runs(catalog.layout, size), histories, written, waiting, without_data, partials)
        for size in sizes or [DEFAULT_SEGMENT_SIZE]
    ]
    found = find_windows(view, archives, clock.now())
    return replace(found, problems=(*_unreadable(view), *problems))


def _unreadable(view: CatalogView) -> tuple[str, ...]:
    return tuple(
        f"backup {backup_id} is left out: {error.message}" for backup_id, error in sorted(view.corrupt.items())
    )


def _has_come(catalog: Catalog, first: WalSegment, last: WalSegment) -> bool:
    return catalog.wals.exists(first.name) or catalog.wals.exists(last.name)


def _histories(store: WalStore) -> tuple[dict[int, TimelineHistory], list[str]]:
    histories: dict[int, TimelineHistory] = {1: TimelineHistory(1)}
    problems = []
    for timeline in store.history_timelines():
        try:
            history = store.history(timeline)
        except BarmanError as error:
            problems.append(f"timeline {timeline} is left out: {error.message}")
            continue
        if history is not None:
            histories[timeline] = history
    return histories, problems


def _waiting(layout: Layout) -> Iterator[WalSegment]:
    for directory in (layout.incoming_directory, layout.streaming_directory):
        yield from (WalSegment.parse(name) for name in _listing(directory) if is_segment_name(name))


def _partials(layout: Layout) -> Iterator[tuple[WalSegment, float]]:
    for name in _listing(layout.streaming_directory):
        if name.endswith(_PARTIAL) and is_segment_name(name[: -len(_PARTIAL)]):
            try:
                time = os.stat(os.path.join(layout.streaming_directory, name)).st_mtime
            except OSError:
                continue
            yield WalSegment.parse(name[: -len(_PARTIAL)]), time


def _listing(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
