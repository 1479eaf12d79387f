"""A SQL connection to PostgreSQL, opened when it is first used.

psycopg2 costs 20 ms to import, so a command that does not talk to PostgreSQL must not import this module.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from barman.clock import Deadline
from barman.errors import CannotConnect, MissingPrivilege, PostgresError
from barman.logs import redact
from barman.postgres import conninfo as dsn
from barman.postgres.driver import extensions, psycopg2
from barman.postgres.version import PgVersion
from barman.typing import Any

CONNECT_TIMEOUT = 10
"""Seconds that opening a connection may take when neither the DSN nor the environment says otherwise."""

_HANG_UP: int = getattr(select, "POLLRDHUP", 0)  # Linux: the other side has closed its half
_UNDEFINED_OBJECT = ("42883", "42P01")

# A peer that vanished without a word is noticed within about two minutes instead of the kernel's two hours.
_KEEPALIVE_PARAMETERS = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "6"}

# First match wins: the text that libpq or the server sends, and what the operator can do about it.
_CONNECTION_HINTS = (
    ("no pg_hba.conf entry", "Add a line for this user and address to pg_hba.conf and reload PostgreSQL."),
    (
        "password authentication failed",
        "Check the password in ~/.pgpass of the operating system user that runs barman.",
    ),
    ("no password supplied", "Put the password into ~/.pgpass of the operating system user that runs barman."),
    ("authentication failed", "Check pg_hba.conf on the server and the credentials of this user."),
    ("must be superuser or replication role", "Give the role the REPLICATION attribute: ALTER ROLE ... REPLICATION."),
    ("permission denied to start wal sender", "Give the role the REPLICATION attribute: ALTER ROLE ... REPLICATION."),
    ("number of requested standby connections", "Raise max_wal_senders on the server."),
    ("remaining connection slots", "Raise max_connections on the server, or close connections."),
    ("too many clients", "Raise max_connections on the server, or close connections."),
    ("could not translate host name", "Check the host name in the connection string and the name resolution."),
    (
        "hot standby mode is disabled",
        "Set hot_standby = on there and restart: a standby that answers is needed.",
    ),
    ("recovery state has not been yet reached", "Wait until the standby has replayed enough WAL to be consistent."),
    ("session is read-only", "No host of the connection string is a primary now, as target_session_attrs asks."),
    ("session is not read-only", "No host of the connection string is a standby now, as target_session_attrs asks."),
    ("server is in hot standby mode", "No host of the connection string is a primary, as target_session_attrs asks."),
    (
        "server is not in hot standby mode",
        "No host is a standby, as target_session_attrs asks.",
    ),
    (
        'pg_is_in_recovery()" failed',
        "Before PostgreSQL 14 a replication connection can only be asked for target_session_attrs=read-write or any.",
    ),
    ("is starting up", "Wait until PostgreSQL has started."),
    ("is shutting down", "PostgreSQL is being stopped; start it again."),
    ("does not exist", "Check user and dbname in the connection string."),
    ("timeout expired", "Check that the host is up and that no firewall drops the connection."),
    ("connection refused", "Check that PostgreSQL runs there and listens on that address and port."),
    ("no such file or directory", "Check that PostgreSQL runs, and its unix_socket_directories."),
)


def first_line(text: str) -> str:
    """The first non-empty line of a server or libpq message, without the severity and any password."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    line = lines[0] if lines else "no message from the server"
    for prefix in ("ERROR:", "FATAL:"):
        line = line.removeprefix(prefix).strip()
    return redact(line)


def connection_failures(text: str) -> str:
    """What libpq says of a connection that failed: the first line, and its detail, for each host that it tried."""
    lines = [redact(line.strip()) for line in text.strip().splitlines()]
    found: list[str] = []
    for line in lines:
        if line.startswith("connection to server "):
            found.append(line)
        elif line.startswith("DETAIL:") and found:
            found[-1] += f" ({line.removeprefix('DETAIL:').strip()})"
    return "; ".join(found) if found else first_line(text)


def hint_for(text: str) -> str:
    """What to do about a failed connection, from the text of the failure; empty if nothing is known."""
    lowered = text.lower()
    return next((hint for needle, hint in _CONNECTION_HINTS if needle in lowered), "")


