"""Where the WAL of a server is switched: on its primary, also while `conninfo` leads to a standby of it."""

from __future__ import annotations

from barman.errors import BarmanError, CannotConnect, PostgresError
from barman.postgres.identity import fetch_role
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.postgres.connection import PostgresConnection
    from barman.postgres.identity import Role
    from barman.report import Reporter
    from barman.server.server import Server

IGNORED = "'primary_conninfo' is set but 'conninfo' does not point to a standby server. Ignoring 'primary_conninfo'."


def switching_connection(server: Server, reporter: Reporter | None = None) -> PostgresConnection:
    """The connection that WAL is switched over: `primary_conninfo` as long as `conninfo` leads to a standby.

    A promoted standby is switched itself, which the reporter is warned of.

    Raises:
        CannotConnect: the primary cannot be reached.
        PostgresError: `primary_conninfo` leads to a standby, or into another cluster: nothing is done there.
    """
    if not server.config.primary_conninfo:
        return server.postgres
    try:
        standby = fetch_role(server.postgres)
    except CannotConnect:
        # The standby is down: its primary can be switched all the same.
        system_id = _recorded_system_id(server)
    else:
        if not standby.in_recovery:
            if reporter is not None:
                reporter.warning(IGNORED)
            return server.postgres
        system_id = standby.system_id
    _require_primary(server.primary, _ask_primary(server), system_id)
    return server.primary


def _ask_primary(server: Server) -> Role:
    try:
        return fetch_role(server.primary)
    except PostgresError as error:
        raise type(error)(f"primary_conninfo: {error.message}", hint=error.hint) from error


def _require_primary(connection: PostgresConnection, role: Role, system_id: str | None) -> None:
    if system_id is not None and role.system_id is not None and role.system_id != system_id:
        raise PostgresError(
            f"primary_conninfo leads to another cluster ({connection.target}): its system identifier is "
            f"{role.system_id}, that of the standby in conninfo {system_id}",
            hint="Let primary_conninfo lead to the primary that the standby follows.",
        )
    if role.in_recovery:
        raise PostgresError(
            f"primary_conninfo leads to a standby, which cannot switch WAL ({connection.target})",
            hint="Let primary_conninfo lead to the primary that the standby follows.",
        )


def _recorded_system_id(server: Server) -> str | None:
    try:
        identity = server.catalog.identity.read()
    except BarmanError:
        return None
    return None if identity is None else identity.systemid
