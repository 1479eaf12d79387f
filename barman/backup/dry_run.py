"""What a deletion, or the next run of the retention policy, would remove. Reads only.

The plans are those of the real thing, made by the same functions; only the step from one plan to the next happens in
memory. Scripts are not asked: one of them may forbid what is shown here.
"""

from __future__ import annotations

from barman.backup.delete_plan import DeletionPlan, plan_deletion
from barman.backup.expire import read_policy, retention_rules
from barman.backup.retention_plan import plan_tiers, retention_steps, with_tiers, without
from barman.backup.retention_view import retention_view
from barman.errors import CatalogError, ConfigError
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, replace
from barman.wal.expire import gather_needs
from barman.wal.removal import Expiry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barman.catalog.backup_id import BackupId
    from barman.catalog.catalog import Catalog
    from barman.catalog.view import CatalogView
    from barman.server.server import Server


@dataclass(frozen=True, slots=True)
class PlannedDeletion:
    """One deletion: the backups in the order in which they go, and the WAL that goes with them.

    `reason` is why nothing goes; then there is no WAL. `resumed` deletions have begun already.
    """

    target: str
    backup_ids: tuple[str, ...]
    size: int = 0
    wals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reason: str = ""
    resumed: bool = False

    @property
    def goes(self) -> bool:
        """Whether anything is deleted."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would happen to one server, in this order; `notes` say what may stand in the way now."""

    server_name: str
    deletions: tuple[PlannedDeletion, ...] = ()
    notes: tuple[str, ...] = ()


def plan_delete(server: Server, backup_id: BackupId) -> DryRun:
    """What `delete` would do: finish interrupted deletions, then delete the backup with what depends on it."""
    catalog = server.catalog
    simulation = _Simulation(catalog)
    simulation.resume(except_for=backup_id)
    if server.config.minimum_redundancy:
        simulation.judge()
    plan = plan_deletion(simulation.view, backup_id, server.config.minimum_redundancy)
    simulation.carry_out(plan)
    return simulation.result(_busy(server))


def plan_retention(server: Server) -> DryRun:
    """What the next run of `cron` would delete."""
    catalog = server.catalog
    simulation = _Simulation(catalog)
    simulation.resume()
    policy = read_policy(server)
    if policy is None:
        return simulation.result(_busy(server))
    if simulation.view.corrupt:
        found = next(iter(simulation.view.corrupt.values()))
        note = f"retention is suspended, no backup is deleted while a record cannot be read: {found.message}"
        return simulation.result((*_busy(server), note))
    try:
        rules = retention_rules(server, policy)
        simulation.judge()
    except (CatalogError, ConfigError) as error:
        note = f"retention is suspended, no backup is deleted: {error.message}"
        return simulation.result((*_busy(server), note))
    simulation.view = with_tiers(simulation.view, plan_tiers(simulation.view, rules))
    for step in retention_steps(lambda: simulation.view, rules, alone=True):
        blocked = f"{step.blocked_by} depends on it and is not obsolete" if step.blocked_by else ""
        simulation.carry_out(step.plan, blocked)
    return simulation.result(_busy(server))


class _Simulation:
    """A catalog that changes in memory."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.view: CatalogView = catalog.snapshot()
        self._deletions: list[PlannedDeletion] = []
        self._archive = Expiry(catalog)

    def judge(self) -> None:
        """Look which backups can be restored, and what tiers keep. Raises CatalogError."""
        self.view = retention_view(self._catalog, self.view)

    def resume(self, except_for: str = "") -> None:
        """Finish the deletions that were interrupted; the operator's later word, a keep, ends one."""
        for backup_id in sorted(self.view.deleting - {except_for}, reverse=True):
            if backup_id in self.view.keep:
                self.view = replace(self.view, deleting=self.view.deleting - {backup_id})
                continue
            self._delete(DeletionPlan(backup_id, (backup_id,)), resumed=True)

    def carry_out(self, plan: DeletionPlan, blocked: str = "") -> None:
        """Note what the plan does, and do it to the view."""
        if blocked or plan.refusals:
            reason = blocked or "; ".join(plan.refusals)
            self._deletions.append(PlannedDeletion(plan.target, tuple(plan.backups), reason=reason))
            return
        self._delete(plan)

    def result(self, notes: Iterable[str]) -> DryRun:
        """Everything noted."""
        return DryRun(self._catalog.layout.server_name, tuple(self._deletions), tuple(notes))

    def _delete(self, plan: DeletionPlan, *, resumed: bool = False) -> None:
        infos = [self.view.backups.get(backup_id) for backup_id in plan.backups]
        size = sum((info.deduplicated_size or info.size or 0) for info in infos if info is not None)
        self.view = replace(self.view, deleting=self.view.deleting | frozenset(plan.backups))
        wals: list[str] = []
        for backup_id in plan.backups:
            wals += self._archive.take(gather_needs(self.view, [backup_id]))
            self.view = without(self.view, [backup_id])
        self._deletions.append(
            PlannedDeletion(plan.target, tuple(plan.backups), size, tuple(sorted(wals)), plan.warnings, "", resumed)
        )


def _busy(server: Server) -> tuple[str, ...]:
    if server.catalog.locks.is_held("backup"):
        return (f"a backup or a deletion of server {server.name} is running: nothing is deleted before it has ended",)
    return ()
