"""Which backups are DONE by their record and cannot be restored by what is on disk: nothing may count on them (P15).

A backup is consistent only with every segment from its begin to its end. The common case costs two lookups in the runs
of archived segments; only where a segment is missing under its own name the histories are asked, for the segment of a
promotion is archived under the child's.
"""

from __future__ import annotations

from barman.catalog.wal_runs import read_runs
from barman.errors import InvalidWalName
from barman.postgres.wal_name import WalSegment, is_segment_size
from barman.postgres.wal_run import run_holding
from barman.typing import TYPE_CHECKING
from barman.values import replace
from barman.wal.recoverable import read_windows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.catalog.backup_id import BackupId
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog
    from barman.catalog.view import CatalogView
    from barman.postgres.wal_run import Runs

Archived = dict[int, "Mapping[int, Runs]"]
"""Runs of archived segments by segment size and timeline."""


def judged(catalog: Catalog, view: CatalogView) -> CatalogView:
    """The view with its `unrestorable` backups.

    Raises CatalogError when the WAL archive cannot be read: what is missing cannot be told from what is not seen.
    """
    if not view.done:
        return view
    sizes = {info.xlog_segment_size for info in view.done if is_segment_size(info.xlog_segment_size)}
    archived: Archived = {size: read_runs(catalog.layout, size, strict=True) for size in sizes}
    orphans = frozenset(catalog.backups.find_orphans(view.done))
    found: dict[BackupId, str] = {}
    holes: dict[BackupId, str] = {}
    for info in view.done:
        if info.backup_id in view.deleting:
            found[info.backup_id] = "its deletion has begun"
        elif info.backup_id in orphans:
            found[info.backup_id] = "its data are gone"
        elif hole := _hole(info, archived):
            holes[info.backup_id] = hole
    if holes:
        lines = read_windows(catalog, view).lines
        led = {reach.backup_id for line in lines for reach in line.backups if reach.restorable}
        found.update((backup_id, reason) for backup_id, reason in holes.items() if backup_id not in led)
    return replace(view, unrestorable=found)


def _hole(info: BackupInfo, archived: Archived) -> str:
    """Why the WAL of a backup is not whole, looking at the names that its record has."""
    size = info.xlog_segment_size
    try:
        begin, end = WalSegment.parse(info.begin_wal or ""), WalSegment.parse(info.end_wal or "")
    except InvalidWalName:
        return "its record does not say which WAL it needs"
    if size not in archived:
        return f"its record has an impossible WAL segment size ({size})"
    if begin.timeline != end.timeline:
        return f"it begins on another timeline ({begin.name}) than it ends ({end.name})"
    first, last = begin.number(size), end.number(size)
    run = run_holding(archived[size].get(begin.timeline, ()), first)
    if run is not None and last <= run[1]:
        return ""
    missing = WalSegment.numbered(first if run is None else run[1] + 1, begin.timeline, size)
    return f"WAL segment {missing.name}, without which it is not consistent, is missing"
