"""Take a backup with rsync: begin on the server, copy its files, end on the server, write what makes it a backup."""

from __future__ import annotations

import os

from barman.backup.copier import Copier, Reference
from barman.backup.copy_plan import CopyPlan, Places, plan_copy
from barman.backup.executor import BackupOutcome
from barman.backup.manifest import write_manifest
from barman.backup.references import (
    choose_reference,
    choose_unfinished,
    is_intact,
    leave_word,
    make_reference,
    take_back_word,
    trusted_begin,
)
from barman.backup.same_server import require_same_server
from barman.backup.standby import close_last_segment, explain, timelines_differ
from barman.catalog.backup_info import BackupStatus
from barman.errors import BackupError, BarmanError
from barman.fs import copying, durable
from barman.postgres.backup_session import BackupEnd, BackupSession, Promoted
from barman.process import find_program, tied_argv
from barman.transport.rsync_pool import PoolOptions
from barman.typing import TYPE_CHECKING
from barman.units import format_age
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from barman.backup.copier import CopyStatistics
    from barman.backup.record import RunningRecord
    from barman.backup.request import BackupRequest
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import CatalogView
    from barman.postgres.facts import ServerFacts
    from barman.report import Reporter
    from barman.server.server import Server


@dataclass(frozen=True, slots=True)
class FileSource:
    """A backup that gives files, `how`: `link` or `copy`; `begun` is when it began, None if its times prove nothing."""

    info: BackupInfo
    how: str
    begun: datetime | None


@dataclass(frozen=True, slots=True)
class RsyncPlan:
    """One backup with rsync. `sources` are asked for each file in their order."""

    facts: ServerFacts
    options: PoolOptions
    bandwidth_limit: int | None
    fast_checkpoint: bool
    keepalive_interval: float
    sources: tuple[FileSource, ...] = ()
    manifest: bool = False


