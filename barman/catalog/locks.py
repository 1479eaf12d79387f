"""Every lock of the catalog: name, order and wait policy. Names and semantics are the original's, so both exclude
each other.

Locks are taken in the order of `ORDER`, or not at all. The flock is the lock; the pid in the file is information.
"""

import os

from barman.catalog.backup_id import BackupId, is_backup_id
from barman.catalog.layout import Layout
from barman.clock import Deadline
from barman.fs.lock import FileLock, who_holds
from barman.typing import Final
from barman.values import dataclass

ORDER: Final = (
    "config-update",
    "cron",
    "backup",
    "ID",
    "archive-wal",
    "receive-wal",
    "sync-backup",
    "sync-wal",
    "xlogdb",
)
"""The order in which locks may be taken while others are held."""

_SERVER_TASKS: Final = ("receive-wal", "backup", "cron", "archive-wal", "sync-wal")
_SYNC_BACKUP: Final = "-sync-backup"


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A process at work on a server: `pid` is 0 when the lock is held but its file does not say by whom."""

    task: str
    pid: int
    backup_id: BackupId | None = None


def config_update_lock(lock_directory: str, *, wait: bool = False, deadline: Deadline | None = None) -> FileLock:
    """Guards the queue of configuration changes; belongs to no server."""
    return FileLock(os.path.join(lock_directory, ".config-update.lock"), wait=wait, deadline=deadline)


def global_cron_lock(lock_directory: str) -> FileLock:
    """One cron run at a time on the host."""
    return FileLock(os.path.join(lock_directory, ".cron.lock"))


class Locks:
    """The locks of one server, not taken yet: use each as a context manager. LockBusy unless said otherwise."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def cron(self) -> FileLock:
        """One cron run at a time on this server."""
        return self._lock("cron")

    def backup(self) -> FileLock:
        """Changes of the catalog: backup, delete, import."""
        return self._lock("backup")

    def backup_id(self, backup_id: str, *, shared: bool = False) -> FileLock:
        """One backup: exclusive to change or delete it, shared to restore from it."""
        return FileLock(self._layout.lock(backup_id), shared=shared)

    def archive_wal(self, *, wait: bool = False, deadline: Deadline | None = None) -> FileLock:
        """One archiver at a time."""
        return self._lock("archive-wal", wait=wait, deadline=deadline)

    def receive_wal(self) -> FileLock:
        """Held for as long as a receiver lives."""
        return self._lock("receive-wal")

    def sync_backup(self, backup_id: str) -> FileLock:
        """Passive nodes: the copy of one backup."""
        return FileLock(self._layout.lock(backup_id + _SYNC_BACKUP))

    def sync_wal(self, *, wait: bool = True, deadline: Deadline | None = None) -> FileLock:
        """Passive nodes: the copy of WAL. Waits."""
        return self._lock("sync-wal", wait=wait, deadline=deadline)

    def xlogdb(self, *, deadline: Deadline | None = None) -> FileLock:
        """Every read and write of the WAL index. Waits."""
        return self._lock("xlogdb", wait=True, deadline=deadline)

    def holders(self) -> list[LockHolder]:
        """Who is at work on this server now, by task.

        Names are matched whole: a server `a` never sees the processes of a server `a-b`.
        """
        found = [LockHolder(task, pid) for task in _SERVER_TASKS if (pid := self._holder(task)) is not None]
        prefix, suffix = f".{self._layout.server_name}-", f"{_SYNC_BACKUP}.lock"
        for name in self._lock_files():
            middle = name[len(prefix) : -len(suffix)]
            if name == f"{prefix}{middle}{suffix}" and is_backup_id(middle):
                pid = self._holder(middle + _SYNC_BACKUP)
                if pid is not None:
                    found.append(LockHolder("sync-backup", pid, BackupId(middle)))
        return sorted(found, key=lambda holder: (holder.task, holder.backup_id or ""))

    def is_held(self, name: str) -> bool:
        """Whether somebody holds `.S-NAME.lock` exclusively now; a probe, without effect on others."""
        return self._holder(name) is not None

    def _lock(self, name: str, *, wait: bool = False, deadline: Deadline | None = None) -> FileLock:
        return FileLock(self._layout.lock(name), wait=wait, deadline=deadline)

    def _holder(self, name: str) -> int | None:
        return who_holds(self._layout.lock(name))

    def _lock_files(self) -> list[str]:
        try:
            return sorted(os.listdir(self._layout.lock_directory))
        except FileNotFoundError:
            return []
