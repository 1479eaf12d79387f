"""Create and drop the replication slot of a server."""

from __future__ import annotations

from barman.errors import CannotConnect, ConfigError, PostgresError
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.report import Reporter
    from barman.server.server import Server


def missing_slot(name: str, server_name: str) -> str:
    """What to say about a configured slot that the server does not have."""
    return f"replication slot '{name}' doesn't exist. Please execute 'barman receive-wal --create-slot {server_name}'"


def create_slot(server: Server, reporter: Reporter, *, if_not_exists: bool = False) -> None:
    """Create the physical slot `slot_name`; existing is fine if so asked.

    Raises:
        ConfigError: the server has no `slot_name`.
        PostgresError: it exists, or there is no free slot.
        CannotConnect: no replication connection.
    """
    from barman.postgres.replication import NoFreeSlot, SlotExists

    name = _slot_name(server, "create")
    _connect(server)
    reporter.info(f"Creating physical replication slot '{name}' on server '{server.name}'")
    try:
        server.wal_streaming.create_slot(name)
    except SlotExists as error:
        if not if_not_exists:
            raise PostgresError(f"Replication slot '{name}' already exists") from error
        reporter.info(f"Replication slot '{name}' already exists and --if-not-exists was specified. Skipping creation")
    except NoFreeSlot as error:
        raise PostgresError(
            f"All replication slots for server '{server.name}' are in use",
            hint="Free one, or raise max_replication_slots on the server.",
        ) from error
    else:
        reporter.info(f"Replication slot '{name}' created")


def drop_slot(server: Server, reporter: Reporter) -> None:
    """Drop the physical slot `slot_name`.

    Raises:
        ConfigError: the server has no `slot_name`.
        PostgresError: it does not exist, or a receiver uses it.
        CannotConnect: no replication connection.
    """
    from barman.postgres.replication import SlotInUse, SlotMissing

    name = _slot_name(server, "drop")
    _connect(server)
    reporter.info(f"Dropping physical replication slot '{name}' on server '{server.name}'")
    try:
        server.wal_streaming.drop_slot(name)
    except SlotMissing as error:
        raise PostgresError(f"Replication slot '{name}' does not exist") from error
    except SlotInUse as error:
        raise PostgresError(
            f"Cannot drop replication slot '{name}' on server '{server.name}' because it is in use.",
            hint=f"Stop its receiver: barman terminate-process {server.name} receive-wal",
        ) from error
    reporter.info(f"Replication slot '{name}' dropped")


def _slot_name(server: Server, action: str) -> str:
    name = server.config.slot_name
    if not name:
        raise ConfigError(
            f"Unable to {action} a physical replication slot: slot_name configuration option required",
            hint=f"Set slot_name in section [{server.name}].",
        )
    return str(name)


def _connect(server: Server) -> None:
    try:
        server.wal_streaming.connect()
    except CannotConnect as error:
        raise CannotConnect(
            f"Cannot connect to server '{server.name}'", hint=". ".join(filter(None, (error.message, error.hint)))
        ) from error
