"""Functions that make a server do something: switch WAL, checkpoint, set a restore point."""

from __future__ import annotations

from barman.errors import MissingPrivilege
from barman.postgres.facts import SEGMENT_SIZE_SQL, Position, fetch_position
from barman.postgres.lsn import Lsn
from barman.postgres.version import PgVersion
from barman.postgres.wal_name import WalSegment
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.postgres.connection import PostgresConnection

_V10 = PgVersion(100000)
_V15 = PgVersion(150000)
_LONG_PAGE_HEADER = 40

__all__ = ["Position", "SwitchOutcome", "checkpoint", "create_restore_point", "current_position", "switch_wal"]

current_position = fetch_position


@dataclass(frozen=True, slots=True)
class SwitchOutcome:
    """What a switch did: `closed` is the segment that it completed; None if the server is in recovery, or idle."""

    in_recovery: bool
    closed: WalSegment | None


def switch_wal(connection: PostgresConnection) -> SwitchOutcome:
    """Complete the current segment, unless the server is in recovery or has written nothing since the last switch.

    One round trip. The closed segment is the one that holds the switch record itself, so that traffic around the
    call cannot make it the wrong one.

    Raises:
        MissingPrivilege: the role may not execute pg_switch_wal.
        PostgresError: the server refused.
    """
    if connection.server_version < _V10:
        switch, name, current = "pg_switch_xlog()", "pg_xlogfile_name", "pg_current_xlog_location()"
    else:
        switch, name, current = "pg_switch_wal()", "pg_walfile_name", "pg_current_wal_lsn()"
    end, name_now, segment_size = connection.query(
        f"SELECT CASE WHEN NOT pg_is_in_recovery() THEN {switch}::text END,"
        f" CASE WHEN NOT pg_is_in_recovery() THEN {name}({current}) END, {SEGMENT_SIZE_SQL}"
    )[0]
    if end is None:
        return SwitchOutcome(True, None)
    return SwitchOutcome(False, _closed_segment(Lsn.parse(end), int(name_now[:8], 16), int(segment_size)))


def _closed_segment(end: Lsn, timeline: int, segment_size: int) -> WalSegment | None:
    """The segment that a switch closed, from its answer (xlog.c, ReserveXLogSwitch and XLogInsertRecord).

    A position on a boundary means that there was nothing to switch. Otherwise it is the end of the switch record;
    if the record fills its segment to the last byte, that end lies behind the next segment's 40 byte page header,
    where no other record can end.
    """
    offset = end.value % segment_size
    if offset == 0:
        return None
    segment = WalSegment.containing(end, timeline, segment_size)
    return segment.previous(segment_size) if offset == _LONG_PAGE_HEADER else segment


def checkpoint(connection: PostgresConnection) -> None:
    """Run CHECKPOINT.

    Raises:
        MissingPrivilege: neither superuser nor, from PostgreSQL 15 on, a member of pg_checkpoint.
    """
    may = connection.value(
        "SELECT rolsuper"
        + (" OR pg_has_role(current_user, 'pg_checkpoint', 'USAGE')" if connection.server_version >= _V15 else "")
        + " FROM pg_roles WHERE rolname = current_user"
    )
    if not may:
        raise MissingPrivilege(
            f"CHECKPOINT needs a superuser or a member of the role 'pg_checkpoint' ({connection.target})",
            hint="GRANT pg_checkpoint TO the role of conninfo (PostgreSQL 15 and later).",
        )
    connection.execute("CHECKPOINT")


def create_restore_point(connection: PostgresConnection, name: str) -> Lsn:
    """Write a named restore point and return its position; not on a standby."""
    return Lsn.parse(connection.value("SELECT pg_create_restore_point(%s)::text", (name,)))
