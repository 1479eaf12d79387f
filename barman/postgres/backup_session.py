"""A low-level backup: begun and ended in one session of the server, which aborts it when the session goes.

Sources: PostgreSQL manual, "Making a Base Backup Using the Low Level API" and "Backup Control Functions". The functions
were renamed in PostgreSQL 15.
"""

from __future__ import annotations

from barman.errors import BackupError, CannotConnect, PostgresError
from barman.postgres.backup_label import BackupLabel, parse_backup_label
from barman.postgres.facts import fetch_in_recovery, fetch_timeline
from barman.postgres.lsn import Lsn
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from barman.postgres.connection import Heartbeat, PostgresConnection

_RENAMED = 150000
_IDLE_TIMEOUT_SINCE = 140000
_END_TIMELINE = """
SELECT CASE WHEN pg_is_in_recovery() THEN
           (SELECT NULLIF(min_recovery_end_timeline, 0) FROM pg_control_recovery())
       END,
       (SELECT timeline_id FROM pg_control_checkpoint()),
       now()
"""


class Promoted(BackupError):
    """The standby was promoted while it was backed up; `timeline` is the new one."""

    def __init__(self, timeline: int) -> None:
        super().__init__(f"the server was promoted during the backup, to timeline {timeline}")
        self.timeline = timeline


@dataclass(frozen=True, slots=True)
class BackupBegin:
    """Where the server began the backup, and when by its own clock, read before the beginning."""

    lsn: Lsn
    time: datetime


@dataclass(frozen=True, slots=True)
class BackupEnd:
    """Where the backup ended; `label` and `tablespace_map` are what belongs into the copied data directory."""

    lsn: Lsn
    timeline: int
    time: datetime
    label: BackupLabel
    tablespace_map: str


class BackupSession:
    """One backup on one connection. `hold()` keeps to that session: a lost connection is an error, never replaced."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection
        self._in_recovery = False

    def hold(self) -> AbstractContextManager[None]:
        """Keep to one server session until the end of the block."""
        return self._connection.hold()

    def keepalive(self, interval: float) -> AbstractContextManager[Heartbeat]:
        """Send a tiny query now and then; see PostgresConnection.keepalive."""
        return self._connection.keepalive(interval)

    def begin(self, label: str, *, fast: bool) -> BackupBegin:
        """Begin the backup; waits for a checkpoint. Raises PostgresError."""
        version = self._connection.server_version.number
        if version >= _IDLE_TIMEOUT_SINCE:
            self._connection.execute("SET idle_session_timeout TO 0")
        self._connection.execute("SET statement_timeout TO 0")
        call = "pg_backup_start(%s, %s)" if version >= _RENAMED else "pg_start_backup(%s, %s, false)"
        # The clock in a statement of its own: the first page is read after it, whatever the planner does.
        moment, self._in_recovery = self._connection.query("SELECT now(), pg_is_in_recovery()")[0]
        lsn = self._connection.value(f"SELECT {call}", (label, fast))
        return BackupBegin(Lsn.parse(str(lsn)), moment)

    def check(self) -> None:
        """Look, without a round trip, whether the session still stands. Raises CannotConnect when it is gone."""
        self._connection.connect()

    def end(self) -> BackupEnd:
        """End the backup without waiting for its WAL to be archived: whoever judges the backup waits for that.

        Raises Promoted, PostgresError, BackupError.
        """
        version = self._connection.server_version.number
        call = "pg_backup_stop(false)" if version >= _RENAMED else "pg_stop_backup(false, false)"
        try:
            rows = self._connection.query(f"SELECT lsn, labelfile, spcmapfile FROM {call}")
        except CannotConnect:
            raise
        except PostgresError as error:
            # It says so in the language of the server; its state has none.
            if self._in_recovery and not fetch_in_recovery(self._connection):
                raise Promoted(fetch_timeline(self._connection)) from error
            raise
        if not rows or rows[0][1] is None:
            raise BackupError("the server did not return the label of the backup")
        lsn, label_text, spaces = rows[0]
        label = parse_backup_label(str(label_text))
        recovered, timeline, moment = self._connection.query(_END_TIMELINE)[0]
        return BackupEnd(Lsn.parse(str(lsn)), int(recovered or timeline), moment, label, str(spaces or ""))
