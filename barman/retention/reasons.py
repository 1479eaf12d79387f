"""Why a backup has its word in the retention report. Pure: the words are those of `report`, nothing is judged anew."""

from __future__ import annotations

from barman.catalog.backup_info import BackupStatus
from barman.catalog.chain import find_root
from barman.retention.policy import Redundancy
from barman.retention.report import RetentionStatus, is_ahead
from barman.retention.tiers import wanted
from barman.timestamps import format_ctime
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from barman.catalog.backup_id import BackupId
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.view import CatalogView
    from barman.retention.policy import RecoveryWindow, RetentionPolicy
    from barman.retention.tiers import Tier


def explain(
    view: CatalogView,
    policy: RetentionPolicy | None,
    minimum_redundancy: int,
    now: datetime,
    statuses: Mapping[BackupId, str],
    tiers: Sequence[Tier] = (),
) -> dict[BackupId, str]:
    """One sentence for every readable backup. `statuses` is what `report` says of the same view at the same time."""
    covering = _covering(view, statuses) if policy is not None else {}
    archive = wanted(view, tiers)

    def sentence(info: BackupInfo) -> str:
        if before := _before_policy(info, view):
            return before
        if statuses.get(info.backup_id) == RetentionStatus.KEEP_STANDALONE:
            root = find_root(info, view)
            if root is not info:
                return _fate(root)
            return f"retention_tiers: {archive.get(info.backup_id, 'kept before its WAL was lost')}"
        return _reason(info, view, policy, minimum_redundancy, now, statuses=statuses, covering=covering)

    return {backup_id: sentence(info) for backup_id, info in view.backups.items()}


def _before_policy(info: BackupInfo, view: CatalogView) -> str:
    """What counts more than any policy."""
    if info.backup_id in view.keep and info.backup_id not in view.tiered:
        return f"kept by 'barman keep' ({view.keep[info.backup_id]})"
    return "its deletion has begun" if info.backup_id in view.deleting else ""


def _reason(  # noqa: PLR0913  one sentence depends on all of it
    info: BackupInfo,
    view: CatalogView,
    policy: RetentionPolicy | None,
    minimum: int,
    now: datetime,
    *,
    statuses: Mapping[BackupId, str],
    covering: Mapping[BackupId, BackupInfo | None],
) -> str:
    word = statuses.get(info.backup_id, RetentionStatus.NONE)
    if policy is None:
        return "no retention policy is enforced"
    root = find_root(info, view)
    if root is None:
        return "its chain of incremental backups is broken: no policy applies"
    if word == RetentionStatus.NONE and info.backup_id in view.unrestorable:
        return "it cannot be restored: no policy counts it, and none deletes it before others take its place"
    if root is not info:
        return _fate(root)
    if word == RetentionStatus.NONE:
        return f"{info.status}: no policy applies" + _help(info)
    if word == RetentionStatus.KEEP_FULL:
        return "an incremental backup that depends on it is kept"
    return _by_policy(info, word, policy, minimum, now, covering.get(info.backup_id))


def _by_policy(
    info: BackupInfo,
    word: str,
    policy: RetentionPolicy,
    minimum: int,
    now: datetime,
    covering: BackupInfo | None,
) -> str:
    if word == RetentionStatus.VALID and info.end_time is not None and is_ahead(info, now):
        return f"it ended in the future ({format_ctime(info.end_time)}), by a clock that was wrong: no policy counts it"
    if isinstance(policy, Redundancy):
        return _by_redundancy(word, policy, minimum)
    return _by_window(info, word, policy, minimum, now, covering)


def _help(info: BackupInfo) -> str:
    return f", 'barman delete {info.server_name} {info.backup_id}' removes it" if info.status == "FAILED" else ""


def _by_redundancy(word: str, policy: Redundancy, minimum: int) -> str:
    count = max(policy.count, minimum, 1)
    source = str(policy)
    if count == minimum > policy.count:
        source = f"minimum_redundancy = {minimum}"
    elif count > policy.count:
        source = "the last good backup is never obsolete"
    if word == RetentionStatus.VALID:
        return f"one of the newest {count} that can be restored alone ({source})"
    return f"{count} newer backups can be restored alone ({source})"


def _by_window(
    info: BackupInfo,
    word: str,
    policy: RecoveryWindow,
    minimum: int,
    now: datetime,
    covering: BackupInfo | None,
) -> str:
    start = policy.starts(now)
    if start is None:
        return f"the window ({policy}) has no beginning"
    begins = f"{policy} begins {format_ctime(start.astimezone())}"
    if word == RetentionStatus.POTENTIALLY_OBSOLETE:
        return f"outside the window, held by minimum_redundancy = {minimum} ({begins})"
    if word == RetentionStatus.OBSOLETE:
        instead = f", which {covering.backup_id} covers" if covering is not None else ""
        return f"ended before the window{instead} ({begins})"
    if info.end_time is not None and info.end_time < start:
        return f"needed to recover to the beginning of the window ({begins})"
    return f"ended within the window ({begins})"


def _covering(view: CatalogView, statuses: Mapping[BackupId, str]) -> dict[BackupId, BackupInfo | None]:
    """For each backup the oldest newer one that the policy itself needs: it reaches back to the window's beginning."""
    found: dict[BackupId, BackupInfo | None] = {}
    oldest: BackupInfo | None = None
    for backup_id in sorted(view.backups, reverse=True):
        info = view.backups[backup_id]
        found[backup_id] = oldest
        if (
            info.status == BackupStatus.DONE
            and info.parent_backup_id is None
            and statuses.get(backup_id) == RetentionStatus.VALID
        ):
            oldest = info
    return found


def _fate(root: BackupInfo | None) -> str:
    return f"shares the fate of {'its root' if root is None else root.backup_id}, the full backup of its chain"
