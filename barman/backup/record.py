"""Changes of one backup's record, each durable before the next step of the operation that makes it."""

from __future__ import annotations

from barman.catalog.backup_info import BackupStatus
from barman.clock import Deadline
from barman.errors import Interrupted
from barman.logs import Log
from barman.typing import TYPE_CHECKING, Any
from barman.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.catalog.backup_id import BackupId
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog

_LOG = Log(__name__)
_LOCK_SECONDS = 30.0


class RunningRecord:
    """The record of the backup that this process is taking. `action` is what it is doing, for the failure's text."""

    def __init__(self, catalog: Catalog, info: BackupInfo) -> None:
        self._catalog = catalog
        self.info = info
        self.action = "starting backup"

    @property
    def backup_id(self) -> BackupId:
        """Return the id."""
        return self.info.backup_id

    def change(self, **changes: Any) -> None:
        """Set fields; they become durable with the next `save`."""
        self.info = replace(self.info, **changes)

    def save(self, **changes: Any) -> None:
        """Set fields and make the record durable."""
        before = self.info.status
        self.change(**changes)
        self._catalog.backups.save(self.info)
        log_status(self.info, before)


def change_record(catalog: Catalog, backup_id: BackupId, change: Callable[[BackupInfo], BackupInfo]) -> BackupInfo:
    """Read, change and save a record under the lock of its id, so that no other change of it is lost.

    For the records of *other* backups, such as a parent's; waits half a minute for whoever holds the lock.

    Raises LockBusy, UnknownBackup, CorruptRecord.
    """
    lock = catalog.locks.backup_id(backup_id)
    lock.wait, lock.deadline = True, Deadline(_LOCK_SECONDS)
    with lock:
        info = catalog.backups.read(backup_id)
        changed = change(info)
        if changed != info:
            catalog.backups.save(changed)
            log_status(changed, info.status)
        return changed


def log_status(info: BackupInfo, before: str) -> None:
    """Write the audit line of a change of status."""
    if info.status != before or info.status == BackupStatus.EMPTY:
        reason = f" ({info.error})" if info.error and info.status == BackupStatus.FAILED else ""
        _LOG.info("backup %s of server %s is %s%s", info.backup_id, info.server_name, info.status, reason)


def failure_text(action: str, error: BaseException) -> str:
    """Return what `backup.info` says of a failure: `failure ACTION (FIRST LINE)`."""
    return f"failure {action} ({first_line(error)})"


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, the name of its class if it says nothing."""
    if isinstance(error, Interrupted):
        return f"interrupted by {error.signal_name}"
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
