"""What a cron run has to do for one server: observations in, tasks out. Pure."""

from __future__ import annotations

from barman.values import dataclass

LARGE_QUEUE = 32
"""More segments than this are archived by a process of their own, so that a cron run stays short."""


@dataclass(frozen=True, slots=True)
class ReceiverObservation:
    """The receiver of one server, as far as its lock and its state tell.

    Attributes:
        wanted: `streaming_archiver` is on, and the server is active and no passive node.
        pid: of the receiver that runs; None if none does, 0 if it cannot be told.
        outdated: it was started with another configuration than the present one.
    """

    wanted: bool
    pid: int | None
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """What can be seen of one server without asking PostgreSQL.

    Attributes:
        passive: it copies from another Barman.
        queued: WAL files that wait in the queues of the enabled archivers.
        archiver_busy: somebody archives already.
        backup_running: somebody holds the backup lock.
        waiting: backups that wait for WAL, oldest first.
        unfinished: there are records of backups or copies that have not ended.
        deleting: there are deletions that have not ended.
        retention: a policy is set, and there are backups.
    """

    passive: bool = False
    queued: int = 0
    archiver_busy: bool = False
    backup_running: bool = False
    waiting: tuple[str, ...] = ()
    unfinished: bool = False
    deleting: bool = False
    retention: bool = False


@dataclass(frozen=True, slots=True)
class StopReceiver:
    """End a receiver that must not run, or not like this."""

    pid: int


@dataclass(frozen=True, slots=True)
class StartReceiver:
    """Start a receiver, detached."""


@dataclass(frozen=True, slots=True)
class FailDeadRuns:
    """Mark backups FAILED whose process is gone."""


@dataclass(frozen=True, slots=True)
class ResumeDeletions:
    """Finish deletions that a crash interrupted."""


@dataclass(frozen=True, slots=True)
class ArchiveWal:
    """Archive what is queued: `queued` files, in a process of its own if `detached`."""

    queued: int
    detached: bool = False


@dataclass(frozen=True, slots=True)
class SyncStep:
    """Passive nodes: ask the primary, and start the copies of what is missing."""


@dataclass(frozen=True, slots=True)
class LeaveArchiving:
    """Somebody archives already: say so."""


@dataclass(frozen=True, slots=True)
class CheckBackup:
    """See whether a waiting backup has all its WAL by now."""

    backup_id: str


@dataclass(frozen=True, slots=True)
class ApplyRetention:
    """Delete what the policy no longer needs."""


ReceiverTask = StopReceiver | StartReceiver
Task = FailDeadRuns | ResumeDeletions | SyncStep | ArchiveWal | LeaveArchiving | CheckBackup | ApplyRetention


def plan_receiver(seen: ReceiverObservation) -> tuple[ReceiverTask, ...]:
    """Make the receiver run, stop, or run anew with the present configuration."""
    if not seen.wanted:
        return () if seen.pid is None else (StopReceiver(seen.pid),)
    if seen.pid is None:
        return (StartReceiver(),)
    return (StopReceiver(seen.pid), StartReceiver()) if seen.outdated else ()


def plan_maintenance(seen: Observation) -> tuple[Task, ...]:
    """Everything but the receiver, in order.

    The dead are buried first; archiving, or asking the primary, comes before the backups that wait for WAL; retention,
    which may delete, sees the result of both.
    """
    tasks: list[Task] = []
    if not seen.backup_running:
        tasks += [FailDeadRuns()] if seen.unfinished else []
        tasks += [ResumeDeletions()] if seen.deleting else []
    if seen.passive:
        tasks.append(SyncStep())
    elif seen.archiver_busy:
        tasks.append(LeaveArchiving())
    else:
        tasks.append(ArchiveWal(seen.queued, detached=seen.queued > LARGE_QUEUE))
    tasks += [CheckBackup(backup_id) for backup_id in seen.waiting]
    if seen.retention:
        tasks.append(ApplyRetention())
    return tuple(tasks)
