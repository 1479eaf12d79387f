"""Remove lock files that nobody can want any more.

The original unlinks every lock file that nobody holds at that instant. A process that has opened one and not locked it
yet then holds a lock on a file without a name, while the next process locks a new one: two holders (catalog reference,
D19). There is no safe way to unlink a lock file that somebody may want. So the handful of files that every server has
stays for ever, and only the locks of single backups go, of which there would be more and more: when the backup is gone,
nobody asks for its lock again. They are removed under the server's backup lock, which everybody holds who makes a new
backup id, after an hour of rest.
"""

from __future__ import annotations

import os

from barman.catalog.backup_id import is_backup_id
from barman.clock import timestamp
from barman.errors import BarmanError
from barman.fs import durable
from barman.fs.lock import FileLock
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barman.config.server_config import ServerConfig

REST_SECONDS = 3600.0
_SYNC_BACKUP = "-sync-backup"


def remove_unused_lock_files(configs: Iterable[ServerConfig]) -> list[str]:
    """Remove the lock files of backups that are gone, and return their paths. Busy servers wait for the next time."""
    removed: list[str] = []
    listings: dict[str, list[str]] = {}
    for config in configs:
        directory = config.barman_lock_directory
        if directory not in listings:
            listings[directory] = _listing(directory)
        candidates = _candidates(config, listings[directory])
        if candidates:
            removed += _remove(config, candidates)
    return removed


def _candidates(config: ServerConfig, names: list[str]) -> dict[str, str]:
    """Lock file name → backup id, of this server exactly."""
    prefix = f".{config.name}-"
    found = {}
    for name in names:
        if name.startswith(prefix) and name.endswith(".lock"):
            backup_id = name[len(prefix) : -len(".lock")]
            if not config.passive_node:  # a passive node locks the id of a backup that it does not have yet
                backup_id = backup_id.removesuffix(_SYNC_BACKUP)
            if is_backup_id(backup_id):
                found[name] = backup_id
    return found


def _remove(config: ServerConfig, candidates: dict[str, str]) -> list[str]:
    from barman.catalog.catalog import Catalog

    catalog = Catalog(config.layout())
    rested = timestamp() - REST_SECONDS
    removed = []
    try:
        with catalog.locks.backup():
            known = {*_listing(catalog.layout.meta_directory), *_listing(catalog.layout.basebackups_directory)}
            known = {name.removesuffix("-backup.info") for name in known}
            for name, backup_id in candidates.items():
                path = os.path.join(config.barman_lock_directory, name)
                if backup_id not in known and _is_older(path, rested) and _remove_free(path):
                    removed.append(path)
    except BarmanError:
        pass  # somebody is at work on this server, or its directories cannot be used: not this time
    return removed


def _remove_free(path: str) -> bool:
    try:
        with FileLock(path):
            durable.remove([path])
    except BarmanError:
        return False
    return True


def _is_older(path: str, moment: float) -> bool:
    try:
        return os.stat(path).st_mtime < moment
    except OSError:
        return False


def _listing(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
