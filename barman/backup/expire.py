"""Apply the retention policy: delete what the report calls OBSOLETE, under the locks of a manual deletion."""

from __future__ import annotations

from barman import clock
from barman.backup.dead_runs import last_backup_holder
from barman.backup.delete import BackupInUse, carry_out, settle
from barman.backup.retention_plan import RetentionRules, plan_tiers, retention_steps
from barman.backup.retention_view import read_tiers, retention_view
from barman.errors import BackupError, CatalogError, ConfigError, HookAborted, LockBusy
from barman.hooks.hooks import Hooks
from barman.logs import Log
from barman.retention.policy import parse
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.catalog.catalog import CatalogView
    from barman.report import Reporter
    from barman.retention.policy import RetentionPolicy
    from barman.server.server import Server

_LOG = Log(__name__)


def apply_retention(server: Server, reporter: Reporter) -> list[str]:
    """Delete the backups that the policy of the server no longer needs, and return their ids.

    Nothing is deleted while a record, the WAL archive or the tiers cannot be read. Kept backups, the last good backup,
    and what minimum redundancy demands stay whatever the report says; records without data are left to the operator. A
    busy server is left to the next run. One backup that cannot be deleted is reported and does not stop the others.
    """
    policy = read_policy(server)
    if policy is None:
        return []
    try:
        rules = retention_rules(server, policy)
        view = retention_view(server.catalog)
    except (CatalogError, ConfigError) as error:
        reporter.warning(f"retention of server {server.name} is suspended, no backup is deleted: {error.message}")
        return []
    _warn_of_orphans(server, view, reporter)
    changes = plan_tiers(view, rules)
    if not (rules.obsolete(view) or view.deleting or changes.hold or changes.release):
        return []
    if view.corrupt:
        found = next(iter(view.corrupt.values()))
        reason = f"no backup is deleted while a record cannot be read: {found.message}"
        reporter.warning(f"retention of server {server.name} is suspended, {reason}")
        return []
    holder = last_backup_holder(server.catalog)
    try:
        with server.catalog.locks.backup():
            hooks = Hooks(server, reporter)
            settle(server.catalog, reporter, holder, hooks)
            _apply_tiers(server, rules, reporter)
            return _delete_obsolete(server, rules, reporter, hooks)
    except CatalogError as error:
        reporter.warning(f"retention of server {server.name} is suspended: {error.message}")
        return []
    except LockBusy as error:
        if error.path != server.catalog.layout.lock("backup"):
            raise
        _LOG.info("retention of server %s is left to the next run: %s", server.name, error.message)
        return []


def read_policy(server: Server) -> RetentionPolicy | None:
    """The policy of a server; None without one, and for one that cannot be read, which enforces nothing."""
    text = server.config.retention_policy
    if not text:
        return None
    try:
        return parse(text)
    except ConfigError as error:
        _LOG.warning("retention of server %s is not enforced: %s", server.name, error.message)
        return None


def retention_rules(server: Server, policy: RetentionPolicy) -> RetentionRules:
    """What the backups of a server are judged by, now. Raises ConfigError for tiers that cannot be read."""
    return RetentionRules(
        policy,
        server.config.minimum_redundancy,
        clock.now(),
        server.catalog.backups.find_orphans,
        read_tiers(server.config),
    )


def _apply_tiers(server: Server, rules: RetentionRules, reporter: Reporter) -> None:
    """Set and remove the keep annotations of the tiers; a backup in use is left to the next run."""
    keep, locks = server.catalog.keep, server.catalog.locks
    changes = plan_tiers(retention_view(server.catalog), rules)
    for backup_id in (*changes.hold, *changes.release):
        try:
            # Not shared, as `keep` takes it: the operator's word comes before or after, and is never undone.
            with locks.backup_id(backup_id):
                if backup_id in changes.hold:
                    keep.hold(backup_id)
                    reporter.info(f"Keeping backup {backup_id} of server {server.name} for its retention tiers")
                elif keep.tiered([backup_id]):
                    keep.release(backup_id)
                    reporter.info(f"Backup {backup_id} of server {server.name} is in no retention tier any more")
        except LockBusy:
            _LOG.info("backup %s of server %s is in use: its tier is left to the next run", backup_id, server.name)


def _delete_obsolete(server: Server, rules: RetentionRules, reporter: Reporter, hooks: Hooks) -> list[str]:
    deleted: list[str] = []
    for step in retention_steps(lambda: retention_view(server.catalog), rules):
        backup_id = step.backup_id
        if step.blocked_by is not None:
            reporter.warning(
                f"Backup {backup_id} is obsolete but {step.blocked_by} depends on it and is not: nothing is removed"
            )
            continue
        reporter.info(f"Enforcing retention policy: removing backup {backup_id} for server {server.name}")
        try:
            deleted += carry_out(server.catalog, step.plan, reporter, hooks).backup_ids
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
