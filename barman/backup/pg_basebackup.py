"""Take a backup with pg_basebackup, straight into its final directory."""

from __future__ import annotations

import os
from collections import deque
from contextlib import ExitStack

from barman import clock
from barman.backup.executor import BackupOutcome
from barman.backup.plan import BasebackupPlan, plan_basebackup
from barman.backup.progress import BackupProgress
from barman.backup.standby import PrimaryHelper, close_last_segment, explain, timelines_differ
from barman.backup.tar_files import Content
from barman.backup.tar_follow import ArchiveFollower
from barman.backup.tar_options import require_tools
from barman.backup.tar_seal import remove_plain_archives, seal_archives
from barman.errors import BackupError, CommandFailed, PostgresError
from barman.fs import durable
from barman.logs import Log, redact
from barman.postgres.backup_label import BackupLabel, parse_backup_label
from barman.postgres.backup_manifest import BackupManifest
from barman.postgres.backup_manifest import read as read_manifest
from barman.postgres.control_functions import current_position
from barman.postgres.facts import fetch_in_recovery, fetch_timeline
from barman.postgres.programs import (
    PG_BASEBACKUP,
    BasebackupOptions,
    basebackup_argv,
    find_pg_basebackup,
    require,
)
from barman.process import Child, describe_status, tied_argv
from barman.server.filters import gpg_of
from barman.typing import TYPE_CHECKING
from barman.units import format_age
from barman.values import replace

if TYPE_CHECKING:
    from datetime import datetime

    from barman.backup.record import RunningRecord
    from barman.backup.request import BackupRequest
    from barman.catalog.backup_id import BackupId
    from barman.catalog.catalog import CatalogView
    from barman.encryption.gpg import Gpg
    from barman.postgres.facts import ServerFacts
    from barman.postgres.lsn import Lsn
    from barman.report import Reporter
    from barman.server.server import Server

_LOG = Log(__name__)
_KEPT_LINES = 50
_MAX_LABEL_BYTES = 1024 * 1024
# pg_basebackup repeats it while the server waits for `archive_command`.
_WAITING = "waiting for required WAL segments to be archived"
_STILL_WAITING = "still waiting for all required WAL segments to be archived"
# What PostgreSQL refuses an incremental backup with when wal_summary_keep_time is over (basebackup_incremental.c).
_SUMMARIES_HINT = (
    "The server has no WAL summaries from the parent on any more: take a full backup, and set wal_summary_keep_time to "
    "more than the time between an incremental backup and its parent."
)


