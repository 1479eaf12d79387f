"""Which backup a restore begins with. Pure."""

from __future__ import annotations

from barman.catalog.backup_id import resolve
from barman.errors import RestoreRefused
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.view import CatalogView
    from barman.postgres.timeline import TimelineHistory
    from barman.restore.target import RecoveryTarget

AUTO = "auto"


def select_backup(
    word: str, view: CatalogView, target: RecoveryTarget, histories: Mapping[int, TimelineHistory]
) -> BackupInfo:
    """Return the backup that an operator named, or the newest one that can serve the target.

    Ancestry counts: a backup of timeline 1 serves a target on timeline 2 when it ended before timeline 2 began.
    Raises UnknownBackup, CatalogError, RestoreRefused.
    """
    if word != AUTO:
        return view.backups[resolve(word, view)]
    _check_searchable(target)
    history = _wanted_history(target, histories)
    candidates = [
        info
        for info in view.copy_done
        if _reaches_back(info, target) and (history is None or is_on_history(info, history))
    ]
    if not candidates:
        raise RestoreRefused(["Cannot find any candidate backup for recovery."])
    return max(candidates, key=lambda info: info.backup_id)


def _check_searchable(target: RecoveryTarget) -> None:
    if target.kind in ("xid", "name", "immediate"):
        raise RestoreRefused(
            [
                "For PITR without a backup_id, the only possible recovery targets are target_time and target_lsn. "
                f"'target_{target.kind}' recovery target is not allowed without a backup_id."
            ]
        )
    if target.timeline == "current":
        raise RestoreRefused(["'current' is not a valid timeline keyword when recovering without a backup_id"])


def _wanted_history(target: RecoveryTarget, histories: Mapping[int, TimelineHistory]) -> TimelineHistory | None:
    if target.timeline is None:
        return None
    if target.timeline == "latest":
        return histories[max(histories)] if histories else None
    number = int(target.timeline)
    if number not in histories:
        raise RestoreRefused([f"timeline {number} does not exist in the WAL archive"])
    return histories[number]


def _reaches_back(info: BackupInfo, target: RecoveryTarget) -> bool:
    """Tell whether the backup ended before the target."""
    if target.time is not None:
        return info.end_time is not None and info.end_time <= target.time
    if target.lsn is not None:
        return info.end_xlog is not None and info.end_xlog <= target.lsn
    return True


def is_on_history(info: BackupInfo, history: TimelineHistory) -> bool:
    """Tell whether a backup lies on a history: on its timeline, or on an ancestor before that was left."""
    if info.timeline is None or not history.is_ancestor(info.timeline):
        return False
    left = history.end_of(info.timeline)
    return left is None or (info.end_xlog is not None and info.end_xlog <= left)
