"""View of `replication-status` (cli reference, sections 4 and 11)."""

from __future__ import annotations

from barman.timestamps import format_timestamp
from barman.typing import TYPE_CHECKING, Any
from barman.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from barman.status.replication import ReplicationClient, ReplicationStatus, ReplicationUnknown

    Write = Callable[[str], None]

_TITLES = {"all": "streaming clients", "hot-standby": "hot standby servers", "wal-streamer": "WAL streamers"}


class ReplicationStatusView:
    """Blocks of facts, one a client; one line a client with `--minimal`."""

    @staticmethod
    def console(result: ReplicationStatus, write: Write) -> None:
        """Write the clients in the order of their priority."""
        if result.minimal:
            _write_minimal(result, write)
        else:
            _write_full(result, write)

    @staticmethod
    def json(result: ReplicationStatus) -> dict[str, Any]:
        """The position of the server and a list of clients."""
        title = _TITLES[result.target]
        item = _minimal_object if result.minimal else _full_object
        found: dict[str, Any] = {title.lower().replace(" ", "_"): [item(client) for client in result.clients]}
        if result.server_lsn is not None:
            found["server_lsn"] = str(result.server_lsn)
        if not result.clients:
            found["standby_info"] = f"No {title} attached"
        return {result.server_name: found}


class ReplicationUnknownView:
    """Nothing for people, who read the error; the key of the server for programs."""

    @staticmethod
    def console(result: ReplicationUnknown, write: Write) -> None:
        """Write nothing."""

    @staticmethod
    def json(result: ReplicationUnknown) -> dict[str, Any]:
        """An empty object under the name of the server."""
        return {result.server_name: {}}


def _write_full(result: ReplicationStatus, write: Write) -> None:
    title = _TITLES[result.target]
    write(f"Status of {title} for server '{result.server_name}':")
    if result.server_lsn is not None:
        write(f"  Current LSN on master: {result.server_lsn}")
    if not result.clients:
        write(f"  No {title} attached")
        return
    write(f"  Number of {title}: {len(result.clients)}")
    for number, client in enumerate(result.clients, 1):
        write("")
        write(f"  {number}. {client.title}")
        for line in _client_lines(client):
            write(f"     {line}")


def _client_lines(client: ReplicationClient) -> Iterator[str]:
    yield f"Application name: {client.application_name}"
    yield f"Sync stage      : {client.sync_stage}"
    yield f"Communication   : {client.communication}"
    if client.client_addr:
        host = client.client_hostname or "-"
        yield f"IP Address      : {client.client_addr} / Port: {client.client_port} / Host: {host}"
    yield f"User name       : {client.user_name}"
    yield f"Current state   : {client.state} ({client.sync_state})"
    if client.slot_name:
        yield f"Replication slot: {client.slot_name}"
    yield f"WAL sender PID  : {client.pid}"
    yield f"Started at      : {format_timestamp(client.backend_start)}"
    if client.backend_xmin:
        yield f"Standby's xmin  : {client.backend_xmin}"
    for name, lsn, diff in client.positions():
        label = f"{name.capitalize()} LSN"
        yield f"{label:<11}: {lsn}" + ("" if diff is None else f" (diff: {format_size(diff)})")


def _full_object(client: ReplicationClient) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": client.title,
        "application_name": client.application_name,
        "sync_stage": client.sync_stage,
        "communication": client.communication,
        "user_name": client.user_name,
        "current_state": client.state,
        "current_sync_state": client.sync_state,
        "wal_sender_pid": client.pid,
        "started_at": format_timestamp(client.backend_start),
    }
    if client.client_addr:
        found |= {"ip_address": client.client_addr, "port": client.client_port, "host": client.client_hostname}
    if client.slot_name:
        found["replication_slot"] = client.slot_name
    if client.backend_xmin:
        found["standbys_xmin"] = client.backend_xmin
    for name, lsn, diff in client.positions():
        found[f"{name}_lsn"] = str(lsn)
        if diff is not None:
            found |= {f"{name}_lsn_diff": format_size(diff), f"{name}_lsn_diff_bytes": diff}
    return found


def _write_minimal(result: ReplicationStatus, write: Write) -> None:
    title = _TITLES[result.target].capitalize()
    if result.server_lsn is None:
        write(f"{title} for slave '{result.server_name}':")
    else:
        write(f"{title} for master '{result.server_name}' (LSN @ {result.server_lsn}):")
    if not result.clients:
        write(f"  No {_TITLES[result.target]} attached")
    for number, client in enumerate(result.clients, 1):
        who = f"{client.user_name}@{client.client_addr or 'socket'}"
        tail = f"P:{client.sync_priority} AN:{client.application_name}"
        if client.is_standby:
            letter = client.sync_state[:1].upper()
            where = f"S:{client.sent_lsn} F:{client.flush_lsn} R:{client.replay_lsn}"
        else:
            letter, where = "W", f"S:{client.sent_lsn} W:{client.write_lsn}"
        write(f"  {number}. {letter}) {who} {where} {tail}")


def _minimal_object(client: ReplicationClient) -> dict[str, Any]:
    found: dict[str, Any] = {
        "user_name": client.user_name,
        "client_addr": client.client_addr or "socket",
        "sent_lsn": _text(client.sent_lsn),
        "sync_priority": client.sync_priority,
        "application_name": client.application_name,
    }
    if client.is_standby:
        found |= {
            "flush_lsn": _text(client.flush_lsn),
            "replay_lsn": _text(client.replay_lsn),
            "sync_state": client.sync_state[:1].upper(),
        }
    else:
        found["write_lsn"] = _text(client.write_lsn)
    return found


def _text(value: object) -> str | None:
    return None if value is None else str(value)
