"""`replication-status`: who receives WAL from a server, and how far each client is."""

from __future__ import annotations

from barman.errors import MissingPrivilege
from barman.postgres.lsn import Lsn
from barman.typing import TYPE_CHECKING, Any
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from barman.postgres.connection import PostgresConnection

TARGETS = ("all", "hot-standby", "wal-streamer")


@dataclass(frozen=True, slots=True)
class ReplicationClient:
    """One row of pg_stat_replication, with the position of the server to compare with."""

    application_name: str
    user_name: str
    client_addr: str | None
    client_hostname: str | None
    client_port: int | None
    pid: int
    backend_start: datetime
    backend_xmin: str | None
    state: str
    sync_state: str
    sync_priority: int
    slot_name: str | None
    sent_lsn: Lsn | None
    write_lsn: Lsn | None
    flush_lsn: Lsn | None
    replay_lsn: Lsn | None
    server_lsn: Lsn | None = None

    @property
    def is_standby(self) -> bool:
        """Whether the client replays what it receives; others only store it."""
        return self.replay_lsn is not None

    @property
    def title(self) -> str:
        """`#1 Sync standby`, `Async WAL streamer`."""
        priority = f"#{self.sync_priority} " if self.sync_priority and self.sync_priority > 0 else ""
        return f"{priority}{self.sync_state.capitalize()} {'standby' if self.is_standby else 'WAL streamer'}"

    @property
    def communication(self) -> str:
        """How the client is connected."""
        return "TCP/IP" if self.client_addr else "Unix domain socket"

    @property
    def sync_stage(self) -> str:
        """How close to the server the client is, in the words of the interface."""
        last = 5 if self.is_standby else 3
        if self.is_standby and self._lag(self.replay_lsn) == 0:
            return "5/5 Hot standby (max)"
        if self.is_standby and self._lag(self.flush_lsn) == 0:
            return "4/5 2-safe"
        if self._lag(self.write_lsn) == 0:
            return f"3/{last} Remote write"
        if self._lag(self.sent_lsn) == 0:
            return f"2/{last} WAL Sent (min)"
        return f"1/{last} 1-safe"

    def positions(self) -> Iterator[tuple[str, Lsn, int | None]]:
        """Each known position: its name, where it is, and bytes ahead of the server (negative: behind)."""
        for name in ("sent", "write", "flush", "replay"):
            lsn: Lsn | None = getattr(self, f"{name}_lsn")
            if lsn is not None:
                yield name, lsn, self._lag(lsn)

    def _lag(self, lsn: Lsn | None) -> int | None:
        return None if lsn is None or self.server_lsn is None else lsn.value - self.server_lsn.value


@dataclass(frozen=True, slots=True)
class ReplicationStatus:
    """The clients of one server, of the kind that was asked for."""

    server_name: str
    target: str
    server_lsn: Lsn | None
    clients: tuple[ReplicationClient, ...]
    minimal: bool = False


@dataclass(frozen=True, slots=True)
class ReplicationUnknown:
    """A server that cannot be asked: the error says why, and programs find its name with nothing behind it."""

    server_name: str


_COLUMNS = (
    "application_name",
    "usename",
    "client_addr",
    "client_hostname",
    "client_port",
    "pid",
    "backend_start",
    "backend_xmin",
    "state",
    "sync_state",
    "sync_priority",
    "slot_name",
    "sent_lsn",
    "write_lsn",
    "flush_lsn",
    "replay_lsn",
    "server_lsn",
)


def read_replication_status(
    connection: PostgresConnection, server_name: str, *, target: str = "all", minimal: bool = False
) -> ReplicationStatus:
    """Ask the server for its clients: one query.

    Raises:
        CannotConnect: no connection.
        MissingPrivilege: the role sees the clients, and nothing about them.
    """
    rows = connection.query(_sql(old=connection.server_version.number < 100000))
    server_lsn = Lsn.parse(rows[0][-1]) if rows and rows[0][-1] else None
    clients = tuple(_client(dict(zip(_COLUMNS, row, strict=True))) for row in rows if row[_COLUMNS.index("pid")])
    wanted = {"all": (True, False), "hot-standby": (True,), "wal-streamer": (False,)}[target]
    clients = tuple(client for client in clients if client.is_standby in wanted)
    return ReplicationStatus(server_name, target, server_lsn, clients, minimal)


def _sql(*, old: bool) -> str:
    """Every physical client, beside the position of the server, which is there even without clients."""
    suffix = "location" if old else "lsn"
    receive, current = (
        ("pg_last_xlog_receive_location()", "pg_current_xlog_location()")
        if old
        else ("pg_last_wal_receive_lsn()", "pg_current_wal_lsn()")
    )
    positions = ", ".join(f"c.{name}_{suffix}::text" for name in ("sent", "write", "flush", "replay"))
    return (
        "SELECT c.application_name, c.usename::text, host(c.client_addr), c.client_hostname, c.client_port, c.pid,"
        " c.backend_start, c.backend_xmin::text, c.state, c.sync_state, c.sync_priority, c.slot_name::text,"
        f" {positions}, here.lsn::text"
        f" FROM (SELECT CASE WHEN pg_is_in_recovery() THEN {receive} ELSE {current} END AS lsn) here"
        " LEFT JOIN (SELECT r.*, s.slot_name FROM pg_stat_replication r"
        " LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid"
        " WHERE s.slot_type IS NULL OR s.slot_type = 'physical') c ON true"
        " ORDER BY c.sync_state DESC, c.sync_priority, c.pid"
    )


def _client(row: dict[str, Any]) -> ReplicationClient:
    if row["state"] is None and row["sent_lsn"] is None:
        raise MissingPrivilege(
            "the role of the connection may not see the state of replication clients",
            hint="GRANT pg_monitor TO the role of conninfo.",
        )
    lsn = {
        name: Lsn.parse(row[name]) if row[name] else None
        for name in ("sent_lsn", "write_lsn", "flush_lsn", "replay_lsn", "server_lsn")
    }
    return ReplicationClient(
        application_name=row["application_name"],
        user_name=row["usename"],
        client_addr=row["client_addr"],
        client_hostname=row["client_hostname"],
        client_port=row["client_port"],
        pid=row["pid"],
        backend_start=row["backend_start"],
        backend_xmin=row["backend_xmin"],
        state=row["state"],
        sync_state=row["sync_state"],
        sync_priority=row["sync_priority"],
        slot_name=row["slot_name"],
        **lsn,
    )
