"""Delete backups so that a deletion killed anywhere is finished by the next run, and nothing half-deleted looks good.

Hook scripts are asked first, about every backup and every WAL file that goes: one that forbids leaves no trace. The
order for one backup: the marker `meta/.ID.deleting`; the record says FAILED; the data; the WAL that no other backup
needs; the parent forgets its child; the record; the marker. Each step is durable before the next one begins, each can
be repeated, and as long as the marker is there the rest will be done. Where several backups go, all are marked before
the first loses a byte, and children go before parents: what is not deleted yet can be restored, or is marked.
"""

from __future__ import annotations

import contextlib
import errno

from barman import clock
from barman.backup.dead_runs import last_backup_holder, mark_dead_runs
from barman.backup.delete_plan import DeletionPlan, plan_deletion
from barman.backup.record import change_record, log_status
from barman.catalog.backup_info import BackupInfo, BackupStatus, BackupType
from barman.errors import BackupError, BarmanError, CatalogError, CorruptRecord, LockBusy, UnknownBackup
from barman.fs import durable
from barman.fs.tree import measure
from barman.hooks.hooks import Hooks
from barman.logs import Log
from barman.timestamps import format_ctime
from barman.typing import TYPE_CHECKING
from barman.units import format_age
from barman.values import dataclass, replace
from barman.wal.removal import permit_removal, remove_unneeded_wals
from barman.wal.restorable import judged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from barman.catalog.backup_id import BackupId
    from barman.catalog.catalog import Catalog, CatalogView
    from barman.report import Reporter
    from barman.server.server import Server

