"""What a deletion would remove, in which order, and why it may not. Pure."""

from __future__ import annotations

from barman.catalog.backup_info import BackupInfo
from barman.catalog.chain import leaves_first
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.catalog.backup_id import BackupId
    from barman.catalog.catalog import CatalogView


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """`backups`: what goes, children before parents, the target last. It may be carried out if `refusals` is empty."""

    target: BackupId
    backups: tuple[BackupId, ...]
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_deletion(
    view: CatalogView, backup_id: BackupId, minimum_redundancy: int, *, by_policy: bool = False
) -> DeletionPlan:
    """Plan the deletion of one backup with everything that depends on it.

    Refused while the backup or one of its incrementals is kept, when fewer than `minimum_redundancy` backups that can
    be restored alone would stay, and while the record of another backup cannot be read: nobody can tell what that one
    needs. A retention policy (`by_policy`) never takes the last good backup either: only an operator may ask for that.
    """
    target = view.backups.get(backup_id) or BackupInfo(backup_id, view.server_name)
    backups = tuple(info.backup_id for info in leaves_first(target, view))
    refusals = [*_unreadable(view, backups), *_kept(view, backups), *_redundancy(view, backup_id, minimum_redundancy)]
    if by_policy and not refusals:
        refusals += _last_good(view, backup_id)
    warnings = []
    if len(backups) > 1:
        warnings.append(
            f"Backup {backup_id} has incremental backups which depend on it. Deleting all backups in the tree"
        )
    return DeletionPlan(backup_id, backups, tuple(refusals), tuple(warnings))


def _skipping(view: CatalogView, backup_id: BackupId, reason: str) -> str:
    return f"Skipping delete of backup {backup_id} for server {view.server_name}: {reason}"


def _unreadable(view: CatalogView, backups: tuple[BackupId, ...]) -> list[str]:
    others = sorted(other for other in view.corrupt if other not in backups)
    if not others:
        return []
    reason = "nothing is deleted while the record of another backup cannot be read, since nobody can tell what it needs"
    return [_skipping(view, backups[-1], f"{reason}: {view.corrupt[others[0]].message}")]


def _kept(view: CatalogView, backups: tuple[BackupId, ...]) -> list[str]:
    release = f"barman keep --release {view.server_name}"
    return [
        _skipping(view, backup_id, f"it is kept ({view.keep[backup_id]}); '{release} {backup_id}' frees it")
        for backup_id in backups
        if backup_id in view.keep
    ]


def _redundancy(view: CatalogView, backup_id: BackupId, required: int) -> list[str]:
    info = view.backups.get(backup_id)
    if not required or info is None or not info.counts_for_redundancy:
        return []
    # By the records, so that an archive which is not there makes nothing free; and by what can be restored.
    present = sum(other.counts_for_redundancy for other in view.backups.values())
    if view.counts(info):
        present = view.redundancy()
    if present > required:
        return []
    return [_skipping(view, backup_id, f"minimum redundancy requires {required} backups, {present} are present")]


def _last_good(view: CatalogView, backup_id: BackupId) -> list[str]:
    info = view.backups.get(backup_id)
    if info is None or not view.counts(info):
        return []
    if any(view.counts(other) for other in view.backups.values() if other is not info):
        return []
    return [_skipping(view, backup_id, "it is the last backup that can be restored")]
