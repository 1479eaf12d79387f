"""Let WAL flow before the first backup of a streaming server, so that it needs no ritual."""

from __future__ import annotations

import os

from barman.clock import Deadline, sleep
from barman.errors import BarmanError, PostgresError
from barman.logs import Log
from barman.process import barman_argv, is_alive, spawn_detached
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.report import Reporter
    from barman.server.server import Server

_LOG = Log(__name__)
_START_SECONDS = 10.0
_POLL_SECONDS = 0.1


def prepare_streaming(server: Server, reporter: Reporter) -> bool:
    """Start the receiver of a server that should have one and has none; tell whether one runs.

    The receiver creates its slot itself where `create_slot = auto` says so, and is given a few seconds to connect:
    what is written from then on, the backup's WAL among it, is kept for it. Nothing is raised: what does not work
    here is found, and named, by the check before the backup.
    """
    if not server.config.streaming_archiver:
        return False
    locks = server.catalog.locks
    if locks.is_held("receive-wal"):
        return True
    try:
        server.catalog.ensure_directories()
        if not _may_start(server):
            return False
        reporter.info(f"Starting streaming archiver for server {server.name}")
        pid = spawn_detached(barman_argv(server.config.main_file, "receive-wal", server.name))
        return _wait_until_it_receives(server, pid)
    except BarmanError as error:
        _LOG.warning("the receiver of server %s cannot be started: %s", server.name, error.message)
        return False
    finally:
        # What a connection of before has seen is of no use to the check.
        server.close()


def _may_start(server: Server) -> bool:
    """Without its slot, and without leave to create it, a receiver would only fail: the check says what to do."""
    from barman.postgres.facts import fetch_slot

    slot_name = server.config.slot_name
    if not slot_name or server.config.create_slot == "auto":
        return True
    return fetch_slot(server.wal_postgres, slot_name) is not None


def _wait_until_it_receives(server: Server, pid: int) -> bool:
    deadline = Deadline(_START_SECONDS)
    while is_alive(pid) and not deadline.expired:
        if server.catalog.locks.is_held("receive-wal") and _receives(server):
            return True
        sleep(_POLL_SECONDS)
    return server.catalog.locks.is_held("receive-wal")


def _receives(server: Server) -> bool:
    """Whether the receiver has begun: its slot is in use, or the segment it writes is there."""
    from barman.postgres.facts import fetch_slot

    slot_name = server.config.slot_name
    if slot_name:
        try:
            slot = fetch_slot(server.wal_postgres, slot_name)
        except PostgresError:
            return False
        return slot is not None and slot.active and slot.restart_lsn is not None
    try:
        names = os.listdir(server.catalog.layout.streaming_directory)
    except OSError:
        return False
    return any(name.endswith(".partial") for name in names)