class RsyncExecutor:
    """`backup_method = rsync` and `local-rsync`."""

    mode = "rsync-concurrent"

    def __init__(self, server: Server) -> None:
        self._server = server

    def plan(self, request: BackupRequest, facts: ServerFacts, view: CatalogView) -> RsyncPlan:
        """Choose the reference and the limits. Raises BackupError for what rsync cannot do."""
        config = self._server.config
        if "exclusive_backup" in config.backup_options:
            raise BackupError(
                "exclusive backups are not supported", hint="Remove exclusive_backup from backup_options."
            )
        program = find_program(["rsync"], self._server.search_path)
        if program is None:
            raise BackupError("rsync is not installed", hint="Install it, or set path_prefix.")
        return RsyncPlan(
            facts=facts,
            options=PoolOptions(
                workers=request.jobs,
                start_batch_size=request.start_batch_size,
                start_batch_period=request.start_batch_period,
                retries=request.retry_times,
                pause=request.retry_sleep,
                program=program,
                # After a SIGKILL nobody else would keep it from filling the disk, or a deleted backup.
                launcher=tied_argv(),
                environment=self._server.environment,
            ),
            bandwidth_limit=request.bandwidth_limit,
            fast_checkpoint=request.immediate_checkpoint,
            keepalive_interval=request.keepalive_interval,
            sources=tuple(self._sources(request.reuse, facts, view)),
            manifest=request.manifest,
        )

    def _sources(self, reuse: str | None, facts: ServerFacts, view: CatalogView) -> Iterator[FileSource]:
        """Yield the newest complete backup as `reuse_backup` says, then what a newer one left that broke off.

        The latter whatever `reuse_backup` says: good backups share no file by it.
        """
        how = reuse if reuse in ("link", "copy") else None
        reference = choose_reference(facts, view)
        if how is not None and reference is not None:
            yield FileSource(reference, how, trusted_begin(reference, facts))
        unfinished = choose_unfinished(facts, view)
        if unfinished is not None:
            begun = trusted_begin(unfinished, facts)
            intact = is_intact(self._server.catalog.layout, unfinished.backup_id)
            yield FileSource(unfinished, how or "link", begun if intact else None)

    def execute(self, plan: RsyncPlan, record: RunningRecord, reporter: Reporter) -> BackupOutcome:
        """Copy between begin and end of one session; when anything fails, the session goes and the server aborts."""
        server = self._server
        session = BackupSession(server.postgres)
        try:
            with session.hold():
                require_same_server(server.postgres, server.host, plan.facts)
                began = session.begin(f"Barman backup {server.name} {record.backup_id}", fast=plan.fast_checkpoint)
                record.save(begin_time=began.time, begin_xlog=began.lsn)
                with session.keepalive(plan.keepalive_interval) as heartbeat:

                    def watch() -> None:
                        heartbeat.check()
                        session.check()

                    statistics = self._copy(plan, record, watch, reporter)
                    watch()
                record.action = "issuing stop of the backup"
                reporter.info("Asking PostgreSQL server to finalize the backup.")
                end = session.end()
        except Promoted as promoted:
            server.postgres.close()
            begun = record.info.timeline or 1
            raise timelines_differ(begun, promoted.timeline, in_recovery=False) from promoted
        except BaseException:
            server.postgres.close()
            raise
        closed = self._switch(reporter)
        record.action = "writing backup label"
        self._write_labels(record, end)
        if plan.manifest:
            record.action = "writing backup manifest"
            self._write_manifest(plan, record, reporter)
        take_back_word(server.catalog.layout, record.backup_id)
        return BackupOutcome(
            label=end.label.text,
            timeline=end.label.timeline,
            end_timeline=end.timeline,
            begin_xlog=end.label.start_lsn,
            end_xlog=end.lsn,
            end_time=end.time,
            copy_seconds=statistics.total_seconds,
            copy_stats=_copy_stats(statistics),
            closed=closed,
        )

    def _copy(
        self, plan: RsyncPlan, record: RunningRecord, watch: Callable[[], None], reporter: Reporter
    ) -> CopyStatistics:
        record.action = "copying files"
        server, layout = self._server, self._server.catalog.layout
        host = server.host
        way = "local rsync" if host.is_local else "rsync/SSH"
        jobs = f" ({plan.options.workers} jobs)" if plan.options.workers > 1 else ""
        reporter.info(f"Starting backup copy via {way} for {record.backup_id}{jobs}")
        places = Places(
            data=layout.data_directory(record.backup_id),
            tablespace=lambda oid: layout.tablespace_directory(record.backup_id, oid),
            bandwidth_limit=plan.bandwidth_limit,
            tablespace_limits=server.config.tablespace_bandwidth_limit,
        )
        copy_plan = plan_copy(plan.facts, places, self._real_paths(plan.facts))
        self._warn_of_included_files(copy_plan, reporter)
        for source in plan.sources:
            if source.info.status == BackupStatus.FAILED:
                reporter.info(f"Files that the unfinished backup {source.info.backup_id} has copied are used")
        leave_word(layout, record.backup_id)
        compress = self._server.config.network_compression
        copier = Copier(host, plan.options, reporter, watch, compress=compress)
        statistics = copier.copy(copy_plan, self._references(plan, copy_plan, record))
        copying.sync_places([layout.backup_directory_of(record.backup_id)], plan.options.workers)
        host.close()
        reporter.info(f"Copy done (time: {format_age(statistics.total_seconds)})")
        return statistics

    def _real_paths(self, facts: ServerFacts) -> dict[str, str]:
        """Ask the host for the paths without symbolic links; what it cannot tell stays as it is."""
        paths = [facts.data_directory or "", *(space.location for space in facts.tablespaces)]
        runner = self._server.host.runner
        done = runner.run(["readlink", "-f", "--", *paths], check=False, doing="resolving the tablespaces")
        found = os.fsdecode(done.stdout).splitlines()
        return dict(zip(paths, found, strict=True)) if done.returncode == 0 and len(found) == len(paths) else {}

    def _references(self, plan: RsyncPlan, copy_plan: CopyPlan, record: RunningRecord) -> list[Reference]:
        layout = self._server.catalog.layout
        wanted = [tree.destination for tree in copy_plan.directories]
        return [
            make_reference(layout, record.backup_id, source.info, source.how, source.begun, wanted)
            for source in plan.sources
        ]

    def _warn_of_included_files(self, copy_plan: CopyPlan, reporter: Reporter) -> None:
        if not copy_plan.not_copied:
            return
        text = "The usage of include directives is not supported for files that reside outside PGDATA.\n"
        text += "Please manually backup the following files:\n" + "\n".join(
            f"\t{path}" for path in copy_plan.not_copied
        )
        silenced = "external_configuration" in self._server.config.backup_options
        (reporter.debug if silenced else reporter.warning)(text)

    def _switch(self, reporter: Reporter) -> bool:
        """Close the segment that the backup ends in. Nothing is lost if that fails: the data are here and complete."""
        try:
            return close_last_segment(self._server)
        except BarmanError as error:
            reporter.warning(f"cannot switch WAL after the backup, its last segment may arrive late: {explain(error)}")
            return False

    def _write_labels(self, record: RunningRecord, end: BackupEnd) -> None:
        """Write what pg_backup_stop returned, word for word; without tablespaces there is no map of them."""
        directory = self._server.catalog.layout.data_directory(record.backup_id)
        if end.tablespace_map:
            durable.write_atomic(os.path.join(directory, "tablespace_map"), end.tablespace_map, 0o600)
        # Last: without its label a copy looks like a cluster that crashed.
        durable.write_atomic(os.path.join(directory, "backup_label"), end.label.text, 0o644)

    def _write_manifest(self, plan: RsyncPlan, record: RunningRecord, reporter: Reporter) -> None:
        complete = (item.info.backup_id for item in plan.sources if item.info.status != BackupStatus.FAILED)
        write_manifest(self._server.catalog.layout, record.info, next(complete, None))
        reporter.info(
            f"Backup manifest for backup '{record.backup_id}' successfully generated for server {self._server.name}"
        )


def _copy_stats(statistics: CopyStatistics) -> dict[str, object]:
    """Return what backup.info has always said of a copy with rsync."""
    analysis = {label: round(seconds, 6) for label, seconds in statistics.analysis_seconds.items()}
    copied = {label: round(seconds, 6) for label, seconds in statistics.copy_seconds.items()}
    copy_time = round(statistics.total_seconds - sum(analysis.values()), 6)
    return {
        "total_time": round(statistics.total_seconds, 6),
        "number_of_workers": statistics.workers,
        "analysis_time_per_item": analysis,
        "copy_time_per_item": copied,
        "serialized_copy_time_per_item": dict(copied),
        "analysis_time": round(sum(analysis.values()), 6),
        "copy_time": max(0.0, copy_time),
        "serialized_copy_time": round(sum(copied.values()), 6),
    }
