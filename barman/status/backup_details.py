"""`show-backup`: everything that the catalog knows about one backup."""

from __future__ import annotations

from barman.errors import CatalogError
from barman.status.backups import NOT_ENFORCED, WalUsage, as_listed, retention_words, usage, wal_stats
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog, CatalogView
    from barman.catalog.wal_index import RangeStats
    from barman.config.server_config import ServerConfig
    from barman.wal.recovery_window import Reach


@dataclass(frozen=True, slots=True)
class BackupDetails:
    """`show-backup` of one backup."""

    server_name: str
    info: BackupInfo
    retention: str = NOT_ENFORCED
    required_wals: WalUsage = WalUsage()
    following_wals: WalUsage = WalUsage()
    wals_per_second: float = 0.0
    last_available: str | None = None
    timelines: tuple[int, ...] = ()
    """Timelines that branch off after the end of the backup: it can be restored along each of them."""
    previous_id: str | None = None
    next_id: str | None = None
    root_id: str | None = None
    chain_size: int = 1
    reach: Reach | None = None
    """How far the backup can be recovered; None for one without WAL names in its record."""


def show_backup(config: ServerConfig, catalog: Catalog, info: BackupInfo, view: CatalogView) -> BackupDetails:
    """Everything that the catalog knows about one backup. A damaged history file hides the timeline, no more."""
    word = retention_words(config, catalog, view).get(info.backup_id, NOT_ENFORCED)
    info = as_listed(info, view)
    if not info.is_copy_done:
        return BackupDetails(config.name, info, word)
    done = sorted(backup_id for backup_id, other in view.backups.items() if other.is_copy_done)
    place = done.index(info.backup_id)
    next_id = done[place + 1] if place + 1 < len(done) else None
    required, until_next = wal_stats(catalog.index(), info, view.backups[next_id] if next_id else None)
    chain = _chain(info, view)
    from barman.wal.recoverable import read_windows

    return BackupDetails(
        server_name=config.name,
        info=info,
        retention=word,
        required_wals=usage(required),
        following_wals=usage(until_next),
        wals_per_second=_rate(required, until_next),
        last_available=_last_name(until_next) or _last_name(required),
        timelines=branching_timelines(catalog, info),
        previous_id=done[place - 1] if place else None,
        next_id=next_id,
        root_id=chain[-1] if len(chain) > 1 else None,
        chain_size=len(chain),
        reach=read_windows(catalog, view).reach_of(info.backup_id),
    )


def branching_timelines(catalog: Catalog, info: BackupInfo) -> tuple[int, ...]:
    """Archived timelines whose history leaves the backup's timeline at or after the end of the backup."""
    if info.timeline is None or info.end_xlog is None:
        return ()
    found = []
    for timeline in catalog.wals.history_timelines():
        if timeline <= info.timeline:
            continue
        try:
            history = catalog.wals.history(timeline)
        except CatalogError:
            continue
        end = history.end_of(info.timeline) if history else None
        if end is not None and end >= info.end_xlog:
            found.append(timeline)
    return tuple(sorted(found))


def _last_name(stats: RangeStats | None) -> str | None:
    return stats.last_name if stats and stats.count else None


def _rate(required: RangeStats | None, following: RangeStats | None) -> float:
    """Segments a second from the begin of the backup to the last one before the next backup."""
    found = [stats for stats in (required, following) if stats and stats.count]
    seconds = found[-1].last_time - found[0].first_time if found else 0.0
    return sum(stats.count for stats in found) / seconds if seconds > 0 else 0.0


def _chain(info: BackupInfo, view: CatalogView) -> list[str]:
    """The ids from the backup up to its root; stops where a record is missing."""
    ids = [str(info.backup_id)]
    while info.parent_backup_id and info.parent_backup_id not in ids:
        ids.append(info.parent_backup_id)
        parent = view.backups.get(info.parent_backup_id)
        if parent is None:
            break
        info = parent
    return ids
