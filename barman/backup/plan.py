"""How a backup with pg_basebackup is going to be taken, or why it cannot be. Pure."""

from __future__ import annotations

from barman.backup.tar_options import (
    compression_arguments,
    compression_problem,
    encryption_problem,
    recorded_compression,
)
from barman.catalog.backup_id import resolve
from barman.catalog.chain import walk_to_root
from barman.errors import BackupError, CatalogError
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.backup.request import BackupRequest
    from barman.catalog.backup_id import BackupId
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import CatalogView
    from barman.config.server_config import ServerConfig
    from barman.postgres.facts import ServerFacts, TablespaceFact
    from barman.postgres.programs import Program

_MIN_RATE, _MAX_RATE = 32, 1024 * 1024
"""kB/s that pg_basebackup accepts (manual, `--max-rate`: 32 kB to 1024 MB)."""


@dataclass(frozen=True, slots=True)
class BasebackupPlan:
    """One run of pg_basebackup. `external_files` are configuration files that it will not copy.

    `compression` are its arguments for that, `recorded_compression` what the archives will be, None for plain files.
    """

    program: Program
    tablespaces: tuple[TablespaceFact, ...] = ()
    max_rate: int | None = None
    fast_checkpoint: bool = False
    parent_id: BackupId | None = None
    target_gp_dbid: int | None = None
    retry_times: int = 0
    retry_sleep: float = 30
    external_files: tuple[str, ...] = ()
    warning: str = ""
    compression: tuple[str, ...] = ()
    recorded_compression: str | None = None


def plan_basebackup(
    request: BackupRequest, config: ServerConfig, facts: ServerFacts, program: Program, view: CatalogView
) -> BasebackupPlan:
    """Judge a request against the server and the catalog. Raises BackupError when it must fail."""
    refuse_what_cannot_be_encrypted(config)
    problem = compression_problem(config, program.version, facts.version)
    if problem:
        raise BackupError(problem)
    parent_id = _parent(request.parent, facts, view) if request.parent is not None else None
    return BasebackupPlan(
        program=program,
        tablespaces=facts.tablespaces,
        max_rate=_max_rate(request.bandwidth_limit),
        fast_checkpoint=request.immediate_checkpoint,
        parent_id=parent_id,
        target_gp_dbid=config.warehousepg_dbid,
        retry_times=request.retry_times,
        retry_sleep=request.retry_sleep,
        external_files=external_files(facts),
        warning=_warning(view.backups[parent_id], facts) if parent_id is not None else "",
        compression=compression_arguments(config, program),
        recorded_compression=recorded_compression(config),
    )


def external_files(facts: ServerFacts) -> tuple[str, ...]:
    """Return the configuration files outside the data directory: pg_basebackup leaves them where they are.

    Whether a file is inside is a matter of whole path components: `/pgdata_conf` is not inside `/pgdata`.
    """
    if not facts.data_directory:
        return ()
    files = [facts.config_file, facts.hba_file, facts.ident_file, *facts.included_files]
    inside = facts.data_directory.rstrip("/") + "/"
    return tuple(dict.fromkeys(path for path in files if path and not path.startswith(inside)))


def _max_rate(limit: int | None) -> int | None:
    if limit is not None and not _MIN_RATE <= limit <= _MAX_RATE:
        raise BackupError(
            f"bandwidth limit {limit} kB/s is out of range: pg_basebackup accepts {_MIN_RATE} to {_MAX_RATE}",
            hint="Change bandwidth_limit or --bwlimit; 0 means no limit.",
        )
    return limit


def _parent(word: str, facts: ServerFacts, view: CatalogView) -> BackupId:
    if not facts.version.supports_incremental:
        raise BackupError(
            "failed to start backup: Postgres version 17 or greater is required for incremental backups "
            "using the Postgres backup method"
        )
    if facts.settings.get("summarize_wal") != "on":
        raise BackupError("failed to start backup: 'summarize_wal' option must be enabled for incremental backups")
    try:
        parent_id = resolve(word, view)
    except CatalogError as error:
        raise BackupError(error.message, hint=error.hint) from error
    reason = _unfit_parent(view.backups[parent_id], facts, view)
    if reason:
        raise BackupError(
            f"failed to start backup: {reason}",
            hint="Name another parent, such as 'last-full', or take a full backup: leave out --incremental.",
        )
    return parent_id


def _warning(parent: BackupInfo, facts: ServerFacts) -> str:
    now = facts.settings.get("data_checksums")
    if None in (now, parent.data_checksums) or now == parent.data_checksums:
        return ""
    return (
        f"data_checksums is {now}, and was {parent.data_checksums} when backup {parent.backup_id} was taken: pages of "
        "a cluster that is restored from this chain may fail their check. Take a full backup"
    )


def _unfit_parent(parent: BackupInfo, facts: ServerFacts, view: CatalogView) -> str:
    """Return why a backup cannot be the parent of an incremental one that could be restored; "" when it can."""
    parent_id = parent.backup_id
    if parent.summarize_wal != "on":
        return (
            f"Backup ID {parent_id} is not eligible as a parent for an incremental backup "
            "because WAL summaries were not enabled when that backup was taken."
        )
    if facts.system_id and parent.systemid and parent.systemid != facts.system_id:
        return f"backup {parent_id} was taken from another cluster"
    if parent.version is not None and parent.version // 10000 != facts.version.major:
        return f"backup {parent_id} was taken from PostgreSQL {parent.version // 10000}"
    try:
        chain = walk_to_root(parent, view)
    except CatalogError as error:
        return f"backup {parent_id} cannot be a parent: {error.message}"
    for member in chain:
        whose = "" if member is parent else f", which backup {parent_id} needs,"
        if member.backup_id in view.deleting:
            return f"backup {member.backup_id}{whose} is being deleted and cannot be a parent"
        if not member.is_copy_done:
            return f"backup {member.backup_id}{whose} is {member.status} and cannot be a parent"
    return ""


def refuse_what_cannot_be_encrypted(config: ServerConfig) -> None:
    """Raise BackupError when the configuration asks for encryption and not for what can be encrypted."""
    problem = encryption_problem(config)
    if problem:
        raise BackupError(problem, hint="Only tar backups of pg_basebackup are encrypted: see encryption.md in howto.")
