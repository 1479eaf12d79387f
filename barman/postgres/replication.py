"""A connection that speaks the replication protocol: system identity and physical slots."""

from __future__ import annotations

import os
import re

from barman.errors import ConfigError, PostgresError
from barman.postgres import conninfo as dsn
from barman.postgres.connection import BaseConnection
from barman.postgres.driver import extensions, psycopg2
from barman.postgres.lsn import Lsn
from barman.values import dataclass

_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")


class SlotExists(PostgresError):
    """A slot of that name exists already (SQLSTATE 42710)."""


class NoFreeSlot(PostgresError):
    """All max_replication_slots are in use (SQLSTATE 53400)."""


class SlotMissing(PostgresError):
    """There is no slot of that name (SQLSTATE 42704)."""


class SlotInUse(PostgresError):
    """The slot is in use by a running receiver (SQLSTATE 55006)."""


_SLOT_ERRORS: dict[str, type[PostgresError]] = {
    "42710": SlotExists,
    "53400": NoFreeSlot,
    "42704": SlotMissing,
    "55006": SlotInUse,
}


@dataclass(frozen=True, slots=True)
class SystemIdentity:
    """The answer to IDENTIFY_SYSTEM."""

    systemid: str
    timeline: int
    xlogpos: Lsn


class StreamingConnection(BaseConnection):
    """A physical replication connection, and the connection string that client programs get for the same server.

    Args:
        conninfo: any libpq string, keywords or URI; its `options` are kept.
        connect_timeout: seconds; overrides the conninfo.
    """

    def __init__(self, conninfo: str, *, connect_timeout: float | None = None) -> None:
        parameters = dsn.parse(conninfo)
        options = parameters.get("options") or os.environ.get("PGOPTIONS", "")
        parameters.update(
            dbname="replication",
            replication="true",
            # psycopg2 would send SET datestyle otherwise, which a walsender of PostgreSQL 9 does not understand.
            options=f"{options} -cdatestyle=iso".strip(),
        )
        super().__init__(parameters, connect_timeout=connect_timeout)

    @property
    def application_name(self) -> str | None:
        """The name in the conninfo, which wins over any that is given to `libpq_conninfo`."""
        return self._parameters.get("application_name")

    def libpq_conninfo(self, application_name: str | None = None) -> str:
        """The connection string for client programs: everything but the password, which would show in `ps`.

        The password goes through `program_environment`. `application_name` is used unless the conninfo has its own.

        Raises:
            ConfigError: the conninfo holds an `sslpassword`, for which libpq knows no other way than the string.
        """
        if "sslpassword" in self._parameters:
            raise ConfigError(
                "'sslpassword' in a connection string would be shown in the arguments of client programs",
                hint="Put it into a service file (pg_service.conf) and use service=NAME.",
            )
        shown = dsn.without_secrets(self._parameters)
        if application_name is not None and "application_name" not in shown:
            shown["application_name"] = application_name
        return dsn.format_conninfo(shown)

    def program_environment(self) -> dict[str, str]:
        """Variables to add to the environment of a client program: the password of the conninfo, if it has one."""
        password = self._parameters.get("password")
        return {"PGPASSWORD": password} if password else {}

    def identify_system(self) -> SystemIdentity:
        """Ask the server who it is and where it stands: one round trip.

        Raises:
            CannotConnect: no replication connection.
        """
        systemid, timeline, xlogpos = self._run("IDENTIFY_SYSTEM", None)[0][:3]
        return SystemIdentity(str(systemid), int(timeline), Lsn.parse(xlogpos))

    def timeline_history(self, timeline: int) -> str:
        """The content of a history file as the server has it.

        Raises:
            CannotConnect: no replication connection.
            PostgresError: the server has no such file.
        """
        content = self._run(f"TIMELINE_HISTORY {int(timeline)}", None)[0][1]
        # Text; before PostgreSQL 15 sent as bytea, though it is none.
        return content if isinstance(content, str) else bytes(content).decode("utf-8", "replace")

    def create_slot(self, name: str) -> None:
        """Create a physical slot; it reserves no WAL before its first use.

        Raises:
            SlotExists: it exists already.
            NoFreeSlot: max_replication_slots is used up.
        """
        self._run(f"CREATE_REPLICATION_SLOT {_checked(name)} PHYSICAL", None)

    def drop_slot(self, name: str) -> None:
        """Drop a slot.

        Raises:
            SlotMissing: it does not exist.
            SlotInUse: a receiver uses it.
        """
        self._run(f"DROP_REPLICATION_SLOT {_checked(name)}", None)

    def _translate(self, error: psycopg2.Error, connection: extensions.connection) -> PostgresError:
        translated = super()._translate(error, connection)
        kind = _SLOT_ERRORS.get(error.pgcode or "")
        return translated if kind is None else kind(translated.message, hint=translated.hint)


def _checked(slot_name: str) -> str:
    """The name, if the protocol can carry it unquoted.

    Raises:
        ConfigError: anything but lower-case letters, digits and underscores.
    """
    if not _SLOT_NAME.fullmatch(slot_name):
        raise ConfigError(
            f"invalid replication slot name '{slot_name}'",
            hint="Slot names consist of lower-case letters, digits and underscores.",
        )
    return slot_name
