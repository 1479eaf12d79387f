"""How far pg_basebackup has come: from the server's own view of it, else from what has arrived."""

from __future__ import annotations

import os

from barman import clock
from barman.clock import Deadline
from barman.errors import DeadlineExceeded, PostgresError
from barman.report import Progress
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.process import Child
    from barman.report import Reporter
    from barman.server.server import Server

_EVERY_SECONDS = 1.0
_VIEW_SINCE = 130000
_SQL = """
SELECT p.phase, p.backup_streamed, p.backup_total
  FROM pg_catalog.pg_stat_progress_basebackup p
  JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE a.application_name = %s
 ORDER BY a.backend_start DESC LIMIT 1
"""


class BackupProgress:
    """Shows progress once a second while somebody watches; without a terminal it asks nobody anything.

    The numbers are the server's (`pg_stat_progress_basebackup`, PostgreSQL 13 and later, for a role that may see the
    statistics of others); otherwise the space that the destination has lost.
    """

    def __init__(self, server: Server, reporter: Reporter, directory: str) -> None:
        self._server = server
        self._reporter = reporter
        self._directory = directory
        # Progress is drawn only on terminals (see Reporter.progress): then alone is it worth a query a second.
        self._watched = os.isatty(1) and os.isatty(2)
        self._from_server = True
        self._seen = 0
        self._started = clock.monotonic()
        self._free_before = self._free() if self._watched else 0

    def watch(self, child: Child) -> int:
        """Wait for the end of the program and return its status; show meanwhile how far it is."""
        if not self._watched:
            return child.wait()
        try:
            while True:
                try:
                    return child.wait(Deadline(_EVERY_SECONDS))
                except DeadlineExceeded:
                    self._reporter.progress(self._ask())
        finally:
            self._server.postgres.close()

    def _ask(self) -> Progress:
        if self._from_server:
            try:
                return self._ask_server()
            except PostgresError:
                self._from_server = False
        return self._progress("Copying", max(0, self._free_before - self._free()), None)

    def _ask_server(self) -> Progress:
        postgres = self._server.postgres
        if postgres.server_version.number < _VIEW_SINCE:
            raise PostgresError("no pg_stat_progress_basebackup before PostgreSQL 13")
        rows = postgres.query(_SQL, (self._application_name(),))
        if not rows or rows[0][1] is None:
            # Before the copy the server has no figures yet; after it the program makes its result durable.
            label = "Making the copy durable" if self._seen else "Waiting for the checkpoint"
            return self._progress(label, self._seen, None)
        phase, streamed, total = rows[0]
        self._seen = int(streamed)
        label = "Copying" if phase == "streaming database files" else str(phase).capitalize()
        return self._progress(label, int(streamed), None if total is None else int(total))

    def _progress(self, label: str, done: int, total: int | None) -> Progress:
        return Progress(label, done, total, started_at=self._started)

    def _application_name(self) -> str:
        from barman.postgres.conninfo import parse

        conninfo = parse(str(self._server.config.streaming_conninfo))
        return conninfo.get("application_name") or str(self._server.config.streaming_backup_name)

    def _free(self) -> int:
        facts = os.statvfs(self._directory)
        return facts.f_bavail * facts.f_frsize
