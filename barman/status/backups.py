"""`list-backups` and `show-backup`: one server's backups with the WAL that belongs to each."""

from __future__ import annotations

from barman import clock
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.errors import CatalogError, ConfigError
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, replace

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


def list_backups(config: ServerConfig, catalog: Catalog, *, minimal: bool = False) -> BackupList:
    """Every readable backup of the catalog, newest first.

    Sizes come from the index over xlog.db, by binary search: a million archived segments cost the same as ten.
    Unreadable records are told apart, and hide no others.
    """
    view = catalog.snapshot()
    infos = [as_listed(view.backups[backup_id], view) for backup_id in sorted(view.backups, reverse=True)]
    unreadable = tuple((backup_id, error.message) for backup_id, error in view.corrupt.items())
    if minimal:
        return BackupList(config.name, tuple(BackupRow(info) for info in infos), True, unreadable)
    retention = retention_words(config, catalog, view)
    # A server that has no backup yet may not even have directories.
    index = catalog.index() if any(info.is_copy_done for info in infos) else None
    rows: list[BackupRow] = []
    following: BackupInfo | None = None
    for info in infos:
        word = retention.get(info.backup_id, NOT_ENFORCED)
        if index is None or not info.is_copy_done:
            rows.append(BackupRow(info, retention=word))
            continue
        required, until_next = wal_stats(index, info, following)
        rows.append(BackupRow(info, usage(required), usage(until_next), word))
        following = info
    return BackupList(config.name, tuple(rows), False, unreadable)


def as_listed(info: BackupInfo, view: CatalogView) -> BackupInfo:
    """The backup as users may see it: one whose deletion has begun is no good backup, whatever its record says."""
    if info.backup_id in view.deleting and info.is_copy_done:
        return replace(info, status=BackupStatus.FAILED, error="the deletion of this backup was not finished")
    return info


def retention_words(config: ServerConfig, catalog: Catalog, view: CatalogView) -> Mapping[BackupId, str]:
    """The retention word of every backup; empty when no policy is enforced or it cannot be read."""
    if not config.retention_policy:
        return {}
    from barman.backup.retention_view import read_tiers, retention_view
    from barman.retention.policy import parse
    from barman.retention.report import RetentionStatus, report

    try:
        policy = parse(str(config.retention_policy))
    except (ConfigError, ValueError):
        return {}
    try:
        view, tiers = retention_view(catalog, view), read_tiers(config)
    except (CatalogError, ConfigError):
        # Retention is suspended: nothing is obsolete, and nothing is known to be enough.
        return dict.fromkeys(view.backups, RetentionStatus.NONE)
    return dict(report(view, policy, config.minimum_redundancy, clock.now(), tiers))


def wal_stats(
    index: WalIndex, info: BackupInfo, following: BackupInfo | None
) -> tuple[RangeStats | None, RangeStats | None]:
    """The segments from begin to end, and those after the end until the end of the next backup, on its own timeline."""
    if not info.begin_wal or not info.end_wal:
        return None, None
    required = index.range_stats(info.begin_wal, info.end_wal)
    until = index.range_stats(info.end_wal, following.end_wal if following else None, after=True)
    return required, until


def usage(stats: RangeStats | None) -> WalUsage:
    """Number and size of a range."""
    return WalUsage(stats.count, stats.size) if stats else WalUsage()
