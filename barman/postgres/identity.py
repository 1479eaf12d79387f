"""Which cluster a server is, as far as WAL tells: two numbers that every segment carries in its header."""

from __future__ import annotations

from barman.postgres.facts import SEGMENT_SIZE_SQL
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.postgres.connection import PostgresConnection

# PostgreSQL 9.6 and later have the function; who may not call it is told the size alone.
_QUERY = f"""
SELECT CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
            THEN (SELECT system_identifier::text FROM pg_control_system()) END,
       {SEGMENT_SIZE_SQL}
"""


def fetch_identity(connection: PostgresConnection) -> tuple[str | None, int]:
    """The system identifier (decimal; None without the privilege) and the segment size: one round trip.

    Raises:
        PostgresError: the server cannot be reached or does not answer.
    """
    system_id, segment_size = connection.query(_QUERY)[0]
    return system_id, int(segment_size)
