"""What a data directory contains, what a restored copy must not have, and how to recognise one on disk.

Sources: PostgreSQL manual, "Database File Layout" and "Making a Base Backup Using the Low Level API".
"""

from __future__ import annotations

import os
import sys

CONTROL_FILE = "global/pg_control"
"""Without it no server starts: what is removed first and lands last."""

TABLESPACE_LINKS = "pg_tblspc"
MANIFEST = "backup_manifest"
CONFIGURATION_FILES = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf")

# What a copy of a running cluster leaves out, as patterns of rsync: PostgreSQL manual, "Backing Up The Data Directory".
# The directories themselves are kept, because the server does not create them.
_VOLATILE = ("pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_stat_tmp", "pg_snapshots", "pg_subtrans")
LEFT_OUT_EVERYWHERE = (
    "pgsql_tmp*",
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "pg_internal.init",
    "postmaster.pid",
    "postmaster.opts",
    "recovery.conf",
    "standby.signal",
    "**/[0-9]*/t[0-9]*_[0-9]*",
    *(f"/{name}/*" for name in _VOLATILE),
)
LEFT_OUT_OF_PGDATA = (
    "/pg_log/*",
    "/log/*",
    "/pg_xlog/*",
    "/pg_wal/*",
    "/global/pg_control",
    "/backup_label",
    "/tablespace_map",
    "/backup_manifest",
)
"""Logs and WAL have ways of their own; the control file is copied by itself, last. What speaks of a backup speaks of
another one, such as the one that the cluster itself was made from."""

_EMPTIED = frozenset(("log", "pg_log", "pg_wal", "pg_xlog"))
_LEFT_OUT = frozenset(("postmaster.pid", "recovery.conf", "recovery.signal", "standby.signal", "tablespace_map"))


def is_left_out_of_restore(relative: str) -> bool:
    """Tell whether a path of a backup's data directory has no place in a restored one.

    Server logs and WAL directories are kept as empty directories; the signal and map files of another life are dropped:
    a restore writes its own.
    """
    first, _, rest = relative.partition("/")
    return (first in _EMPTIED and bool(rest)) or (not rest and first in _LEFT_OUT)


def is_data_directory(path: str) -> bool:
    """Tell whether a directory holds a cluster, or what is left of one."""
    return os.path.isfile(os.path.join(path, "PG_VERSION")) and os.path.isdir(os.path.join(path, "global"))


def enclosing_data_directory(path: str) -> str | None:
    """Return the nearest directory above `path` that holds a cluster, None when there is none."""
    current = os.path.dirname(os.path.abspath(path))
    while current != os.path.dirname(current):
        if is_data_directory(current):
            return current
        current = os.path.dirname(current)
    return None


def postmaster_pid(path: str) -> int | None:
    """Return the pid in `postmaster.pid`, None when there is no such file or it holds none; the process may be gone."""
    try:
        with open(os.path.join(path, "postmaster.pid"), encoding="utf-8", errors="replace") as file:
            return abs(int(file.readline(32).strip()))
    except (OSError, ValueError):
        return None


def control_system_id(path: str) -> str:
    """Return the system identifier in the control file of a data directory; "" when there is none to read."""
    try:
        with open(os.path.join(path, CONTROL_FILE), "rb") as file:
            return parse_system_id(file.read(8))
    except OSError:
        return ""


def parse_system_id(data: bytes) -> str:
    """Return the system identifier: the first eight bytes of a control file, in the byte order of this processor.

    Source: `ControlFileData` in `pg_control.h`.
    """
    return str(int.from_bytes(data, sys.byteorder)) if len(data) == 8 else ""
