"""Look at one server without asking PostgreSQL and without taking a lock: a few directory listings and probes."""

from __future__ import annotations

import os

from barman.catalog.backup_info import BackupStatus
from barman.clock import sleep
from barman.cron.plan import Observation, ReceiverObservation
from barman.fs.lock import who_holds
from barman.postgres.wal_name import is_wal_name
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.catalog.catalog import Catalog
    from barman.config.server_config import ServerConfig

_PROBE_SECONDS = 0.1
_UNFINISHED = (BackupStatus.EMPTY, BackupStatus.STARTED, BackupStatus.SYNCING)


def observe_receiver(config: ServerConfig) -> ReceiverObservation:
    """The receiver of a server, found by its lock."""
    layout = config.layout()
    wanted = bool(config.active and config.streaming_archiver and not config.passive_node)
    pid = who_holds(layout.lock("receive-wal"))
    if not wanted and pid is not None:
        # The original probes locks by taking them: who is gone a moment later was no receiver, and must not be ended.
        sleep(_PROBE_SECONDS)
        return ReceiverObservation(wanted, pid if who_holds(layout.lock("receive-wal")) == pid else None)
    if not pid:
        return ReceiverObservation(wanted, pid)
    from barman.wal.receiver_state import fingerprint, read_state

    state = read_state(layout)
    # A state of another process says nothing about this one, which may be the original's.
    outdated = state is not None and state.receiver == pid and state.configuration != fingerprint(config)
    return ReceiverObservation(wanted, pid, outdated)


def observe(config: ServerConfig, catalog: Catalog) -> Observation:
    """Everything else of a server."""
    records, _ = catalog.backups.list()
    return Observation(
        passive=config.passive_node,
        queued=_queued(config, catalog),
        archiver_busy=catalog.locks.is_held("archive-wal"),
        backup_running=catalog.locks.is_held("backup"),
        waiting=tuple(sorted(i for i, info in records.items() if info.status == BackupStatus.WAITING_FOR_WALS)),
        unfinished=any(info.status in _UNFINISHED for info in records.values()),
        deleting=bool(catalog.backups.find_deleting()[0]),
        retention=bool(config.retention_policy and records),
    )


def _queued(config: ServerConfig, catalog: Catalog) -> int:
    count = 0
    if config.passive_node:
        return count
    if config.streaming_archiver:
        names = _visible_files(config.streaming_wals_directory)
        # The newest file is the one that pg_receivewal writes, or a segment that stays when it is archived.
        newest = max(names, default="")
        stays = newest.endswith(".partial") or (is_wal_name(newest) and catalog.wals.exists(newest))
        count += len(names) - stays
    if config.archiver:
        count += len(_visible_files(config.incoming_wals_directory))
    return count


def _visible_files(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if not name.startswith(".") and not name.endswith(".tmp")]
    except FileNotFoundError:
        return []