class BaseConnection:
    """What a SQL and a replication connection have in common: opening, liveness, errors, closing.

    An idle connection that the server has closed is noticed without a round trip, by looking at the socket before
    it is used again, and opened anew unless `hold` forbids it. Nothing is ever sent twice.
    One thread at a time: every statement takes the connection's lock, so that a keepalive may run beside the owner.
    """

    def __init__(self, parameters: dict[str, str], *, connect_timeout: float | None = None) -> None:
        self._parameters = parameters
        self._connect_timeout = connect_timeout
        self._connection: extensions.connection | None = None
        self._held = 0
        self._lock = threading.RLock()

    @property
    def target(self) -> str:
        """Where this connection leads, for messages: host, port and user, never a password."""
        parameters = self._parameters
        if "service" in parameters:
            return f"service '{parameters['service']}'"
        host = parameters.get("host") or parameters.get("hostaddr") or os.environ.get("PGHOST") or "local socket"
        port = parameters.get("port") or os.environ.get("PGPORT") or "5432"
        user = parameters.get("user") or os.environ.get("PGUSER")
        return f"host '{host}', port {port}" + (f", user '{user}'" if user else "")

    @property
    def server_version(self) -> PgVersion:
        """The server's version, as it told when the connection was opened."""
        with self._lock:
            return PgVersion(self._open().server_version)

    @property
    def is_open(self) -> bool:
        """Whether a connection is open, as far as this side knows."""
        return self._connection is not None and not self._connection.closed

    def connect(self) -> None:
        """Open the connection now.

        Raises:
            CannotConnect: with the server's words and a hint.
        """
        with self._lock:
            self._open()

    def close(self) -> None:
        """Close the connection; it is opened again at the next use."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and not connection.closed:
                connection.close()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep to one server session: while held, a lost connection is an error and never replaced by a new one."""
        self.connect()
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def _open(self) -> extensions.connection:
        connection = self._connection
        if connection is not None and _is_alive(connection):
            return connection
        if self._held:
            raise self._lost("connection lost, reconnection not allowed")
        self.close()
        try:
            connection = psycopg2.connect(dsn.format_conninfo(self._bounded_parameters()))
        except psycopg2.Error as error:
            raise self._cannot_connect(error) from error
        connection.autocommit = True
        self._connection = connection
        try:
            self._prepare(connection)
        except psycopg2.Error as error:
            self.close()
            raise self._cannot_connect(error) from error
        return connection

    def _prepare(self, connection: extensions.connection) -> None:
        """Set the session up; called once for each new connection."""

    def _bounded_parameters(self) -> dict[str, str]:
        """The parameters plus what bounds waiting: a connect timeout and TCP keepalives, unless the user set them."""
        parameters = dict(self._parameters)
        if self._connect_timeout is not None:
            # libpq reads 0 as "for ever" and rounds 1 up to 2.
            parameters["connect_timeout"] = str(max(2, int(self._connect_timeout)))
        elif "PGCONNECT_TIMEOUT" not in os.environ:
            parameters.setdefault("connect_timeout", str(CONNECT_TIMEOUT))
        for name, value in _KEEPALIVE_PARAMETERS.items():
            parameters.setdefault(name, value)
        return parameters

    def _run(self, sql: str, params: Sequence[Any] | None) -> list[tuple[Any, ...]]:
        with self._lock:
            connection = self._open()
            try:
                with connection.cursor() as cursor:
                    cursor.execute(sql, params or None)
                    return cursor.fetchall() if cursor.description else []
            except psycopg2.Error as error:
                raise self._translate(error, connection) from error

    def _translate(self, error: psycopg2.Error, connection: extensions.connection) -> PostgresError:
        text = first_line(str(error))
        if connection.closed or isinstance(error, psycopg2.InterfaceError):
            return self._lost(f"connection lost: {text}")
        if error.pgcode == "42501":
            return MissingPrivilege(f"{text} ({self.target})", hint="Grant the role the privileges that barman needs.")
        if error.pgcode == "57014":
            return PostgresError(f"statement cancelled: {text} ({self.target})")
        hint = "The server may be older than this program expects." if error.pgcode in _UNDEFINED_OBJECT else ""
        return PostgresError(f"{text} ({self.target})", hint=hint)

    def _lost(self, what: str) -> CannotConnect:
        return CannotConnect(f"{what} ({self.target})", hint="Look into the PostgreSQL log for the reason.")

    def _cannot_connect(self, error: psycopg2.Error) -> CannotConnect:
        text = str(error)
        return CannotConnect(
            f"cannot connect to PostgreSQL ({self.target}): {connection_failures(text)}", hint=hint_for(text)
        )


