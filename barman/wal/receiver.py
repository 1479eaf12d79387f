"""receive-wal: run pg_receivewal for one server until interrupted, in the foreground.

One receiver a server, held by its lock. The receiver supervises: it passes output on, decides whether reception is
synchronous, and decides it again while it runs, because a server that waits for a receiver which flushes only whole
segments hangs at every commit. It does not outlive a restart of PostgreSQL: cron starts it again.
"""

from __future__ import annotations

import os
import queue
import signal
from contextlib import contextmanager

from barman.clock import Deadline, monotonic, sleep
from barman.errors import BarmanError, DeadlineExceeded, Interrupted, LockBusy, PostgresError, WalError
from barman.fs import durable
from barman.logs import Log, redact
from barman.postgres.programs import PG_RECEIVEWAL, find_pg_receivewal, receivewal_argv, require
from barman.postgres.synchronous import is_synchronous_name
from barman.postgres.wal_name import PartialSegment, WalSegment, parse_wal_name
from barman.process import Child, terminate_process, tied_argv
from barman.typing import TYPE_CHECKING
from barman.wal.fork import follow_fork
from barman.wal.receiver_state import (
    ReceiverState,
    fingerprint,
    orphan,
    remove_state,
    start_time,
    write_state,
)
from barman.wal.slots import create_slot, missing_slot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.config.server_config import ServerConfig
    from barman.postgres.facts import ServerFacts
    from barman.postgres.programs import Program
    from barman.report import Reporter
    from barman.server.server import Server

RECHECK_SECONDS = 20.0
"""How often a running receiver asks the server who counts as synchronous: well within one run of cron."""

_STOP_SECONDS = 10.0
_ORPHAN_SECONDS = 3.0
_SLOT_SECONDS = 10.0
_SLOT_GRACE_SECONDS = 2.0  # a server needs a moment to notice that a receiver has just gone

_log = Log(__name__)


def receive_wal(server: Server, reporter: Reporter, *, recheck_seconds: float = RECHECK_SECONDS) -> None:
    """Receive WAL until SIGINT or SIGTERM (graceful, returns) or until the program ends by itself.

    Every `recheck_seconds` the server is asked again who counts as synchronous.

    Raises:
        BarmanError: refused, or the program failed; the message says which.
    """
    config = server.config
    if not config.streaming_archiver:
        raise WalError(
            "Unable to start receive-wal process: streaming_archiver option set to 'off' in barman configuration file",
            hint=f"Set streaming_archiver = on in section [{server.name}].",
        )
    facts = preflight(server)
    server.catalog.ensure_directories()
    reporter.info(f"Starting receive-wal for server {server.name}")
    with receiver_lock(server, f"Another receive-wal process is already running for server {server.name}."):
        program = require(find_pg_receivewal(server.search_path, facts.version), PG_RECEIVEWAL, facts.version)
        ended_one = end_orphan(server, reporter)
        _prepare_slot(server, facts, reporter, _SLOT_SECONDS if ended_one else _SLOT_GRACE_SECONDS)
        if facts.streaming is not None and facts.streaming.identity is not None:
            follow_fork(server, facts.streaming.identity, facts.segment_size, reporter)
        repair_partial(server.catalog.layout.streaming_directory, facts.segment_size, reporter)
        try:
            Receiver(server, reporter, program, recheck_seconds).run(
                facts.settings.get("synchronous_standby_names", "")
            )
        except Interrupted as interruption:
            reporter.info(f"{interruption.signal_name} received. Terminate gracefully.")


def describe_overrides(config: ServerConfig) -> str | None:
    """The line that says which connections `wal_conninfo` and `wal_streaming_conninfo` replace; None if none."""
    overrides: list[tuple[str, object]] = []
    if config.wal_streaming_conninfo:
        overrides.append(("streaming_conninfo", config.wal_streaming_conninfo))
    if config.wal_conninfo or config.wal_streaming_conninfo:
        overrides.append(("conninfo", config.wal_conninfo or config.wal_streaming_conninfo))
    if not overrides:
        return None
    shown = " and ".join(f"'{name}' overridden with '{redact(str(value))}'" for name, value in overrides)
    return f"Configuration overrides applied: {shown}"


def preflight(server: Server) -> ServerFacts:
    """Read what the server is, and refuse what cannot be streamed from.

    Raises:
        WalError: `Impossible to start WAL streaming. ` and every reason.
    """
    from barman.postgres.facts import read_facts

    try:
        facts = read_facts(server.wal_postgres, server.wal_streaming, slot_name=server.config.slot_name or None)
    except PostgresError as error:
        raise _impossible(server, [error.message], error.hint) from error
    reasons = []
    streaming = facts.streaming
    if facts.privileges.monitoring is False:
        reasons.append("privileges for PostgreSQL monitoring functions are required")
    if streaming is None or streaming.identity is None:
        reasons.append(streaming.error if streaming and streaming.error else "no streaming connection")
    elif facts.system_id is not None and streaming.identity.systemid != facts.system_id:
        reasons.append("streaming connection and SQL connection lead to different clusters")
    else:
        reasons += _foreign_cluster(server, streaming.identity.systemid)
    if facts.settings.get("wal_level") == "minimal":
        reasons.append("wal_level is 'minimal'")
    if reasons:
        raise _impossible(server, reasons)
    return facts


