"""Fixtures of the compatibility tests: real servers, a home that both programs use, and the original's program."""

from tests.support.fix_homes import homes
from tests.support.fix_postgres import barman_home, newest_pg, pg, pg_factory
from tests.support.fix_sshd import sshd_factory
from tests.support.fix_upstream import fixture_upstream_program

__all__ = ["barman_home", "fixture_upstream_program", "homes", "newest_pg", "pg", "pg_factory", "sshd_factory"]
