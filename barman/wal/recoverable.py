"""Look at the archive of one server and say what can be recovered. Reads directories; no server.

The one file that is looked at is what a receiver is writing: nothing may have come into it yet.
"""

from __future__ import annotations

from barman import clock
from barman.catalog.backup_info import DEFAULT_SEGMENT_SIZE
from barman.catalog.wal_runs import read_runs
from barman.postgres.wal_name import is_segment_size
from barman.typing import TYPE_CHECKING
from barman.values import replace
from barman.wal.recovery_window import ArchivedWal, RecoveryWindows, find_windows
from barman.wal.unfinished import find_received, find_waiting, why_useless

if TYPE_CHECKING:
    from barman.catalog.catalog import Catalog
    from barman.catalog.view import CatalogView
    from barman.postgres.wal_name import WalSegment


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
    received = find_received(catalog.layout)
    waiting = find_waiting(catalog.layout)
    histories, problems = catalog.wals.histories()
    without_data = frozenset(catalog.backups.find_orphans(view.copy_done))

    def written(segment: WalSegment) -> float | None:
        stored = catalog.wals.find(segment.name)
        return None if stored is None else stored.time

    sizes = sorted({info.xlog_segment_size for info in view.copy_done if is_segment_size(info.xlog_segment_size)})
    archives = []
    for size in sizes or [DEFAULT_SEGMENT_SIZE]:
        system_id = next((i.systemid for i in reversed(view.copy_done) if i.xlog_segment_size == size), None)
        partials = {item.segment: item.written for item in received if why_useless(item, size, system_id) is None}
        runs = read_runs(catalog.layout, size)
        archives.append(ArchivedWal(size, runs, histories, written, waiting, without_data, partials))
    found = find_windows(view, archives, clock.now())
    return replace(found, problems=(*_unreadable(view), *problems))


def _unreadable(view: CatalogView) -> tuple[str, ...]:
    return tuple(
        f"backup {backup_id} is left out: {error.message}" for backup_id, error in sorted(view.corrupt.items())
    )


def _has_come(catalog: Catalog, first: WalSegment, last: WalSegment) -> bool:
    return catalog.wals.exists(first.name) or catalog.wals.exists(last.name)
