"""`list-backups` and `show-backup`: one server's backups with the WAL that belongs to each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from barman import clock
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.errors import CatalogError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.catalog.backup_id import BackupId
    from barman.catalog.catalog import Catalog, CatalogView
    from barman.catalog.wal_index import RangeStats, WalIndex
    from barman.config.server_config import ServerConfig

NOT_ENFORCED = ""
"""The retention word of a server without a policy."""


@dataclass(frozen=True, slots=True)
class WalUsage:
    """The complete segments of one range of the archive: how many, and their size as stored."""

    count: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class BackupRow:
    """One line of `list-backups`."""

    info: BackupInfo
    required_wals: WalUsage = WalUsage()
    following_wals: WalUsage = WalUsage()
    retention: str = NOT_ENFORCED

    @property
    def size(self) -> int:
        """The backup and the WAL it needs to be consistent."""
        return (self.info.size or 0) + self.required_wals.size


@dataclass(frozen=True, slots=True)
class BackupList:
    """`list-backups` of one server, newest first; `minimal` asks for ids only."""

    server_name: str
    rows: tuple[BackupRow, ...]
    minimal: bool = False
    unreadable: tuple[tuple[str, str], ...] = ()
    """Ids of records that cannot be read, and why."""


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


def list_backups(config: ServerConfig, catalog: Catalog, *, minimal: bool = False) -> BackupList:
    """Every readable backup of the catalog, newest first.

    Sizes come from the index over xlog.db, by binary search: a million archived segments cost the same as ten.
    Unreadable records are told apart, and hide no others.
    """
    view = catalog.snapshot()
    infos = [_as_listed(view.backups[backup_id], view) for backup_id in sorted(view.backups, reverse=True)]
    unreadable = tuple((backup_id, error.message) for backup_id, error in view.corrupt.items())
    if minimal:
        return BackupList(config.name, tuple(BackupRow(info) for info in infos), True, unreadable)
    retention = retention_words(config, view)
    # A server that has no backup yet may not even have directories.
    index = catalog.index() if any(info.is_copy_done for info in infos) else None
    rows: list[BackupRow] = []
    following: BackupInfo | None = None
    for info in infos:
        word = retention.get(info.backup_id, NOT_ENFORCED)
        if index is None or not info.is_copy_done:
            rows.append(BackupRow(info, retention=word))
            continue
        required, until_next = _stats(index, info, following)
        rows.append(BackupRow(info, _usage(required), _usage(until_next), word))
        following = info
    return BackupList(config.name, tuple(rows), False, unreadable)


def _as_listed(info: BackupInfo, view: CatalogView) -> BackupInfo:
    """The backup as users may see it: one whose deletion has begun is no good backup, whatever its record says."""
    if info.backup_id in view.deleting and info.is_copy_done:
        return replace(info, status=BackupStatus.FAILED, error="the deletion of this backup was not finished")
    return info


def show_backup(config: ServerConfig, catalog: Catalog, info: BackupInfo, view: CatalogView) -> BackupDetails:
    """Everything that the catalog knows about one backup. A damaged history file hides the timeline, no more."""
    word = retention_words(config, view).get(info.backup_id, NOT_ENFORCED)
    info = _as_listed(info, view)
    if not info.is_copy_done:
        return BackupDetails(config.name, info, word)
    done = sorted(backup_id for backup_id, other in view.backups.items() if other.is_copy_done)
    place = done.index(info.backup_id)
    next_id = done[place + 1] if place + 1 < len(done) else None
    required, until_next = _stats(catalog.index(), info, view.backups[next_id] if next_id else None)
    chain = _chain(info, view)
    return BackupDetails(
        server_name=config.name,
        info=info,
        retention=word,
        required_wals=_usage(required),
        following_wals=_usage(until_next),
        wals_per_second=_rate(required, until_next),
        last_available=_last_name(until_next) or _last_name(required),
        timelines=branching_timelines(catalog, info),
        previous_id=done[place - 1] if place else None,
        next_id=next_id,
        root_id=chain[-1] if len(chain) > 1 else None,
        chain_size=len(chain),
    )


def retention_words(config: ServerConfig, view: CatalogView) -> Mapping[BackupId, str]:
    """The retention word of every backup; empty when no policy is enforced or it cannot be read."""
    if not config.retention_policy:
        return {}
    from barman.retention.policy import parse
    from barman.retention.report import report

    try:
        policy = parse(str(config.retention_policy))
    except (ConfigError, ValueError):
        return {}
    return dict(report(view, policy, config.minimum_redundancy, clock.now()))


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


def _stats(
    index: WalIndex, info: BackupInfo, following: BackupInfo | None
) -> tuple[RangeStats | None, RangeStats | None]:
    """The segments from begin to end, and those after the end until the end of the next backup, on its own timeline."""
    if not info.begin_wal or not info.end_wal:
        return None, None
    required = index.range_stats(info.begin_wal, info.end_wal)
    until = index.range_stats(info.end_wal, following.end_wal if following else None, after=True)
    return required, until


def _usage(stats: RangeStats | None) -> WalUsage:
    return WalUsage(stats.count, stats.size) if stats else WalUsage()


def _last_name(stats: RangeStats | None) -> str | None:
    return stats.last_name if stats and stats.count else None


def _rate(required: RangeStats | None, following: RangeStats | None) -> float:
    """Segments a second from the begin of the backup to the last one before the next backup."""
    if not required or not following or not following.count:
        return 0.0
    first = required if required.count else following
    seconds = following.last_time - first.first_time
    return (required.count + following.count) / seconds if seconds > 0 else 0.0


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