@contextmanager
def receiver_lock(server: Server, refusal: str) -> Iterator[None]:
    """Hold the receiver's lock, or say `refusal`.

    Raises:
        WalError: a receiver runs already.
    """
    lock = server.catalog.locks.receive_wal()
    try:
        lock.acquire()
    except LockBusy as busy:
        hint = f"It is process {busy.holder}: 'barman list-processes {server.name}'." if busy.holder else ""
        raise WalError(refusal, hint=hint) from busy
    try:
        yield
    finally:
        lock.release()


def end_orphan(server: Server, reporter: Reporter) -> bool:
    """End the program of a receiver that died without ending it, and tell whether there was one.

    The caller holds the receiver's lock.
    """
    layout = server.catalog.layout
    pid = orphan(layout)
    if pid is None:
        return False
    reporter.warning(f"ending pg_receivewal({pid}), which a receive-wal process of server {server.name} left behind")
    for number in (signal.SIGINT, signal.SIGKILL):
        terminate_process(pid, number)
        deadline = Deadline(_ORPHAN_SECONDS)
        while orphan(layout) is not None and not deadline.expired:
            sleep(0.05)
        if orphan(layout) is None:
            break
    remove_state(layout)
    return True


def repair_partial(directory: str, segment_size: int, reporter: Reporter) -> None:
    """Empty the newest `.partial` if its size is odd.

    pg_receivewal fills a segment with zeros before it writes WAL into it, and refuses to go on with one of another
    size than 0 or the segment's. An odd size is what a crash during the filling leaves: there is no WAL in it, or none
    that would not be sent again.
    """
    partials = sorted(name for name in _names(directory) if isinstance(_parse(name), PartialSegment))
    if not partials:
        return
    path = os.path.join(directory, partials[-1])
    size = os.stat(path).st_size
    if size not in (0, segment_size):
        reporter.info(f"Truncating partial file {path} that has wrong size {size} while {segment_size} was expected.")
        durable.truncate(path, 0)


def reset_receiver(server: Server, reporter: Reporter) -> None:
    """Let the next receiver start at the slot's restart position, or at the server's current one without a slot.

    The content of the newest `.partial` is given up; complete segments stay.

    Raises:
        WalError: no connection, a receiver runs, or the directory is ahead of the server.
        PostgresError: the slot is missing.
    """
    facts = preflight(server)
    identity = facts.streaming.identity if facts.streaming else None
    if identity is None:
        raise AssertionError("the preflight refuses a server without streaming connection")
    current = WalSegment.containing(identity.xlogpos, identity.timeline, facts.segment_size)
    restart: WalSegment | None = current
    if server.config.slot_name:
        if facts.slot is None:
            raise PostgresError(missing_slot(server.config.slot_name, server.name))
        position = facts.slot.restart_lsn  # None before the slot's first use
        restart = None
        if position is not None:
            restart = WalSegment.containing(position, identity.timeline, facts.segment_size)
    server.catalog.ensure_directories()
    refusal = f"Unable to reset the status of receive-wal for server {server.name}. Process is still running"
    with receiver_lock(server, refusal):
        _reset(server.catalog.layout.streaming_directory, restart, current, reporter)


def _reset(directory: str, restart: WalSegment | None, current: WalSegment, reporter: Reporter) -> None:
    found = [
        (parsed, name) for name in _names(directory) if isinstance(parsed := _parse(name), WalSegment | PartialSegment)
    ]
    newest = max(found, key=lambda item: item[0].segment, default=None)
    if (newest and newest[0].segment) == restart:
        reporter.info("Nothing to do. Position of receive-wal is aligned.")
        return
    if newest is not None and newest[0].segment > current:
        raise WalError(
            f"the receive-wal position is ahead of the server's: newest file '{newest[1]}', server at {current.name}",
            hint=f"Check that the server is the right one, or move the files of '{directory}' away.",
        )
    reporter.info("Resetting receive-wal directory status")
    status = os.path.join(directory, PartialSegment(restart or current).name)
    if newest is not None and isinstance(newest[0], PartialSegment):
        old = os.path.join(directory, newest[1])
        reporter.info(f"Removing status file {old}")
        durable.remove([old])
    reporter.info(f"Creating status file {status}")
    durable.write_atomic(status, b"", 0o600)


