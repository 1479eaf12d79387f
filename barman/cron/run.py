"""Run the maintenance of every server: receivers first, then one server a worker.

Receivers outlive the run; everything else happens in this process, because fifty idle servers must not cost fifty
interpreters. A server without work costs a few directory listings: no connection, no import. Receivers are looked after
before the server's cron lock is taken, so that a long deletion keeps no receiver from being restarted.
"""

from __future__ import annotations

from functools import partial

from barman import process
from barman.catalog.locks import LockHolder
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
    Task,
    plan_maintenance,
    plan_receiver,
)
from barman.errors import BarmanError, LockBusy, describe_refusal
from barman.hooks.points import has_scripts
from barman.logs import Log
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.typing import TYPE_CHECKING
from barman.workers import cpu_count, ordered_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from barman.config.server_config import ServerConfig
    from barman.report import Reporter

_log = Log(__name__)
_MOST_WORKERS = 8


class Cron:
    """One run. `config_file` is passed on to the processes that it starts."""

    def __init__(self, config_file: str, *, keep_descriptors: bool = False) -> None:
        self._config_file = config_file
        self._keep_descriptors = keep_descriptors

    def run(self, servers: Sequence[ServerConfig], reporter: Reporter) -> None:
        """Serve the servers, whose names are in order; what is said about each comes in that order, too.

        Nothing that happens to one server stops another; what failed is reported.
        """
        jobs = min(_MOST_WORKERS, 2 * cpu_count(), max(1, len(servers)))
        for said in ordered_map(self._serve, servers, jobs):
            said.replay(reporter)

    def _serve(self, config: ServerConfig) -> ServerReporter:
        reporter = ServerReporter()
        if config.disabled:
            reporter.info(f"Skipping temporarily disabled server '{config.name}'")
        elif not config.active:
            self._guard(partial(self._locked, config, reporter, _stop_inactive), reporter)
        else:
            self._guard(partial(self._look_after_receiver, config, reporter), reporter)
            self._guard(partial(self._locked, config, reporter, self._maintain), reporter)
        return reporter

    def _guard(self, action: Callable[[], None], reporter: ServerReporter) -> None:
        """The boundary of one task: it is reported, and the next one runs."""
        try:
            action()
        except BarmanError as error:
            reporter.failure(error)
        except OSError as error:
            _log.exception("unexpected failure")
            reporter.error(describe_refusal(error))
        except Exception as error:  # noqa: BLE001  # one server in a loop: nothing may stop the next one
            _log.exception("unexpected failure")
            reporter.exception(f"{type(error).__name__}: {error}")

    def _locked(
        self, config: ServerConfig, reporter: ServerReporter, action: Callable[[Server, ServerReporter], None]
    ) -> None:
        with Server(config) as server:
            lock = server.catalog.locks.cron()
            try:
                lock.acquire()
            except LockBusy:
                reporter.info(
                    f"Another cron process is already running on server {config.name}. Skipping to the next server"
                )
                return
            try:
                action(server, reporter)
            finally:
                lock.release()

    # --- receivers

    def _look_after_receiver(self, config: ServerConfig, reporter: ServerReporter) -> None:
        if config.wal_conninfo or config.wal_streaming_conninfo:
            from barman.wal.receiver import describe_overrides

            reporter.info(describe_overrides(config) or "")
        for task in plan_receiver(observe_receiver(config)):
            if isinstance(task, StopReceiver):
                if config.passive_node:
                    reporter.info(f"Server {config.name} is a passive node: stopping receive-wal")
                elif config.streaming_archiver:
                    reporter.info(f"The configuration of server {config.name} has changed: restarting receive-wal")
                if not _stop(task.pid, reporter):
                    return
            else:
                reporter.info(f"Starting streaming archiver for server {config.name}")
                self._spawn("receive-wal", config.name)

    def _spawn(self, *arguments: str) -> None:
        argv = process.barman_argv(self._config_file, *arguments)
        _log.debug("starting %s", argv)
        process.spawn_detached(argv, keep_descriptors=self._keep_descriptors)

    # --- everything else

    def _maintain(self, server: Server, reporter: ServerReporter) -> None:
        for task in plan_maintenance(observe(server.config, server.catalog)):
            self._guard(partial(self._perform, task, server, reporter), reporter)

    def _perform(self, task: Task, server: Server, reporter: ServerReporter) -> None:
        if isinstance(task, ArchiveWal):
            self._archive(task, server, reporter)
        elif isinstance(task, SyncStep):
            from barman.sync.run import sync_step

            sync_step(server, reporter, self._spawn)
        elif isinstance(task, LeaveArchiving):
            reporter.info(
                f"Another archive-wal process is already running on server {server.name}. Skipping to the next server"
            )
        elif isinstance(task, CheckBackup):
            from barman.backup.complete import check_backup
            from barman.catalog.backup_id import BackupId

            reporter.info(f"Starting check-backup for backup {task.backup_id} of server {server.name}")
            check_backup(server, BackupId(task.backup_id), reporter.quiet())
        elif isinstance(task, FailDeadRuns):
            from barman.backup.dead_runs import fail_dead_runs

            fail_dead_runs(server, reporter)
        elif isinstance(task, ResumeDeletions):
            from barman.backup.delete import resume_deletions

            resume_deletions(server, reporter)
        elif isinstance(task, ApplyRetention):
            from barman.backup.expire import apply_retention

            apply_retention(server, reporter)

    def _archive(self, task: ArchiveWal, server: Server, reporter: ServerReporter) -> None:
        reporter.info(f"Starting WAL archiving for server {server.name}")
        # Scripts take what time they like, and other servers wait for none: they run in a process of their own.
        if task.detached or (task.queued and has_scripts(server.config, "archive")):
            self._spawn("archive-wal", server.name)
        elif task.queued:
            from barman.wal.archiver import archive_wal

            archive_wal(server, reporter.quiet(), quiet=True)


