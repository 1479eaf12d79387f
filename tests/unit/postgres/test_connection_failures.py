"""What is told of a connection that failed, when there were several hosts to try."""

import pytest

from barman.postgres.connection import connection_failures, hint_for

SEVERAL = (
    'connection to server at "127.0.0.1", port 1 failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?\n"
    'connection to server at "10.0.0.2", port 5432 failed: server is in hot standby mode\n'
)
DETAIL = (
    'connection to server at "a", port 5432 failed: FATAL:  the database system is not accepting connections\n'
    "DETAIL:  Hot standby mode is disabled.\n"
)


def test_every_host_is_told_with_its_reason() -> None:
    assert connection_failures(SEVERAL) == (
        'connection to server at "127.0.0.1", port 1 failed: Connection refused; '
        'connection to server at "10.0.0.2", port 5432 failed: server is in hot standby mode'
    )
    assert connection_failures(DETAIL).endswith("not accepting connections (Hot standby mode is disabled.)")
    assert connection_failures("could not translate host name\nmore") == "could not translate host name"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (SEVERAL, "No host of the connection string is a primary"),
        (DETAIL, "hot_standby = on"),
        ('"SELECT pg_is_in_recovery()" failed', "Before PostgreSQL 14"),
        ("session is not read-only", "is a standby now"),
    ],
)
def test_the_hint_is_about_the_role_that_was_asked_for(text: str, hint: str) -> None:
    assert hint in hint_for(text)
