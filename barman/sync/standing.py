"""How far a passive node has followed its primary, by what lies on its disk: nobody is asked.

What was missing is known as of the primary's last answer, and looked for here anew: what came since does not count.
Times are those of this host's clock, but for `behind_seconds`, which compares times of the primary with one another.
"""

from __future__ import annotations

import os

from barman import clock
from barman.catalog.backup_info import BackupStatus
from barman.errors import BarmanError
from barman.sync.plan import Action, LocalRules, plan_backups, plan_wals
from barman.sync.state import read_primary, read_record
from barman.typing import TYPE_CHECKING, Final
from barman.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.catalog.catalog import Catalog
    from barman.catalog.layout import Layout
    from barman.catalog.view import CatalogView
    from barman.catalog.wal_file import WalFile
    from barman.config.server_config import ServerConfig
    from barman.sync.state import SyncRecord

_SMALL_ANSWER: Final = 8 << 20
"""A longer answer, that of a first synchronisation, is not read by those that only look: the record has its figures."""


@dataclass(frozen=True, slots=True)
class SyncStanding:
    """Where a passive node stands. Times are seconds of the epoch, None for what never happened or is not known.

    `answered_at` is the last answer of the primary, `wals_at` and `backup_at` the last copies that were complete;
    `error` the newest failure that no success of its step followed. `missing_wals` are files that a backup here needs,
    `missing_backups` those that are to be copied, in that order; `conflicts` say which backups never can be.
    `wals_due_at` and `backups_due_at` are when the oldest of them came into being, by the primary's clock.
    `copying` are the backups, `copying_wals` whether WAL is being copied now. `problem` says why the last answer cannot
    be read.
    """

    answered_at: float | None = None
    wals_at: float | None = None
    backup_at: float | None = None
    error: str = ""
    error_at: float | None = None
    missing_wals: int | None = None
    missing_bytes: int | None = None
    first_missing: str | None = None
    behind_seconds: float | None = None
    wals_due_at: float | None = None
    missing_backups: tuple[str, ...] | None = None
    backups_due_at: float | None = None
    conflicts: tuple[str, ...] = ()
    copying: tuple[str, ...] = ()
    copying_wals: bool = False
    problem: str = ""
    primary_version: str = ""

    @property
    def is_new(self) -> bool:
        """Whether the primary was never asked, with or without success."""
        return self.answered_at is None and not self.error

    @property
    def backups_behind(self) -> int | None:
        """How many backups are to be copied."""
        return None if self.missing_backups is None else len(self.missing_backups)


def read_standing(config: ServerConfig, catalog: Catalog, view: CatalogView) -> SyncStanding:
    """Look at a passive node. What the original left without our record is told by the times of its files."""
    layout = catalog.layout
    record = read_record(layout)
    answered_at = _newest(record.contact_at, _changed(layout.primary_info))
    holders = catalog.locks.holders()
    standing = SyncStanding(
        answered_at=answered_at,
        wals_at=_newest(record.wals_at, _changed(layout.sync_wals_info)),
        backup_at=record.backup_at,
        error=record.error,
        error_at=record.error_at,
        copying=tuple(str(item.backup_id) for item in holders if item.task == "sync-backup"),
        copying_wals=any(item.task == "sync-wal" for item in holders),
        primary_version=record.primary_version,
    )
    if answered_at is None:
        return standing
    if _size(layout) > _SMALL_ANSWER:
        return _by_record(standing, record)
    try:
        return _by_answer(standing, config, catalog, view)
    except BarmanError as error:
        return replace(_by_record(standing, record), problem=error.message)


def local_rules(config: ServerConfig) -> LocalRules | None:
    """Retention of this node, for backups to be copied; None without a policy. Raises ConfigError, ValueError."""
    if not config.retention_policy:
        return None
    from barman.retention.policy import parse
    from barman.retention.tiers import parse_tiers

    tiers = parse_tiers(config.retention_tiers) if config.retention_tiers else ()
    return LocalRules(parse(str(config.retention_policy)), config.minimum_redundancy, clock.now(), tiers)


def _by_record(standing: SyncStanding, record: SyncRecord) -> SyncStanding:
    """What the last contact found missing; nothing more is known of it than the number."""
    caught_up = record.wals_at is not None and record.contact_at is not None and record.wals_at >= record.contact_at
    return replace(
        standing,
        missing_wals=0 if caught_up else record.missing_wals,
        missing_bytes=0 if caught_up else record.missing_wal_bytes,
    )


def _by_answer(standing: SyncStanding, config: ServerConfig, catalog: Catalog, view: CatalogView) -> SyncStanding:
    """What of the last answer is not here now. Raises SyncError."""
    primary = read_primary(catalog.layout, config.name)
    try:
        rules = local_rules(config)
    except (BarmanError, ValueError):
        rules = None  # 'retention policy settings' is the line that tells
    decisions = plan_backups(primary, view, rules)
    # Before the first backup is here no WAL is wanted: there is nothing that could be recovered with it.
    missing = plan_wals(primary, _Archived(catalog), view) if _has_backup(view) else ()
    wanted = [item.backup_id for item in decisions if item.action == Action.COPY]
    ended = [info.end_time.timestamp() for i in wanted if (info := primary.backups[i]).end_time is not None]
    return replace(
        standing,
        missing_wals=len(missing),
        missing_bytes=sum(wal.size for wal in missing),
        first_missing=missing[0].name if missing else None,
        behind_seconds=_behind(missing, catalog),
        wals_due_at=min((wal.time for wal in missing), default=None),
        missing_backups=tuple(map(str, wanted)),
        backups_due_at=min(ended, default=None),
        conflicts=tuple(item.text for item in decisions if item.action in (Action.CONFLICT, Action.PARENT_MISSING)),
        primary_version=standing.primary_version or primary.version,
    )


class _Archived:
    """The names in the archive of this node, asked one by one."""

    def __init__(self, catalog: Catalog) -> None:
        self._wals = catalog.wals

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._wals.exists(name)


def _has_backup(view: CatalogView) -> bool:
    return any(info.status in BackupStatus.COPY_DONE for info in view.backups.values())


def _behind(missing: Sequence[WalFile], catalog: Catalog) -> float:
    """By how much the newest file that is missing is younger than the newest one that is here; the primary's times."""
    if not missing or not os.path.exists(catalog.layout.xlogdb):
        return 0.0
    with catalog.index() as index:
        newest = index.newest
    return 0.0 if newest is None else max(0.0, max(wal.time for wal in missing) - newest.time)


def _newest(*moments: float | None) -> float | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _changed(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def _size(layout: Layout) -> int:
    try:
        return os.stat(layout.primary_info).st_size
    except OSError:
        return 0