class ServerReporter(MemoryReporter):
    """Keeps what one server's tasks say, until its turn comes."""

    def failure(self, error: BarmanError) -> None:
        """Report an expected failure, and what can be done about it."""
        self.error(error.message)
        if error.hint:
            self.lines.append(("hint", error.hint))

    def quiet(self) -> QuietReporter:
        """A reporter for work that is done on the side: only its troubles are kept."""
        return QuietReporter(self)

    def replay(self, reporter: Reporter) -> None:
        """Say everything, in order."""
        for level, text in self.lines:
            say = getattr(reporter, level, None)  # only the command line's reporters know hints
            if say is not None:
                say(text)
        for result in self.results:
            reporter.emit(result)


class QuietReporter(MemoryReporter):
    """Passes troubles on; everything else goes to the log alone."""

    def __init__(self, loud: MemoryReporter) -> None:
        super().__init__()
        self._loud = loud

    def debug(self, message: str) -> None:
        """Log it."""
        _log.debug("%s", message)

    def info(self, message: str) -> None:
        """Log it."""
        _log.info("%s", message)

    def warning(self, message: str) -> None:
        """Pass it on."""
        self._loud.warning(message)

    def error(self, message: str) -> None:
        """Pass it on."""
        self.failed = True
        self._loud.error(message)

    def exception(self, message: str) -> None:
        """Pass it on."""
        self.failed = True
        self._loud.exception(message)

    def listing(self, line: str) -> None:
        """Log it."""
        _log.info("%s", line)

    def emit(self, result: object) -> None:
        """Drop it."""


def _stop_inactive(server: Server, reporter: ServerReporter) -> None:
    for task in plan_receiver(observe_receiver(server.config)):
        if isinstance(task, StopReceiver):
            reporter.info(f"Server '{server.name}' is inactive: stopping receive-wal subprocess")
            _stop(task.pid, reporter)


def _stop(pid: int, reporter: Reporter) -> bool:
    from barman.cron.processes import terminate_holder

    return terminate_holder(LockHolder("receive-wal", pid), reporter)