class Receiver:
    """Runs pg_receivewal and keeps it fitting to the server's settings; the caller holds the lock."""

    def __init__(
        self, server: Server, reporter: Reporter, program: Program, recheck_seconds: float = RECHECK_SECONDS
    ) -> None:
        self._server = server
        self._reporter = reporter
        self._program = program
        self._recheck_seconds = recheck_seconds
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._conninfo = server.wal_streaming.libpq_conninfo(server.config.streaming_archiver_name)
        self._environment = {**(server.environment or os.environ), **server.wal_streaming.program_environment()}
        self._name = server.wal_streaming.application_name or server.config.streaming_archiver_name

    def run(self, standby_names: str) -> None:
        """Run until the program ends by itself, whenever its arguments change with a new one.

        Raises:
            WalError: the program failed.
            Interrupted: asked to stop; the program has ended.
        """
        synchronous = is_synchronous_name(self._name, standby_names)
        while True:
            status = self._run_once(synchronous)
            if status is None:
                synchronous = not synchronous
                self._wait_for_slot()
                continue
            if status < 0:
                raise WalError(f"{PG_RECEIVEWAL[0]} terminated by signal: {-status}")
            if status > 0:
                raise WalError(f"{PG_RECEIVEWAL[0]} terminated with error code: {status}")
            return

    def _run_once(self, synchronous: bool) -> int | None:
        """The program's status, or None after ending it because it must run the other way from now on."""
        layout = self._server.catalog.layout
        argv = receivewal_argv(
            self._program,
            self._conninfo,
            layout.streaming_directory,
            slot_name=self._server.config.slot_name or None,
            synchronous=synchronous,
        )
        _log.debug("running %s", argv)
        # Nothing is asked of the server while it streams: connections are not kept for hours.
        self._server.close()
        child = Child(
            tied_argv(*argv),
            env=self._environment,
            on_stdout=self._lines.put,
            on_stderr=self._lines.put,
        )
        try:
            write_state(
                layout,
                ReceiverState(
                    os.getpid(), child.pid, start_time(child.pid), fingerprint(self._server.config), synchronous
                ),
            )
            return self._supervise(child, synchronous)
        finally:
            self._end(child)
            remove_state(layout)

    def _supervise(self, child: Child, synchronous: bool) -> int | None:
        recheck = monotonic() + self._recheck_seconds
        while (status := child.poll()) is None:
            self._report_lines(0.5)
            if monotonic() >= recheck:
                recheck = monotonic() + self._recheck_seconds
                if self._wants_synchronous(synchronous) != synchronous:
                    self._say("synchronous_standby_names changed: starting pg_receivewal anew")
                    return None
        return status

    def _wants_synchronous(self, now: bool) -> bool:
        """What the server's setting asks for; what is now if it cannot be asked."""
        from barman.postgres.facts import fetch_setting

        try:
            names = fetch_setting(self._server.wal_postgres, "synchronous_standby_names")
        except PostgresError as error:
            _log.debug("cannot read synchronous_standby_names: %s", error)
            return now
        finally:
            self._server.close()
        return now if names is None else is_synchronous_name(self._name, names)

    def _wait_for_slot(self) -> None:
        """Until the server has noticed that the old program left its slot."""
        slot_name = self._server.config.slot_name
        if slot_name:
            wait_for_free_slot(self._server, slot_name, _SLOT_SECONDS)

    def _end(self, child: Child) -> None:
        """End the program in good order, whatever signals arrive meanwhile, and pass on its last words."""
        if child.poll() is None:
            child.interrupt()
            try:
                child.wait(Deadline(_STOP_SECONDS))
            except DeadlineExceeded:
                child.kill()
        child.close()
        self._report_lines(0)

    def _report_lines(self, seconds: float) -> None:
        """Pass on the lines that are there; wait up to `seconds` for a first one."""
        try:
            self._say(self._lines.get(timeout=seconds) if seconds else self._lines.get_nowait())
            while True:
                self._say(self._lines.get_nowait())
        except queue.Empty:
            pass

    def _say(self, line: str) -> None:
        self._reporter.info(f"{self._server.name}: {line}")


def wait_for_free_slot(server: Server, slot_name: str, seconds: float) -> bool:
    """Wait until nobody uses the slot, for a while; whether that is so."""
    from barman.postgres.facts import fetch_slot

    deadline = Deadline(seconds)
    while True:
        slot = fetch_slot(server.wal_postgres, slot_name)
        if slot is None or not slot.active:
            return True
        if deadline.expired:
            return False
        sleep(0.1)


def _prepare_slot(server: Server, facts: ServerFacts, reporter: Reporter, patience: float) -> None:
    name = server.config.slot_name
    if not name:
        return
    if facts.slot is None:
        if server.config.create_slot != "auto":
            raise PostgresError(missing_slot(name, server.name))
        create_slot(server, reporter, if_not_exists=True)
    elif facts.slot.active and not wait_for_free_slot(server, name, patience):
        raise PostgresError(
            f"replication slot '{name}' is already in use",
            hint="Another receiver or standby uses it: every receiver needs a slot of its own.",
        )


def _impossible(server: Server, reasons: list[str], hint: str = "") -> WalError:
    return WalError(
        f"Impossible to start WAL streaming. {'; '.join(reasons)}",
        hint=hint or f"Run 'barman check {server.name}' for details.",
    )


def _foreign_cluster(server: Server, system_id: str) -> list[str]:
    try:
        recorded = server.catalog.identity.read()
    except BarmanError as error:
        return [error.message]
    if recorded is not None and recorded.systemid != system_id:
        path = server.catalog.layout.identity
        return [f'the system Id of the connected PostgreSQL server changed, stored in "{path}"']
    return []


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _parse(name: str) -> object:
    try:
        return parse_wal_name(name)
    except WalError:
        return None