class BasebackupExecutor:
    """`backup_method = postgres`."""

    mode = "postgres"

    def __init__(self, server: Server) -> None:
        self._server = server
        self._follower: ArchiveFollower | None = None
        self._gpg: Gpg | None = None
        self._standby: ServerFacts | None = None
        self._helper: PrimaryHelper | None = None

    def plan(self, request: BackupRequest, facts: ServerFacts, view: CatalogView) -> BasebackupPlan:
        """Find the program and judge the request.

        Raises BackupError, CodecError, EncryptionError, NotSupportedByServer.
        """
        self._standby = facts if facts.in_recovery else None
        found = find_pg_basebackup(self._server.search_path, facts.version)
        program = require(found, PG_BASEBACKUP, facts.version)
        plan = plan_basebackup(request, self._server.config, facts, program, view)
        require_tools(self._server.config, program)
        if self._server.config.encryption == "gpg":
            self._gpg = gpg_of(self._server.config)
            self._gpg.try_out()
        if plan.parent_id is not None:
            self._require_manifest(plan.parent_id)
        return plan

    def _require_manifest(self, parent_id: BackupId) -> None:
        """PostgreSQL compares with the manifest of the parent: without it nothing is told to it."""
        path = self._server.catalog.layout.backup_manifest(parent_id)
        if not os.path.isfile(path):
            raise BackupError(
                f"failed to start backup: the manifest of backup {parent_id} is missing: {path}",
                hint="Name another parent, or take a full backup: leave out --incremental.",
            )

    def execute(self, plan: BasebackupPlan, record: RunningRecord, reporter: Reporter) -> BackupOutcome:
        """Run pg_basebackup, then read from its result where the backup begins and ends.

        Archives that are to be encrypted do not stay in the clear when that, or anything before it, fails.
        """
        try:
            return self._execute(plan, record, reporter)
        except BaseException:
            if self._gpg is not None:
                remove_plain_archives(self._server.catalog.layout.data_directory(record.backup_id))
            raise

    def _execute(self, plan: BasebackupPlan, record: RunningRecord, reporter: Reporter) -> BackupOutcome:
        record.action = "copying files"
        # Recorded now: should this run be killed, the next command knows that nothing may stay in the clear.
        sealed_with = self._gpg.name if self._gpg is not None else None
        record.change(compression=plan.recorded_compression, encryption=sealed_with)
        self._warn_of_external_files(plan, reporter)
        if plan.warning:
            reporter.warning(plan.warning)
        reporter.info(f"Starting backup copy via pg_basebackup for {record.backup_id}")
        started = clock.monotonic()
        self._copy_with_retries(plan, record, reporter)
        copy_seconds = clock.monotonic() - started
        reporter.info(f"Copy done (time: {format_age(copy_seconds)})")
        content = self._read_archives(record) if plan.recorded_compression is not None else None
        label, manifest = self._read_results(record, content)
        if self._gpg is not None:
            record.action = "encrypting the backup"
            reporter.info("Encrypting backup using gpg encryption")
            seal_archives(self._server.catalog.layout.data_directory(record.backup_id), self._gpg)
        reporter.info("Finalising the backup.")
        outcome = self._finish(label, manifest, copy_seconds, reporter)
        return outcome if content is None else replace(outcome, archived=content.files)

    def _warn_of_external_files(self, plan: BasebackupPlan, reporter: Reporter) -> None:
        if not plan.external_files:
            return
        text = "pg_basebackup does not copy the PostgreSQL configuration files that reside outside PGDATA. "
        text += "Please manually backup the following files:\n" + "\n".join(f"\t{path}" for path in plan.external_files)
        # A user who says so has taken care of those files.
        silenced = "external_configuration" in self._server.config.backup_options
        (reporter.debug if silenced else reporter.warning)(text)

    # --- the copy

    def _copy_with_retries(self, plan: BasebackupPlan, record: RunningRecord, reporter: Reporter) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._copy(plan, record, reporter)
            except CommandFailed as error:
                self._refuse_promoted(error)
                if attempt > plan.retry_times:
                    raise
                reporter.warning(f"Failure executing a backup using pg_basebackup (attempt {attempt}): {error.message}")
                reporter.warning(f"The backup is tried again in {plan.retry_sleep:g} seconds")
            clock.sleep(plan.retry_sleep)

    def _refuse_promoted(self, error: CommandFailed) -> None:
        """Give the reason of a failure when that is the promotion of the standby. Raises BackupError."""
        if self._standby is None:
            return
        try:
            if fetch_in_recovery(self._server.postgres):
                return
            timeline = fetch_timeline(self._server.postgres)
        except PostgresError:
            return  # it is down, or another one: the program's own words tell more
        raise timelines_differ(self._standby.timeline or 1, timeline, in_recovery=False) from error

    def _copy(self, plan: BasebackupPlan, record: RunningRecord, reporter: Reporter) -> None:
        options = self._prepare_destination(plan, record)
        server = self._server
        conninfo = server.streaming.libpq_conninfo(server.config.streaming_backup_name)
        argv = basebackup_argv(plan.program, conninfo, options)
        environment = {**(server.environment or os.environ), **server.streaming.program_environment()}
        # A firewall may forget a connection that is idle for hours; both are opened again when they are needed.
        server.streaming.close()
        server.postgres.close()
        _LOG.info("running %s", redact(" ".join(argv)))
        tail: deque[str] = deque(maxlen=_KEPT_LINES)
        progress = BackupProgress(server, reporter, options.directory)

        def hear(line: str) -> None:
            self._hear(line, tail, reporter)

        # Tied to this process: after a SIGKILL nobody else would keep it from filling the disk, or a deleted backup.
        tied = tied_argv(*argv)
        with ExitStack() as around:
            if plan.recorded_compression is not None:
                self._follower = around.enter_context(ArchiveFollower(options.directory))
            if self._standby is not None:
                self._helper = around.enter_context(PrimaryHelper(server, reporter))
            child = around.enter_context(Child(tied, env=environment, on_stdout=_log, on_stderr=hear))
            status = progress.watch(child)
            if status != 0:
                raise _copy_failure(options.directory, status, list(tail))

    def _prepare_destination(self, plan: BasebackupPlan, record: RunningRecord) -> BasebackupOptions:
        """Create the directories that pg_basebackup fills, empty, and only ours.

        These are the only names that we have to make durable. What it puts into them pg_basebackup syncs itself
        before it exits with 0, tablespaces included (it is never run with --no-sync): walking the tree again would
        cost minutes and promise nothing more.
        """
        layout = self._server.catalog.layout
        backup_id = record.backup_id
        data = layout.data_directory(backup_id)
        tablespaces = {space.location: layout.tablespace_directory(backup_id, space.oid) for space in plan.tablespaces}
        for directory in (data, *tablespaces.values()):
            if os.path.lexists(directory):
                durable.remove_tree(directory)
            durable.make_directory(directory)
            durable.change_mode(directory, 0o700)
        return BasebackupOptions(
            directory=data,
            tablespaces=tablespaces,
            max_rate=plan.max_rate,
            incremental_manifest=None if plan.parent_id is None else layout.backup_manifest(plan.parent_id),
            fast_checkpoint=plan.fast_checkpoint,
            target_gp_dbid=plan.target_gp_dbid,
            compression=plan.compression,
        )

    def _hear(self, line: str, tail: deque[str], reporter: Reporter) -> None:
        """Take a line of the program's standard error; called by another thread."""
        _log(line)
        tail.append(redact(line))
        if _STILL_WAITING in line:
            reporter.warning(
                "PostgreSQL waits for its archive_command before it ends the backup: check that archiving works"
            )
        if _WAITING in line and self._helper is not None:
            self._help(self._helper, reporter)

    def _help(self, helper: PrimaryHelper, reporter: Reporter) -> None:
        """On a standby nobody else completes the segment that the backup waits for."""
        if self._server.config.primary_conninfo:
            helper.start()
        else:
            reporter.warning(
                "the standby waits for its archive_command (archive_mode = always), and only its primary can close the "
                "segment that the backup ends in: run 'SELECT pg_switch_wal()' on the primary, or set primary_conninfo"
            )

    # --- after the copy

    def _read_archives(self, record: RunningRecord) -> Content:
        """Return what the archives hold: one that cannot be read to its end is no backup. Paths are of plain files."""
        record.action = "reading the archives of the backup"
        assert self._follower is not None
        files: dict[str, int] = {}
        label = None
        for archive, content in self._follower.contents():
            place = "data" if archive.oid is None else str(archive.oid)
            files.update((f"{place}/{name}", size) for name, size in content.files.items())
            if archive.oid is None:
                label = content.label
        return Content(files, label=label)

    def _read_results(
        self, record: RunningRecord, content: Content | None
    ) -> tuple[BackupLabel, BackupManifest | None]:
        data = self._server.catalog.layout.data_directory(record.backup_id)
        if content is None:
            text: bytes | None = _read(os.path.join(data, "backup_label"))
        else:
            text = content.label
        if text is None:
            raise BackupError(f"the archive of the data directory in '{data}' holds no backup_label")
        label = parse_backup_label(text.decode("utf-8", "replace"))
        manifest_path = os.path.join(data, "backup_manifest")
        manifest = read_manifest(manifest_path) if os.path.exists(manifest_path) else None
        return label, manifest

    def _finish(
        self, label: BackupLabel, manifest: BackupManifest | None, copy_seconds: float, reporter: Reporter
    ) -> BackupOutcome:
        """Find the end of the backup and close the segment that it lies in.

        The manifest names the stop position of this very backup. Before PostgreSQL 13 there is none: then the present
        position serves, which is later, so at worst one segment more is asked for.
        """
        end_time = clock.now()
        if manifest is not None and manifest.wal_ranges:
            last = max(manifest.wal_ranges, key=lambda found: found.timeline)
            end_timeline, end_xlog = last.timeline, last.end
            try:
                end_time = current_position(self._server.postgres).time
            except PostgresError as error:
                _LOG.warning("cannot ask the server for the time: %s", error)
        else:
            end_timeline, end_xlog, end_time = self._present_position(label)
        closed = self._close_segment(reporter)
        return BackupOutcome(
            label=label.text,
            timeline=label.timeline,
            end_timeline=end_timeline,
            begin_xlog=label.start_lsn,
            end_xlog=end_xlog,
            end_time=end_time,
            copy_seconds=copy_seconds,
            files=None if manifest is None else {file.path: file.size for file in manifest.files},
            closed=closed,
        )

    def _close_segment(self, reporter: Reporter) -> bool:
        """Switch WAL. Nothing is lost if that fails: the data are here and complete."""
        try:
            return close_last_segment(self._server)
        except PostgresError as error:
            reporter.warning(f"cannot switch WAL after the backup, its last segment may arrive late: {explain(error)}")
            return False

    def _present_position(self, label: BackupLabel) -> tuple[int, Lsn, datetime]:
        position = current_position(self._server.postgres)
        if position.lsn is None:
            raise BackupError("the server does not tell its WAL position after the backup")
        timeline = position.segment.timeline if position.segment is not None else self._timeline(label)
        return timeline, position.lsn, position.time

    def _timeline(self, label: BackupLabel) -> int:
        """Ask a standby, which names no segment."""
        return fetch_timeline(self._server.postgres) or label.timeline


def _log(line: str) -> None:
    _LOG.info("pg_basebackup: %s", redact(line))


def _copy_failure(directory: str, status: int, lines: list[str]) -> CommandFailed:
    """The first line names the directory, as upstream's does, and then what the program gave as the reason."""
    errors = [line for line in lines if "error:" in line or "FATAL:" in line]
    reason = (errors or lines or [f"pg_basebackup ended with {describe_status(status)}"])[-1].strip()
    if status < 0:
        reason = f"pg_basebackup was ended by {describe_status(status)}"
    stderr = "\n".join(lines)
    return CommandFailed(
        f"data transfer failure on directory '{directory}': {reason}\n{stderr}".rstrip(),
        hint=_SUMMARIES_HINT if "WAL summaries are required" in stderr else "",
        returncode=status,
        stderr=stderr,
    )


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_LABEL_BYTES)
    except OSError as error:
        raise BackupError(f"cannot read '{path}': {error.strerror}") from error
