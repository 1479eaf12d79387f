"""Backups of a standby: what only its primary can do for them, what they wait for, and what ends them.

A standby cannot close a WAL segment: the one that the backup ends in is complete when the primary has switched.
"""

from __future__ import annotations

import os
import threading

from barman.backup.record import first_line
from barman.clock import Deadline, monotonic
from barman.errors import BackupError, BarmanError, PostgresError
from barman.logs import Log
from barman.postgres.backup_label import parse_backup_label
from barman.postgres.control_functions import checkpoint, current_position, switch_wal
from barman.postgres.facts import fetch_standby_state
from barman.postgres.wal_name import WalSegment, is_segment_name
from barman.timestamps import format_ctime
from barman.typing import TYPE_CHECKING
from barman.wal.primary import IGNORED, switching_connection

if TYPE_CHECKING:
    from types import TracebackType

    from barman.catalog.backup_info import BackupInfo
    from barman.postgres.facts import ServerFacts, StandbyState
    from barman.report import Reporter
    from barman.server.server import Server

RETRY_SECONDS = 10.0
"""How often a switch of the primary that failed is tried again."""

_FIRST_SECONDS = 1.0
_REPLAY_SECONDS = 60.0
_POLL_SECONDS = 0.1
_LEAVE_SECONDS = 1.0
_LOG = Log(__name__)


def is_of_standby(info: BackupInfo) -> bool:
    """Tell whether a backup was taken from a standby, by its label."""
    try:
        return parse_backup_label(info.backup_label or "").from_standby
    except BarmanError:
        return False


def prepare_standby(server: Server, facts: ServerFacts, reporter: Reporter) -> None:
    """Say what the operator should know before the copy, and let the standby have a restartpoint to begin at.

    A backup of a standby begins at its last restartpoint. Where that lies before all WAL that has come here, or on a
    timeline that the standby has left, the backup would be none: then the primary is asked for a checkpoint.
    """
    if not facts.in_recovery:
        if server.config.primary_conninfo:
            reporter.warning(IGNORED)
        return
    try:
        state = fetch_standby_state(server.postgres)
    except PostgresError as error:
        _LOG.warning("cannot ask the standby of server %s how it replays: %s", server.name, error)
        return
    if state is None:
        return
    if state.paused:
        moment = f", of {format_ctime(state.last_commit)}" if state.last_commit is not None else ""
        reporter.warning(
            f"replay is paused on the standby ({server.postgres.target}): the backup holds the state it stopped at"
            f"{moment}. 'SELECT pg_wal_replay_resume()' on the standby lets it go on"
        )
        return
    reason = _unfit_restartpoint(server, state, facts.segment_size)
    if reason and server.config.primary_conninfo:
        reporter.info(f"The last restartpoint of the standby is {reason}: asking the primary for a checkpoint")
        try:
            _make_restartpoint(server)
        except PostgresError as error:
            reporter.warning(f"the primary cannot be asked for a checkpoint: {explain(error)}")


def _unfit_restartpoint(server: Server, state: StandbyState, segment_size: int) -> str:
    """Return why a backup that begins there would be none; "" when it is fit."""
    if state.redo_timeline != state.timeline:
        return f"on timeline {state.redo_timeline}, and it follows timeline {state.timeline}"
    layout = server.catalog.layout
    begin = WalSegment.containing(state.redo, state.redo_timeline, segment_size).name
    archived = next(filter(is_segment_name, server.catalog.wals.names(timeline=state.redo_timeline)), None)
    queued = [
        name.removesuffix(".partial")
        for directory in (layout.streaming_directory, layout.incoming_directory)
        for name in os.listdir(directory)
    ]
    here = [name for name in (archived, *queued) if name is not None and is_segment_name(name)]
    return "" if here and min(here) <= begin else f"in {begin}, which lies before all WAL that has arrived here"


def _make_restartpoint(server: Server) -> None:
    """Let the primary make a checkpoint, and wait until the standby could follow it. Raises PostgresError."""
    primary = switching_connection(server)
    if primary is server.postgres:
        return  # promoted just now: it has begun with one
    checkpoint(primary)
    written = current_position(primary).lsn
    deadline = Deadline(_REPLAY_SECONDS)
    while written is not None:
        replayed = current_position(server.postgres).lsn
        if replayed is not None and replayed >= written:
            return
        if deadline.expired:
            raise PostgresError(f"the standby has replayed {replayed}, and not {written} within {_REPLAY_SECONDS:g} s")
        deadline.sleep(_POLL_SECONDS)


