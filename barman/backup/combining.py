"""The program that chains of incremental backups are restored with: without it restores are refused, check is red."""

from __future__ import annotations

from barman.postgres.programs import find_pg_combinebackup
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.catalog.backup_info import BackupInfo
    from barman.postgres.programs import Program


def find_combiner(info: BackupInfo, search_path: str) -> tuple[Program | None, str]:
    """Return the pg_combinebackup for a backup, and why its chain cannot be combined here; "" when it can."""
    version = info.pg_version
    if version is None:
        return None, "its record does not say which PostgreSQL version it is of"
    program = find_pg_combinebackup(search_path, version)
    return program, judge_combiner(program, info)


def judge_combiner(program: Program | None, info: BackupInfo) -> str:
    """Return why a program is not the one for a backup: it must have the same major version."""
    version = info.pg_version
    if version is None or (program is not None and program.version.major == version.major):
        return ""
    found = "there is none" if program is None else f"only that of {program.version} was found ('{program.path}')"
    return (
        f"pg_combinebackup of PostgreSQL {version.major_text} is needed on this host, and {found}: install the server "
        f"package of PostgreSQL {version.major_text}, or set path_prefix to its directory"
    )
