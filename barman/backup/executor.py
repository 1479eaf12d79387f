"""The ways to take a backup, chosen by `backup_method`: each plans, then executes its plan."""

from __future__ import annotations

from importlib import import_module

from barman.backup.plan import refuse_what_cannot_be_encrypted
from barman.errors import BackupError
from barman.typing import TYPE_CHECKING, Any, Protocol
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from barman.backup.record import RunningRecord
    from barman.backup.request import BackupRequest
    from barman.catalog.catalog import CatalogView
    from barman.config.server_config import ServerConfig
    from barman.postgres.facts import ServerFacts
    from barman.postgres.lsn import Lsn
    from barman.report import Reporter
    from barman.server.server import Server


@dataclass(frozen=True, slots=True)
class BackupOutcome:
    """What an executor learnt: where the backup truly begins and ends, and how long the copy took.

    `files` maps what must be on disk to its size, None when there is no manifest to say it; see `inventory`.
    `archived` maps what lies in archives to its size, by its path in a backup of plain files, from its root.
    `copy_stats` is what is recorded of the copy, when it is more than its time.
    `closed` tells whether the segment that it ends in was closed after it.
    """

    label: str
    timeline: int
    end_timeline: int
    begin_xlog: Lsn
    end_xlog: Lsn
    end_time: datetime
    copy_seconds: float
    files: Mapping[str, int] | None = None
    copy_stats: Mapping[str, object] | None = None
    archived: Mapping[str, int] | None = None
    closed: bool = True


class BackupExecutor(Protocol):
    """One method of taking backups. A plan is the executor's own type: only it looks inside."""

    @property
    def mode(self) -> str:
        """Return what is recorded as `mode`."""

    def plan(self, request: BackupRequest, facts: ServerFacts, view: CatalogView) -> Any:
        """Judge the request before anything is written. Raises BackupError and others when it must fail."""

    def execute(self, plan: Any, record: RunningRecord, reporter: Reporter) -> BackupOutcome:
        """Take the backup into the directory of the record; keeps `record.action` at what is being done.

        When it raises, the server has been told to stop and no child program is left.
        """


# backup_method → module, class. A method is added by a row here.
EXECUTORS: dict[str, tuple[str, str]] = {
    "postgres": ("barman.backup.pg_basebackup", "BasebackupExecutor"),
    "rsync": ("barman.backup.rsync", "RsyncExecutor"),
    "local-rsync": ("barman.backup.rsync", "RsyncExecutor"),
}


def require_built(config: ServerConfig, parent: str | None = None) -> None:
    """Raise BackupError when a backup cannot be taken as it is configured; everything else works on such a server.

    `parent` is what `--incremental` names. To be asked before a check of the server: nothing found there would help.
    """
    if config.backup_method not in EXECUTORS:
        raise BackupError(
            f"backup_method = {config.backup_method} is not supported yet: no backup of server {config.name} is taken",
            hint=f"Set backup_method = postgres for server {config.name}. Its backups and WAL of before stay usable.",
        )
    refuse_what_cannot_be_encrypted(config)
    if parent is not None and config.backup_method != "postgres":
        raise BackupError(
            "failed to start backup: incremental backups using the --incremental flag need backup_method = postgres, "
            f"not {config.backup_method}",
            hint="With rsync, --reuse-backup link takes unchanged files from the previous backup.",
        )


def executor_for(server: Server) -> BackupExecutor:
    """Return the executor of the server's `backup_method`. Raises BackupError for one that is not built yet."""
    require_built(server.config)
    module, name = EXECUTORS[server.config.backup_method]
    executor: BackupExecutor = getattr(import_module(module), name)(server)
    return executor


def refuse_unfit_parent(server: Server, request: BackupRequest) -> None:
    """Raise BackupError when an incremental backup of this parent must fail, before anything is done for it.

    It is asked again under the lock of the backup. Raises CannotConnect without the server.
    """
    from barman.postgres.facts import read_facts

    executor_for(server).plan(request, read_facts(server.postgres), server.catalog.snapshot())
    # What was seen now is old when the check is over.
    server.close()
