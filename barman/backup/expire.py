"""Apply the retention policy: delete what the report calls OBSOLETE, under the locks of a manual deletion."""

from __future__ import annotations

from barman import clock
from barman.backup.dead_runs import last_backup_holder
from barman.backup.delete import BackupInUse, carry_out, settle
from barman.backup.delete_plan import plan_deletion
from barman.errors import BackupError, ConfigError, HookAborted, LockBusy
from barman.hooks.hooks import Hooks
from barman.logs import Log
from barman.retention.policy import parse
from barman.retention.report import RetentionStatus, report
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.catalog.backup_id import BackupId
    from barman.catalog.catalog import CatalogView
    from barman.report import Reporter
    from barman.retention.policy import RetentionPolicy
    from barman.server.server import Server

_LOG = Log(__name__)


def apply_retention(server: Server, reporter: Reporter) -> list[str]:
    """Delete the backups that the policy of the server no longer needs, and return their ids.

    Nothing is deleted while a record cannot be read. Kept backups, the last good backup, and what minimum redundancy
    demands stay whatever the report says; records without data are left to the operator. A busy server is left to the
    next run. One backup that cannot be deleted is reported and does not stop the others.
    """
    policy = _policy(server)
    if policy is None:
        return []
    view = server.catalog.snapshot()
    _warn_of_orphans(server, view, reporter)
    if not _obsolete(server, view, policy) and not view.deleting:
        return []
    if view.corrupt:
        found = next(iter(view.corrupt.values()))
        reporter.warning(
            f"retention of server {server.name} is suspended, no backup is deleted while a record cannot be read: "
            f"{found.message}"
        )
        return []
    holder = last_backup_holder(server.catalog)
    try:
        with server.catalog.locks.backup():
            hooks = Hooks(server, reporter)
            settle(server.catalog, reporter, holder, hooks)
            return _delete_obsolete(server, policy, reporter, hooks)
    except LockBusy as error:
        if error.path != server.catalog.layout.lock("backup"):
            raise
        _LOG.info("retention of server %s is left to the next run: %s", server.name, error.message)
        return []


def _policy(server: Server) -> RetentionPolicy | None:
    text = server.config.retention_policy
    if not text:
        return None
    try:
        return parse(text)
    except ConfigError as error:
        _LOG.warning("retention of server %s is not enforced: %s", server.name, error.message)
        return None


def _obsolete(server: Server, view: CatalogView, policy: RetentionPolicy) -> list[BackupId]:
    """Return what may go by the policy, oldest first; orphans are not among them."""
    statuses = report(view, policy, server.config.minimum_redundancy, clock.now())
    orphans = frozenset(server.catalog.backups.find_orphans(view.backups.values()))
    return [i for i in sorted(statuses) if statuses[i] == RetentionStatus.OBSOLETE and i not in orphans]


def _delete_obsolete(server: Server, policy: RetentionPolicy, reporter: Reporter, hooks: Hooks) -> list[str]:
    deleted: list[str] = []
    for backup_id in _obsolete(server, server.catalog.snapshot(), policy):
        # Each deletion changes what the policy says of the rest: judge again, by the catalog as it is now.
        view = server.catalog.snapshot()
        obsolete = _obsolete(server, view, policy)
        if backup_id not in obsolete:
            continue
        plan = plan_deletion(view, backup_id, server.config.minimum_redundancy, by_policy=True)
        valid = sorted(set(plan.backups) - set(obsolete))
        if valid:
            reporter.warning(
                f"Backup {backup_id} is obsolete but {valid[0]} depends on it and is not: nothing is removed"
            )
            continue
        reporter.info(f"Enforcing retention policy: removing backup {backup_id} for server {server.name}")
        try:
            deleted += carry_out(server.catalog, plan, reporter, hooks).backup_ids
        except BackupInUse as error:
            reporter.warning(
                f"Another action is in progress for the backup {error.backup_id} of server {server.name}, "
                "skipping retention policy application"
            )
        except HookAborted as abortion:
            reporter.warning(f"Backup {backup_id} is obsolete and stays: {abortion.message}")
        except BackupError as error:
            reporter.error(error.message)
    return deleted


def _warn_of_orphans(server: Server, view: CatalogView, reporter: Reporter) -> None:
    for backup_id in server.catalog.backups.find_orphans(view.backups.values()):
        if backup_id not in view.deleting:
            reporter.warning(
                f"Backup {backup_id} of server {server.name} has a record but no data: it is left alone, "
                f"'barman delete {server.name} {backup_id}' removes it"
            )
