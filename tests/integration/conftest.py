"""Fixtures of the integration tests: real servers, a real Barman home."""

from tests.support.fix_postgres import barman_home, newest_pg, pg, pg_factory

__all__ = ["barman_home", "newest_pg", "pg", "pg_factory"]