def close_last_segment(server: Server) -> bool:
    """Switch WAL after a backup; tell whether the segment that it ends in is closed now, or soon by itself.

    False for a standby without `primary_conninfo`. Raises PostgresError; the backup is complete nevertheless.
    """
    return not switch_wal(switching_connection(server)).in_recovery


def timelines_differ(begin: int, end: int, *, in_recovery: bool) -> BackupError:
    """Return the reason why a backup with a change of timeline in it is no backup."""
    if in_recovery:
        return BackupError(
            f"the standby has followed another timeline: the backup began on timeline {begin}, at the last "
            f"restartpoint, and ended on timeline {end}",
            hint="Run CHECKPOINT on the primary, and take another backup.",
        )
    return BackupError(
        f"the server was promoted during the backup: it began on timeline {begin} and ended on timeline {end}",
        hint="Take another backup.",
    )


class PrimaryHelper:
    """Switches the WAL of the primary while a backup of its standby waits for it; a context manager.

    A thread with connections of its own switches as soon as it can, unless that has been done, and tries again when
    it cannot; `primary_checkpoint_timeout` seconds later it makes a checkpoint and switches once more. The end of the
    block ends it at once, however the block ends. What fails is warned of, once for each cause.
    """

    def __init__(self, server: Server, reporter: Reporter, *, switched: bool = False) -> None:
        from barman.server.server import Server as Another

        self._server = Another(server.config)
        self._reporter = reporter
        self._switched = switched
        self._told: set[str] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless that has been done, or there is no primary to ask."""
        if self._thread is None and self._server.config.primary_conninfo:
            self._thread = threading.Thread(target=self._run, name="primary-helper", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End it. One that is waiting for an answer of the primary is left behind, and does nothing more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_LEAVE_SECONDS)

    def __enter__(self) -> PrimaryHelper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        timeout = self._server.config.primary_checkpoint_timeout
        checkpoint_at = monotonic() + timeout if timeout else None
        pause = _FIRST_SECONDS
        while not self._stopped.wait(pause):
            if not self._switched:
                self._switched = self._act()
            if checkpoint_at is not None and monotonic() >= checkpoint_at and self._act(checkpoint_first=True):
                checkpoint_at = None
            if self._switched and checkpoint_at is None:
                return
            pause = RETRY_SECONDS
            if checkpoint_at is not None:
                pause = min(pause, max(_FIRST_SECONDS, checkpoint_at - monotonic()))

    def _act(self, *, checkpoint_first: bool = False) -> bool:
        try:
            connection = switching_connection(self._server)
            if checkpoint_first:
                _LOG.info("running CHECKPOINT on the primary of server %s", self._server.name)
                checkpoint(connection)
            if self._stopped.is_set():
                return True
            switch_wal(connection)
        except PostgresError as error:
            self._tell(error)
            return False
        finally:
            self._server.close()
        return True

    def _tell(self, error: PostgresError) -> None:
        if error.message in self._told or self._stopped.is_set():
            return
        self._told.add(error.message)
        self._reporter.warning(
            f"cannot switch WAL on the primary, which is tried every {RETRY_SECONDS:g} seconds: {explain(error)}"
        )


def what_helps(server: Server, info: BackupInfo, missing: str | None) -> str:
    """Return what to tell about a backup of a standby that waits for its WAL; "" when there is nothing to add."""
    if not is_of_standby(info) or missing is None or info.begin_wal is None:
        return ""
    begin, newest = info.begin_wal, server.catalog.wals.newest_segment(int(info.begin_wal[:8], 16))
    if newest is not None and missing < newest:
        return (
            f"The backup begins at the last restartpoint of the standby, in {begin}; {missing} is older than WAL that "
            "has been archived, and may never come. Then run CHECKPOINT on the primary, and take another backup."
        )
    if server.config.primary_conninfo:
        how = f"'barman switch-wal {info.server_name}' closes the current one"
    else:
        how = (
            "'SELECT pg_switch_wal()' on the primary closes the current one; with primary_conninfo in the "
            "configuration Barman does so"
        )
    return f"The backup was taken from a standby, and only the primary can close {missing}: {how}."


def explain(error: BaseException) -> str:
    """Return the first line of an error and its hint, for a warning."""
    hint = getattr(error, "hint", "")
    return f"{first_line(error)}. {hint}" if hint else first_line(error)