_LOG = Log(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_IN_PROGRESS = "the deletion of this backup has begun and is finished by the next run of barman"


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """What a deletion removed, in that order."""

    server_name: str
    backup_ids: tuple[str, ...]


class BackupInUse(BackupError):
    """A restore, a check or an export holds the lock of a backup that should be deleted."""

    def __init__(self, server_name: str, backup_id: str, holder: int | None) -> None:
        who = f" (process {holder})" if holder else ""
        super().__init__(f"Another action is in progress for the backup {backup_id} of server {server_name}{who}")
        self.backup_id = backup_id


def delete_backup(server: Server, backup_id: BackupId, reporter: Reporter) -> DeleteResult:
    """Delete a backup, everything that depends on it, and the WAL that nothing needs any more.

    Takes the server's backup lock and, one after the other, the lock of each backup that goes.

    Raises BackupError when it is refused or fails; the reasons have been reported by then. Raises HookAborted when a
    script forbids it: then nothing has changed.
    """
    catalog = server.catalog
    hooks = Hooks(server, reporter)
    holder = last_backup_holder(catalog)
    try:
        with catalog.locks.backup():
            settle(catalog, reporter, holder, hooks, except_for=backup_id)
            view = catalog.snapshot()
            if server.config.minimum_redundancy:
                # Backups that claim to be good and cannot be restored are no redundancy.
                view = judged(catalog, view)
            plan = plan_deletion(view, backup_id, server.config.minimum_redundancy)
            return carry_out(catalog, plan, reporter, hooks)
    except BackupInUse as error:
        reporter.error(error.message)
        raise cannot_delete(server.name, backup_id) from error
    except LockBusy:
        reporter.error(f"Another process in running on server {server.name}. Impossible to delete the backup.")
        raise cannot_delete(server.name, backup_id) from None


def carry_out(catalog: Catalog, plan: DeletionPlan, reporter: Reporter, hooks: Hooks) -> DeleteResult:
    """Carry out a plan made under the server's backup lock, which the caller still holds.

    Raises BackupError when the plan has refusals (which are reported), BackupInUse when a backup is in use, HookAborted
    when a script forbids it; nothing has changed then.
    """
    server_name = catalog.layout.server_name
    for refusal in plan.refusals:
        reporter.warning(refusal)
    if plan.refusals:
        raise cannot_delete(server_name, plan.target)
    for warning in plan.warnings:
        reporter.warning(warning)
    with _all_locks(catalog, plan):
        # A restore may hold one of the locks until now, and a keep may have come in: look again before the first mark.
        _refuse_kept(catalog, plan)
        told, permitted = _ask_scripts(catalog, plan, hooks)
        if told or permitted:
            # Scripts take their time.
            _refuse_kept(catalog, plan)
        for backup_id in plan.backups:
            catalog.backups.mark_deleting(backup_id)
            _mark_failed(catalog, backup_id)
        for backup_id in plan.backups:
            _remove(catalog, backup_id, reporter, hooks, permitted)
            if backup_id in told:
                hooks.after("delete", told[backup_id])
    return DeleteResult(server_name, tuple(plan.backups))


def resume_deletions(server: Server, reporter: Reporter) -> list[str]:
    """Finish the deletions that a crash interrupted, and return the ids that are gone now.

    Takes the backup lock if there are any; when it is busy they are left to the next run. A marker of the original
    proves nothing, since it is written before a hook may veto: it is left alone.
    """
    catalog = server.catalog
    if not catalog.backups.find_deleting()[0]:
        return []
    holder = last_backup_holder(catalog)
    try:
        with catalog.locks.backup():
            return settle(catalog, reporter, holder, Hooks(server, reporter))
    except LockBusy:
        return []


def settle(
    catalog: Catalog, reporter: Reporter, holder: int | None, hooks: Hooks, *, except_for: str = ""
) -> list[str]:
    """Put right what earlier runs left behind when they died; every change of the catalog begins with this.

    The caller holds the server's backup lock; `holder` is the pid that was in it before, see `last_backup_holder`.
    Sweeps temporaries, fails dead runs, finishes deletions (not that of `except_for`, which is about to be deleted
    anyway), and returns the ids that are gone.
    """
    _sweep(catalog)
    mark_dead_runs(catalog, reporter, holder)
    return _finish_marked(catalog, reporter, hooks, except_for)


def _sweep(catalog: Catalog) -> None:
    """Remove what dead writers of records and markers left, and renew copies of records that they did not come to."""
    layout = catalog.layout
    for directory in (layout.backup_directory, layout.meta_directory):
        durable.sweep_temporaries(directory)
    with catalog.locks.xlogdb():
        durable.sweep_temporaries(layout.xlogdb_directory)
    for backup_id, info in catalog.snapshot().backups.items():
        durable.sweep_temporaries(layout.backup_directory_of(backup_id))
        copy = _content(layout.legacy_backup_info(backup_id))
        if copy is not None and _content(layout.backup_info(backup_id)) not in (None, copy):
            try:
                catalog.backups.save(info)
            except OSError as error:
                # Only a copy, and what follows may be the deletion that makes room.
                _LOG.warning("the copy of the record of backup %s is not renewed: %s", backup_id, error.strerror)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _finish_marked(catalog: Catalog, reporter: Reporter, hooks: Hooks, except_for: str) -> list[str]:
    """Finish deletions that were marked. Their scripts have permitted them before; they are told the end."""
    marked = catalog.backups.find_deleting()[0] - {except_for}
    finished: list[str] = []
    for backup_id in _children_first(catalog.snapshot(), marked):
        if catalog.keep.get(backup_id) is not None:
            # Marked, not yet begun, then kept: the operator's last word counts.
            reporter.warning(f"Backup {backup_id} is kept: its interrupted deletion is given up")
            catalog.backups.clear_deleting(backup_id)
            continue
        reporter.info(f"Resuming the deletion of backup {backup_id} for server {catalog.layout.server_name}")
        try:
            with catalog.locks.backup_id(backup_id):
                told = _variables(catalog, catalog.snapshot(), backup_id) if hooks.present("delete") else None
                _mark_failed(catalog, backup_id)
                _remove(catalog, backup_id, reporter, hooks)
                if told is not None:
                    hooks.after("delete", told)
        except LockBusy:
            reporter.warning(f"Backup {backup_id} is in use: its deletion is left to the next run")
            continue
        except BackupError as error:
            # What the caller has come for, a new backup perhaps, does not depend on it.
            reporter.warning(error.message)
            continue
        finished.append(str(backup_id))
    return finished


def cannot_delete(server_name: str, backup_id: str) -> BackupError:
    """Return the error that ends every refused deletion."""
    return BackupError(f"Cannot delete backup ({server_name} {backup_id})")


def _children_first(view: CatalogView, marked: frozenset[BackupId]) -> list[BackupId]:
    def depth(backup_id: BackupId) -> int:
        levels, info = 0, view.backups.get(backup_id)
        while info is not None and info.parent_backup_id is not None and levels <= len(view.backups):
            levels, info = levels + 1, view.backups.get(info.parent_backup_id)
        return levels

    return sorted(marked, key=lambda backup_id: (-depth(backup_id), backup_id))


@contextlib.contextmanager
def _all_locks(catalog: Catalog, plan: DeletionPlan) -> Iterator[None]:
    """Hold the lock of every backup that goes, so that a tree is deleted whole or not at all."""
    with contextlib.ExitStack() as stack:
        for backup_id in plan.backups:
            try:
                stack.enter_context(catalog.locks.backup_id(backup_id))
            except LockBusy as error:
                raise BackupInUse(catalog.layout.server_name, backup_id, error.holder) from error
        yield


def _refuse_kept(catalog: Catalog, plan: DeletionPlan) -> None:
    kept = catalog.keep.list(plan.backups)
    if kept:
        raise BackupError(f"backup {min(kept)} is kept since a moment ago, nothing was deleted")


def _ask_scripts(
    catalog: Catalog, plan: DeletionPlan, hooks: Hooks
) -> tuple[dict[BackupId, dict[str, str]], list[str]]:
    """Run the scripts before the deletion of every backup and WAL file of the plan.

    Returns what the scripts after it will be told of the backups, as they were, and the WAL that may go.
    """
    view = catalog.snapshot()
    told = {backup_id: _variables(catalog, view, backup_id) for backup_id in plan.backups if hooks.present("delete")}
    for variables in told.values():
        hooks.before("delete", variables)
    return told, permit_removal(catalog, view, plan.backups, hooks)


def _variables(catalog: Catalog, view: CatalogView, backup_id: BackupId) -> dict[str, str]:
    from barman.hooks.environment import backup_variables

    return backup_variables(catalog.layout, view, backup_id)


def _mark_failed(catalog: Catalog, backup_id: BackupId) -> None:
    """From here on nobody takes the backup for a good one, not even the original.

    The marker is durable by now, and enough for every reader of ours: on a full disk, where deleting is the cure, the
    record may stay as it is.
    """
    try:
        info = catalog.backups.read(backup_id)
    except UnknownBackup:
        return  # the record went before the crash
    except CorruptRecord:
        info = BackupInfo(backup_id, catalog.layout.server_name, mode="postgres")
    if info.status == BackupStatus.FAILED:
        return
    failed = replace(info, status=BackupStatus.FAILED, error=_IN_PROGRESS)
    try:
        catalog.backups.save(failed)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _LOG.warning("backup %s is deleted without saying so in its record: %s", backup_id, error.strerror)
        return
    log_status(failed, info.status)


def _remove(
    catalog: Catalog, backup_id: BackupId, reporter: Reporter, hooks: Hooks, permitted: Collection[str] = ()
) -> None:
    """Remove a backup that is marked; the caller holds its lock."""
    server_name = catalog.layout.server_name
    started = clock.now()
    reporter.info(f"Deleting backup {backup_id} for server {server_name}")
    view = catalog.snapshot()
    info = view.backups.get(backup_id)
    try:
        durable.remove_tree(catalog.layout.backup_directory_of(backup_id))
        remove_unneeded_wals(catalog, view, [backup_id], reporter, hooks, permitted)
        if info is not None and info.parent_backup_id is not None and info.parent_backup_id not in view.deleting:
            _forget_child(catalog, info.parent_backup_id, backup_id)
        catalog.backups.remove_record(backup_id)
        catalog.backups.clear_deleting(backup_id)
        _account_again(catalog, view.next(backup_id))
    except OSError as error:
        raise BackupError(
            f"failure deleting backup {backup_id} for server {server_name}: {error}",
            hint="Remove the cause; the deletion is finished by the next run of barman cron or barman delete.",
        ) from error
    _LOG.info("backup %s of server %s is deleted", backup_id, server_name)
    elapsed = format_age(clock.now() - started)
    reporter.info(f"Deleted backup {backup_id} (start time: {format_ctime(started)}, elapsed time: {elapsed})")


def _forget_child(catalog: Catalog, parent_id: BackupId, backup_id: BackupId) -> None:
    def without(parent: BackupInfo) -> BackupInfo:
        left = tuple(child for child in parent.children_backup_ids if child != backup_id)
        return replace(parent, children_backup_ids=left)

    try:
        change_record(catalog, parent_id, without)
    except LockBusy:
        # Held by ourselves when the parent goes as well, or by a restore: the child's own record is what counts.
        _LOG.debug("the record of backup %s is busy, it keeps naming its child %s", parent_id, backup_id)
    except CatalogError as error:
        _LOG.warning("the parent %s of backup %s cannot be updated: %s", parent_id, backup_id, error)


def _account_again(catalog: Catalog, info: BackupInfo | None) -> None:
    """Count a backup anew whose files were hard-linked to the one that went: they are its own now."""
    if info is None or info.backup_type != BackupType.RSYNC:
        return
    sizes = measure(catalog.layout.backup_directory_of(info.backup_id))
    try:
        change_record(
            catalog,
            info.backup_id,
            lambda found: replace(found, deduplicated_size=sizes.deduplicated_size),
        )
    except BarmanError as error:
        _LOG.warning("the size of backup %s cannot be updated: %s", info.backup_id, error)
