"""What `backup_compression` and its companions ask of pg_basebackup, and why it cannot be done (config reference, §10).

Pure, but for `require_tools`.
"""

from __future__ import annotations

from barman.errors import BackupError
from barman.postgres.programs import basebackup_compression, missing_compression
from barman.postgres.version import PgVersion
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.config.server_config import ServerConfig
    from barman.postgres.programs import Program

_SINCE = PgVersion(150000)
"""Servers compress, and clients know more than gzip, since PostgreSQL 15."""


def recorded_compression(config: ServerConfig) -> str | None:
    """Return the record's `compression`: None when the backup is a tree of files."""
    return None if config.backup_compression_format == "plain" else config.backup_compression


def compression_arguments(config: ServerConfig, program: Program) -> tuple[str, ...]:
    """Return the arguments for pg_basebackup; none without `backup_compression`."""
    if config.backup_compression is None:
        return ()
    return tuple(
        basebackup_compression(
            program,
            config.backup_compression,
            level=config.backup_compression_level,
            workers=config.backup_compression_workers,
            location=config.backup_compression_location,
            plain=config.backup_compression_format == "plain",
        )
    )


def compression_problem(config: ServerConfig, program: PgVersion, server: PgVersion | None) -> str:
    """Return why these versions cannot compress as configured; "" when they can. `server` is None while it is down.

    What the configuration alone shows was judged with it.
    """
    compression = config.backup_compression
    if compression is None:
        return ""
    if config.backup_compression_location == "server":
        if program < _SINCE:
            return f"backup_compression_location = server needs pg_basebackup 15 or later, not {program}"
        if server is not None and server < _SINCE:
            return f"backup_compression_location = server needs PostgreSQL 15 or later, not {server}"
    if compression in ("lz4", "zstd") and program < _SINCE:
        return f"backup_compression = {compression} needs pg_basebackup 15 or later, not {program}"
    if compression == "gzip" and config.backup_compression_level == 0 and program >= _SINCE:
        return f"backup_compression_level = 0 is not supported by pg_basebackup {program} with gzip"
    return ""


def encryption_problem(config: ServerConfig) -> str:
    """Return why backups cannot be encrypted as configured; "" when they can, or are not to be. Pure."""
    if config.encryption in (None, "none"):
        return ""
    rules = (
        (not config.encryption_key_id, "encryption_key_id is unset"),
        (config.backup_method != "postgres", "backup_method != postgres"),
        (not config.backup_compression, "backup_compression is unset"),
        (config.backup_compression_format != "tar", "backup_compression_format != tar"),
    )
    broken = next((text for is_broken, text in rules if is_broken), None)
    return f"Encryption is set as {config.encryption}, but {broken}" if broken else ""


def require_tools(config: ServerConfig, program: Program) -> None:
    """Make sure that the programs and libraries of this host can take such a backup, and read it.

    Raises BackupError, CodecError.
    """
    from barman.backup.tar_files import require_readable

    compression = config.backup_compression
    if compression in (None, "none"):
        return
    plain = config.backup_compression_format == "plain"
    if (plain or config.backup_compression_location != "server") and missing_compression(program, compression):
        raise BackupError(
            f"pg_basebackup {program.version} ('{program.path}') was built without {compression}, which "
            f"backup_compression = {compression} needs",
            hint="Set another backup_compression, or path_prefix to the directory of a pg_basebackup that has it; with "
            "backup_compression_location = server and the tar format only the server needs it.",
        )
    if not plain:
        require_readable(compression)
