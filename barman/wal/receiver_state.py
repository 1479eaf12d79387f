"""What a running receiver was started with: how cron notices that it serves an outdated configuration.

A small file in `meta/`. It may be lost at any time; then a receiver is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os

from barman.fs import durable
from barman.postgres.libpq_files import beside
from barman.typing import TYPE_CHECKING
from barman.values import asdict, dataclass

if TYPE_CHECKING:
    from barman.catalog.layout import Layout
    from barman.config.server_config import ServerConfig


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """A receiver and its child. `program_started` tells a process from a later one that got the same pid."""

    receiver: int
    program: int
    program_started: str
    configuration: str
    synchronous: bool


def fingerprint(config: ServerConfig) -> str:
    """A digest of all configuration that decides how WAL is received; a change of it asks for a restart.

    What libpq reads beside the connection strings belongs to it: passwords and services change in their files.
    """
    relevant = (
        config.conninfo,
        config.streaming_conninfo,
        config.wal_conninfo,
        config.wal_streaming_conninfo,
        config.slot_name,
        config.streaming_archiver_name,
        config.streaming_wals_directory,
        config.path_prefix,
        beside(config.wal_streaming_conninfo or config.streaming_conninfo, os.environ),
    )
    return hashlib.sha256(json.dumps([str(value) for value in relevant]).encode()).hexdigest()


def read_state(layout: Layout) -> ReceiverState | None:
    """The state of the last receiver; None if there is none that can be understood."""
    try:
        with open(layout.receiver_state, encoding="utf-8") as file:
            content = json.load(file)
        return ReceiverState(
            int(content["receiver"]),
            int(content["program"]),
            str(content["program_started"]),
            str(content["configuration"]),
            bool(content["synchronous"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_state(layout: Layout, state: ReceiverState) -> None:
    """Replace the state."""
    durable.write_atomic(layout.receiver_state, json.dumps(asdict(state), sort_keys=True) + "\n", 0o600)


def remove_state(layout: Layout) -> None:
    """Forget the state: the program has ended."""
    durable.remove([layout.receiver_state])


def start_time(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty if none runs, or the kernel does not say."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return "" if fields[0] == b"Z" else fields[19].decode()
    except (OSError, IndexError):
        return ""


def orphan(layout: Layout) -> int | None:
    """The pid of the last receiver's program if it still runs; to be asked by the holder of the receiver's lock."""
    state = read_state(layout)
    if state is None or not state.program_started or start_time(state.program) != state.program_started:
        return None
    return state.program
