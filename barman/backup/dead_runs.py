"""Backups whose process is gone: a record that says "running" while nobody runs is a lie that has to end."""

from __future__ import annotations

from barman.backup.record import log_status
from barman.backup.tar_seal import remove_plain_archives
from barman.catalog.backup_info import BackupStatus
from barman.errors import LockBusy
from barman.typing import TYPE_CHECKING
from barman.values import replace

if TYPE_CHECKING:
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog, CatalogView
    from barman.report import Reporter
    from barman.server.server import Server

# What a backup was doing, by the status its record was left in.
_ACTIONS = {
    BackupStatus.EMPTY: "starting backup",
    BackupStatus.STARTED: "copying files",
    BackupStatus.SYNCING: "syncing files",
}


def fail_dead_runs(server: Server, reporter: Reporter, view: CatalogView | None = None) -> list[str]:
    """Mark backups FAILED whose process is gone, and return their ids; takes the server's backup lock if there are any.

    A busy lock means that somebody runs: nothing is done, quietly. Read-only commands do not call this.
    """
    catalog = server.catalog
    view = catalog.snapshot() if view is None else view
    if not any(info.status in _ACTIONS for info in view.backups.values()):
        return []
    holder = _last_holder(catalog.layout.lock("backup"))
    try:
        with catalog.locks.backup():
            return mark_dead_runs(catalog, reporter, holder)
    except LockBusy:
        return []


def mark_dead_runs(catalog: Catalog, reporter: Reporter, holder: int | None = None) -> list[str]:
    """As `fail_dead_runs`, for a caller that holds the backup lock. `holder` is who held it before, if known."""
    failed = []
    for info in catalog.snapshot().backups.values():
        if info.status in (BackupStatus.EMPTY, BackupStatus.STARTED):
            _fail(catalog, info, holder, reporter)
            failed.append(str(info.backup_id))
        elif info.status == BackupStatus.SYNCING and _fail_dead_copy(catalog, info, reporter):
            failed.append(str(info.backup_id))
    return failed


def last_backup_holder(catalog: Catalog) -> int | None:
    """Return the pid that the backup lock was last taken by; to be read before taking it, which overwrites it."""
    return _last_holder(catalog.layout.lock("backup"))


def _fail_dead_copy(catalog: Catalog, info: BackupInfo, reporter: Reporter) -> bool:
    """A copy on a passive node is guarded by a lock of its own."""
    holder = _last_holder(catalog.layout.lock(f"{info.backup_id}-sync-backup"))
    try:
        with catalog.locks.sync_backup(info.backup_id):
            _fail(catalog, info, holder, reporter)
    except LockBusy:
        return False
    return True


def _fail(catalog: Catalog, info: BackupInfo, holder: int | None, reporter: Reporter) -> None:
    who = f"process {holder} is gone" if holder else "its process is gone"
    error = f"failure {_ACTIONS[info.status]} ({who})"
    failed = replace(info, status=BackupStatus.FAILED, error=error)
    if info.encryption is not None:
        # It was killed before everything was encrypted, or while it was.
        remove_plain_archives(catalog.layout.data_directory(info.backup_id))
    catalog.backups.save(failed)
    log_status(failed, info.status)
    reporter.warning(f"Backup {info.backup_id} of server {info.server_name} has been marked as FAILED: {error}")


def _last_holder(path: str) -> int | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return int(file.readline().strip())
    except (OSError, ValueError):
        return None
