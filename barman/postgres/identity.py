"""Which cluster a server is, as far as WAL tells: two numbers that every segment carries in its header."""

from __future__ import annotations

from barman.postgres.facts import SEGMENT_SIZE_SQL
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.postgres.connection import PostgresConnection

# PostgreSQL 9.6 and later have the function; who may not call it is told nothing.
_SYSTEM_ID = """CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
            THEN (SELECT system_identifier::text FROM pg_control_system()) END"""


@dataclass(frozen=True, slots=True)
class Role:
    """Whether a server is a standby, and of which cluster; the system identifier is None without the privilege."""

    in_recovery: bool
    system_id: str | None


def fetch_role(connection: PostgresConnection) -> Role:
    """Ask a server what it is: one round trip.

    Raises:
        PostgresError: the server cannot be reached or does not answer.
    """
    in_recovery, system_id = connection.query(f"SELECT pg_is_in_recovery(), {_SYSTEM_ID}")[0]
    return Role(bool(in_recovery), system_id)


def fetch_identity(connection: PostgresConnection) -> tuple[str | None, int]:
    """The system identifier (decimal; None without the privilege) and the segment size: one round trip.

    Raises:
        PostgresError: the server cannot be reached or does not answer.
    """
    system_id, segment_size = connection.query(f"SELECT {_SYSTEM_ID}, {SEGMENT_SIZE_SQL}")[0]
    return system_id, int(segment_size)
