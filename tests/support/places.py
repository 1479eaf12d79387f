"""Where scripts/test puts what it installs; the same places as in scripts/common.sh."""

import os


def cache() -> str:
    """The directory of virtual environments and of PostgreSQL from PyPI."""
    configured = os.environ.get("BARMAN_CACHE")
    if configured:
        return configured
    if os.geteuid() == 0:
        return "/var/tmp/barman-development"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "barman-development")


POSTGRESQL = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    os.path.join(cache(), "postgresql-*", "*", "pginstall", "bin"),
)
"""Patterns of directories with the programs of one PostgreSQL version."""

UPSTREAM = os.path.join(cache(), "upstream-3.19.1", "bin", "barman")
"""The released original, in an environment of its own."""

EXPORTER = os.path.join(cache(), "exporter-1.0.10", "bin", "barman-exporter")
"""An exporter for Prometheus that was written for the original, in an environment of its own."""
