"""Which backups a run of the retention policy deletes, in which order: one loop for the run and for its dry run. Pure.

Each deletion changes what the policy says of the rest: the catalog is judged anew before each step. The run reads it
from disk, the dry run from memory, where `without` has carried out the step before.
"""

from __future__ import annotations

from barman.backup.delete_plan import DeletionPlan, plan_deletion
from barman.catalog.backup_info import BackupStatus
from barman.catalog.view import CatalogView
from barman.retention.report import RetentionStatus, report
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import datetime

    from barman.catalog.backup_id import BackupId
    from barman.catalog.backup_info import BackupInfo
    from barman.retention.policy import RetentionPolicy
    from barman.retention.tiers import Tier

_STANDALONE = "standalone"


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """By what a catalog is judged.

    `find_orphans` names the records that have no data: they are left to the operator.
    """

    policy: RetentionPolicy
    minimum_redundancy: int
    now: datetime
    find_orphans: Callable[[Iterable[BackupInfo]], list[BackupId]]
    tiers: tuple[Tier, ...] = ()

    def report(self, view: CatalogView) -> dict[BackupId, str]:
        """What the policy and the tiers say of every backup."""
        return report(view, self.policy, self.minimum_redundancy, self.now, self.tiers)

    def obsolete(self, view: CatalogView) -> list[BackupId]:
        """What may go by the policy, oldest first; orphans are not among them."""
        found = [i for i, status in self.report(view).items() if status == RetentionStatus.OBSOLETE]
        orphans = frozenset(self.find_orphans(view.backups[i] for i in found))
        return sorted(i for i in found if i not in orphans)


@dataclass(frozen=True, slots=True)
class TierChanges:
    """What tiers begin to keep, and what they keep no more; oldest first."""

    hold: tuple[BackupId, ...] = ()
    release: tuple[BackupId, ...] = ()


def plan_tiers(view: CatalogView, rules: RetentionRules) -> TierChanges:
    """Which keep annotations a run sets and removes before it deletes anything.

    A tier is carried out as `keep --target standalone`: what the policy would delete and a tier wants is kept, with the
    WAL from its begin to its end. An annotation of the operator's is never touched.
    """
    statuses = rules.report(view)
    archived = {
        backup_id
        for backup_id, word in statuses.items()
        if word == RetentionStatus.KEEP_STANDALONE
        and view.backups[backup_id].status == BackupStatus.DONE
        and (backup_id not in view.keep or backup_id in view.tiered)
    }
    return TierChanges(tuple(sorted(archived - view.tiered)), tuple(sorted(view.tiered - archived)))


def with_tiers(view: CatalogView, changes: TierChanges) -> CatalogView:
    """The catalog when these changes are made."""
    kept = {backup_id: target for backup_id, target in view.keep.items() if backup_id not in changes.release}
    kept.update((backup_id, _STANDALONE) for backup_id in changes.hold)
    return replace(view, keep=kept, tiered=(view.tiered | set(changes.hold)) - set(changes.release))


@dataclass(frozen=True, slots=True)
class RetentionStep:
    """One obsolete backup and the plan of its deletion; `blocked_by` depends on it and is not obsolete."""

    backup_id: BackupId
    plan: DeletionPlan
    blocked_by: BackupId | None = None

    @property
    def goes(self) -> bool:
        """Whether the backup is deleted, as far as the catalog tells."""
        return self.blocked_by is None and not self.plan.refusals


def retention_steps(
    read_view: Callable[[], CatalogView], rules: RetentionRules, *, alone: bool = False
) -> Iterator[RetentionStep]:
    """The steps of one run. The caller carries out each step that goes, before it asks for the next one.

    `alone` says that nothing else changes the catalog. Then it is judged once: what goes, oldest first, changes nothing
    for what is newer.
    """
    judged = rules.obsolete(read_view())
    for backup_id in judged:
        view = read_view()
        obsolete = [i for i in judged if i in view.backups] if alone else rules.obsolete(view)
        if backup_id not in obsolete:
            continue
        plan = plan_deletion(view, backup_id, rules.minimum_redundancy, by_policy=True)
        valid = sorted(set(plan.backups) - set(obsolete))
        yield RetentionStep(backup_id, plan, valid[0] if valid else None)


def without(view: CatalogView, gone: Collection[BackupId]) -> CatalogView:
    """The catalog when these backups are deleted."""
    return replace(
        view,
        backups={backup_id: info for backup_id, info in view.backups.items() if backup_id not in gone},
        keep={backup_id: target for backup_id, target in view.keep.items() if backup_id not in gone},
        corrupt={backup_id: error for backup_id, error in view.corrupt.items() if backup_id not in gone},
        deleting=view.deleting - frozenset(gone),
        unrestorable={backup_id: why for backup_id, why in view.unrestorable.items() if backup_id not in gone},
        tiered=view.tiered - frozenset(gone),
    )
