"""What a run of cron would do to one server: the observation and the plan of the real run, carried out by nobody."""

from __future__ import annotations

from barman.backup.dry_run import plan_retention
from barman.cron.observe import observe, observe_receiver
from barman.cron.plan import (
    ApplyRetention,
    ArchiveWal,
    CheckBackup,
    FailDeadRuns,
    LeaveArchiving,
    ResumeDeletions,
    StopReceiver,
    SyncStep,
    plan_maintenance,
    plan_receiver,
)
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.backup.dry_run import DryRun
    from barman.cron.plan import ReceiverTask, Task
    from barman.server.server import Server


@dataclass(frozen=True, slots=True)
class CronPlan:
    """The tasks of one server in their order, in words; `retention` if the policy is applied or deletions resumed."""

    server_name: str
    tasks: tuple[str, ...] = ()
    retention: DryRun | None = None


def plan_cron(server: Server) -> CronPlan:
    """What cron would do now. Nothing is started, ended or written."""
    config = server.config
    if config.disabled:
        return CronPlan(config.name, ("disabled: skipped",))
    receiver = plan_receiver(observe_receiver(config))
    if not config.active:
        stopped = [_describe(task) for task in receiver if isinstance(task, StopReceiver)]
        return CronPlan(config.name, tuple(stopped or ["inactive: skipped"]))
    tasks = plan_maintenance(observe(config, server.catalog))
    deletes = any(isinstance(task, ApplyRetention | ResumeDeletions) for task in tasks)
    words = (*map(_describe, receiver), *(line for task in tasks for line in _lines(task, server)))
    return CronPlan(config.name, words, plan_retention(server) if deletes else None)


def _lines(task: Task, server: Server) -> tuple[str, ...]:
    """Archiving an empty queue is no work; what a sync would start has more lines than one."""
    if isinstance(task, SyncStep):
        from barman.sync.run import preview

        return preview(server)
    line = _describe(task)
    return (line,) if line else ()


def _describe(task: ReceiverTask | Task) -> str:
    """One line; archiving an empty queue is no work."""
    if isinstance(task, StopReceiver):
        return f"end receive-wal (process {task.pid})"
    if isinstance(task, ArchiveWal):
        return f"archive {task.queued} WAL files" if task.queued else ""
    if isinstance(task, CheckBackup):
        return f"see whether backup {task.backup_id} has all its WAL"
    return {
        FailDeadRuns: "mark backups whose process is gone as FAILED",
        ResumeDeletions: "finish the deletions that were interrupted",
        LeaveArchiving: "leave archiving to the archive-wal that runs already",
        ApplyRetention: "apply the retention policy",
    }.get(type(task), "start receive-wal")