def _is_alive(connection: extensions.connection) -> bool:
    """Whether an idle connection still stands, without a round trip.

    The socket of an idle connection is readable only when the server has said something by itself: a notice, which
    libpq reads, or good-bye, which comes with the end of the stream.
    """
    if connection.closed:
        return False
    try:
        poller = select.poll()  # select.select() cannot look at descriptors above 1023
        poller.register(connection.fileno(), select.POLLIN | _HANG_UP)
        for _ in range(3):
            events = poller.poll(0)
            if not events:
                return True
            if events[0][1] & (_HANG_UP | select.POLLHUP | select.POLLERR):
                return False
            connection.poll()
    except (psycopg2.Error, OSError, ValueError):
        return False
    return False  # something that cannot be read away: a new connection costs less than a lost statement


class PostgresConnection(BaseConnection):
    """A SQL session in autocommit mode, with a fixed search_path.

    Args:
        conninfo: any libpq string, keywords or URI.
        application_name: used unless the conninfo has its own.
        connect_timeout: seconds; overrides the conninfo. Default: the conninfo's, or CONNECT_TIMEOUT.
        statement_timeout: seconds that one statement may take on the server; None leaves the server's setting.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        application_name: str = "barman",
        connect_timeout: float | None = None,
        statement_timeout: float | None = None,
    ) -> None:
        parameters = dsn.parse(conninfo)
        parameters.setdefault("application_name", application_name)
        super().__init__(parameters, connect_timeout=connect_timeout)
        self._statement_timeout = statement_timeout

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows.

        Raises:
            CannotConnect: no connection, or it broke.
            MissingPrivilege: SQLSTATE 42501.
            PostgresError: anything else the server refuses.
        """
        return self._run(sql, params)

    def value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None if there is no row."""
        rows = self._run(sql, params)
        return rows[0][0] if rows else None

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        """Run one statement for its effect."""
        self._run(sql, params)

    def limit_statements(self, deadline: Deadline) -> None:
        """Let no later statement of this connection run longer than what remains of `deadline`."""
        remaining = deadline.remaining()
        self._statement_timeout = remaining
        if remaining is not None:
            self._connect_timeout = min(remaining, self._connect_timeout or CONNECT_TIMEOUT)
        if self.is_open:
            self.execute(_statement_timeout_sql(remaining))

    @contextmanager
    def keepalive(self, interval: float) -> Iterator[Heartbeat]:
        """Send a tiny query every `interval` seconds from another thread, so that no firewall forgets the session.

        An interval of 0 sends nothing. The body asks `Heartbeat.check()` whether the session still stands.
        """
        heartbeat = Heartbeat(self, interval)
        heartbeat.start()
        try:
            yield heartbeat
        finally:
            heartbeat.stop()

    def _prepare(self, connection: extensions.connection) -> None:
        # A SET, not `options`: the user's own `options`, and those of a service file, stay what they are. With an
        # empty search_path nobody can slip in a function or a table of his own under the name of a system one.
        sql = "SET search_path TO ''"
        if self._statement_timeout is not None:
            sql += "; " + _statement_timeout_sql(self._statement_timeout)
        with connection.cursor() as cursor:
            cursor.execute(sql)


def _statement_timeout_sql(seconds: float | None) -> str:
    if seconds is None:
        return "RESET statement_timeout"
    return f"SET statement_timeout TO {max(1, int(seconds * 1000))}"  # 0 would mean no limit


class Heartbeat:
    """Keeps a held session alive; see `PostgresConnection.keepalive`."""

    def __init__(self, connection: PostgresConnection, interval: float) -> None:
        self._connection = connection
        self._interval = interval
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: PostgresError | None = None

    def start(self) -> None:
        """Start the thread, if the interval asks for one."""
        if self._interval > 0:
            self._thread = threading.Thread(target=self._beat, name="postgres-keepalive", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def check(self) -> None:
        """Raise what ended the session, if anything did.

        Raises:
            PostgresError: the failure of the last heartbeat.
        """
        if self.failure is not None:
            raise self.failure

    def _beat(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                self._connection.execute("SELECT 1")
            except PostgresError as error:
                self.failure = error
                return
