"""The processes at work on a server: found by the locks that they hold, ended by a signal."""

from __future__ import annotations

import signal

from barman.clock import Deadline
from barman.process import is_alive, terminate_process
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.catalog.locks import LockHolder, Locks
    from barman.report import Reporter

_STOP_SECONDS = 10.0
# The order in which the original looks for tasks, and so the order of its list.
_TASK_ORDER = ("receive-wal", "sync-backup", "backup", "cron", "archive-wal", "sync-wal")


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process and its task."""

    pid: int
    task: str


@dataclass(frozen=True, slots=True)
class ProcessList:
    """The processes of one server."""

    server_name: str
    processes: tuple[RunningProcess, ...]


def find_processes(server_name: str, locks: Locks) -> ProcessList:
    """Who holds a lock of exactly this server; a holder that cannot be told is left out."""
    return ProcessList(
        server_name,
        tuple(RunningProcess(holder.pid, holder.task) for holder in _holders(locks) if holder.pid),
    )


def terminate(server_name: str, locks: Locks, task: str, reporter: Reporter, *, seconds: float = _STOP_SECONDS) -> bool:
    """Interrupt the first process of a task and wait for its end; whether it has ended.

    Everything but success is reported as an error.
    """
    found = [holder for holder in _holders(locks) if holder.task == task]
    if not found:
        reporter.error(f"Termination of {task} failed: no such process for server {server_name}")
        return False
    return terminate_holder(found[0], reporter, seconds=seconds)


def terminate_holder(holder: LockHolder, reporter: Reporter, *, seconds: float = _STOP_SECONDS) -> bool:
    """As `terminate`, for a process that was found before."""
    if _end(holder.pid, seconds):
        reporter.info(f"Stopped process {holder.task}({holder.pid})")
        return True
    reporter.error(f"Cannot terminate process {holder.task}({holder.pid})")
    return False


def _end(pid: int, seconds: float) -> bool:
    if pid <= 0:  # the lock is held, but its file does not say by whom
        return False
    try:
        existed = terminate_process(pid, signal.SIGINT)
    except PermissionError:
        return False
    deadline = Deadline(seconds)
    while existed and is_alive(pid):
        if deadline.expired:
            return False
        deadline.sleep(0.05)
    return True


def _holders(locks: Locks) -> list[LockHolder]:
    return sorted(locks.holders(), key=lambda holder: (_TASK_ORDER.index(holder.task), holder.backup_id or ""))
