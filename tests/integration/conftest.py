"""Fixtures of the integration tests: real servers, a real Barman home."""

from tests.support.fix_homes import homes
from tests.support.fix_postgres import barman_home, newest_pg, pg, pg_factory
from tests.support.fix_sshd import sshd, sshd_factory
from tests.support.fix_wal_clients import wal_link

__all__ = ["barman_home", "homes", "newest_pg", "pg", "pg_factory", "sshd", "sshd_factory", "wal_link"]
