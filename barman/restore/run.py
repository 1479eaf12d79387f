"""One restore from request to result: select, gather, plan, execute."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from barman.clock import monotonic, now, timestamp
from barman.config.unserved import hook_warning
from barman.errors import BarmanError, LockBusy, RestoreRefused
from barman.postgres.recovery_settings import settings_file
from barman.report import MemoryReporter
from barman.restore.claim import claimed
from barman.restore.execute import execute
from barman.restore.facts import PlaceFacts, WalFacts, is_inside
from barman.restore.gather import gather_archive, gather_backup, gather_place, look_at_wal, read_histories
from barman.restore.judge import judge_backup
from barman.restore.layouts import Layouts, is_recovery_steered, known_paths, lay_out
from barman.restore.plan import Gathered, RestorePlan, deliveries, plan_restore
from barman.restore.result import RestoreResult
from barman.restore.select import AUTO, select_backup
from barman.restore.target import RecoveryTarget, parse_target
from barman.restore.wal_plan import plan_wal
from barman.restore.workbench import Workbench
from barman.wal.archiver import archive_wal, configured_filters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog
    from barman.compression.codec import CustomFilters
    from barman.report import Reporter
    from barman.restore.facts import BackupFacts
    from barman.restore.request import RestoreRequest
    from barman.restore.step import WalDelivery
    from barman.server.server import Server


def restore(server: Server, request: RestoreRequest, reporter: Reporter, repository: tuple[str, ...]) -> RestoreResult:
    """Restore a backup on this host and emit the result.

    `repository` are directories in which nothing may be restored. Needs no server and no network. Raises RestoreRefused
    before anything is changed, BarmanError when a step fails; then the destination cannot be started.
    """
    started, begun = now(), monotonic()
    catalog = server.catalog
    target = parse_target(request)
    request, target = _usable_options(request, target, reporter)
    warning = hook_warning(server.config, ("archive", "recovery"))
    if warning:
        reporter.warning(warning)
    if not request.skip_archive_wal and not server.config.passive_node:
        _archive_what_waits(server, reporter)
    info = _select(catalog, request, target)
    with _protected(catalog, info):
        # What was read before the lock may have been deleted meanwhile.
        view = catalog.snapshot()
        if info.backup_id not in view.backups:
            raise RestoreRefused([f"backup '{info.backup_id}' of server '{info.server_name}' was deleted meanwhile"])
        info = view.backups[info.backup_id]
        backup = gather_backup(catalog, info, being_deleted=info.backup_id in view.deleting)
        custom = configured_filters(server.config)
        layouts = lay_out(request, backup, target, [])
        with claimed(catalog.layout, (layouts.destination, *layouts.directories)):
            plan = make_plan(catalog, request, target, backup, repository, custom)
            _announce(plan, reporter)
            bench = Workbench(reporter, custom)
            execute(plan, bench)
    result = RestoreResult(
        server_name=catalog.layout.server_name,
        backup_id=info.backup_id,
        destination=request.destination,
        changes=tuple(bench.changes),
        warnings=tuple(bench.warnings),
        missing_files=tuple(bench.missing_files),
        get_wal=request.get_wal,
        settings_path=_settings_path(plan),
        started=started,
        elapsed=monotonic() - begun,
    )
    reporter.emit(result)
    return result


def _archive_what_waits(server: Server, reporter: Reporter) -> None:
    """Archive the queues, so that the newest WAL is restored too.

    A restore does not depend on it: failures are warnings.
    """
    memory = MemoryReporter()
    try:
        archive_wal(server, memory, quiet=True)
    except (BarmanError, OSError) as error:
        memory.error(f"WAL that waits in the queues is not restored: {error}")
    for level, text in memory.lines:
        (reporter.warning if level in ("warning", "error", "exception") else reporter.info)(text)


def _usable_options(
    request: RestoreRequest, target: RecoveryTarget, reporter: Reporter
) -> tuple[RestoreRequest, RecoveryTarget]:
    """Drop options that mean nothing together with others, and say so."""
    from barman.values import replace

    for warning in target.warnings:
        reporter.warning(warning)
    if request.partial_wal and (request.get_wal or target.kind == "immediate"):
        reporter.warning("--partial-wal has no effect together with get-wal or --target-immediate: it is ignored")
        request = replace(request, partial_wal=False)
    if request.staging_wal_directory is not None and not is_recovery_steered(request, target):
        reporter.warning("--staging-wal-directory has no effect without a recovery target, or with get-wal: ignored")
        request = replace(request, staging_wal_directory=None)
    if request.restore_command is not None and not request.get_wal:
        reporter.warning("--restore-command has no effect without get-wal: it is ignored")
        request = replace(request, restore_command=None)
    return request, target


def _select(catalog: Catalog, request: RestoreRequest, target: RecoveryTarget) -> BackupInfo:
    histories = read_histories(catalog.wals)[0] if request.backup == AUTO else {}
    return select_backup(request.backup, catalog.snapshot(), target, histories)


@contextmanager
def _protected(catalog: Catalog, info: BackupInfo) -> Iterator[None]:
    """Hold the backup: restores run side by side, a deletion of it waits or passes by."""
    try:
        lock = catalog.locks.backup_id(info.backup_id, shared=True)
        lock.acquire()
    except LockBusy as error:
        raise BarmanError(
            f"backup '{info.backup_id}' of server '{info.server_name}' is in use: {error.message}",
            hint="It is being taken, checked or deleted; repeat the command when that is over.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def make_plan(
    catalog: Catalog,
    request: RestoreRequest,
    target: RecoveryTarget,
    backup: BackupFacts,
    repository: tuple[str, ...],
    custom: CustomFilters | None = None,
) -> RestorePlan:
    """Look at everything a restore depends on and return its plan. Raises RestoreRefused; changes nothing."""
    refusals = judge_backup(backup)
    layouts = lay_out(request, backup, target, refusals)
    if backup.data is None or backup.info.pg_version is None:
        raise RestoreRefused(refusals)
    archive = gather_archive(catalog, backup.info, partial=request.partial_wal)
    wal_plan = plan_wal(request, backup.info, target, archive.archive, timestamp())
    files: tuple[WalDelivery, ...] = ()
    if wal_plan.chain is not None and not request.get_wal:
        files = deliveries(wal_plan.chain, archive, catalog.layout, backup.info.xlog_segment_size)
    wal = WalFacts()
    if files:
        wal = look_at_wal(files, backup.info, custom)
    places = _look_at_places(layouts, backup, repository)
    return plan_restore(
        request, target, Gathered(backup, archive, wal_plan, layouts, files, wal, places, tuple(refusals))
    )


def _look_at_places(layouts: Layouts, backup: BackupFacts, repository: tuple[str, ...]) -> dict[str, PlaceFacts]:
    destination = gather_place(layouts.destination, repository)
    places = {layouts.destination: destination}
    unfinished = destination.marker is not None and not destination.has_control_file
    for path in (layouts.destination, *layouts.directories):
        known = known_paths(backup, layouts, path) if unfinished else None
        if path != layouts.destination or known is not None:
            places[path] = _without_own_cluster(gather_place(path, repository, known), layouts)
    return places


def _without_own_cluster(place: PlaceFacts, layouts: Layouts) -> PlaceFacts:
    """Forget that a tablespace lies in a data directory when that is the one being restored."""
    from barman.values import replace

    inside = place.path != layouts.destination and is_inside(place.path, layouts.destination)
    return replace(place, enclosing_cluster=None) if inside else place


def _announce(plan: RestorePlan, reporter: Reporter) -> None:
    info, request = plan.backup, plan.request
    reporter.info(f"Starting local restore for server {info.server_name} using backup {info.backup_id}")
    reporter.info(f"Destination directory: {request.destination}")
    if info.status != "DONE" and not request.get_wal:
        reporter.warning(
            f"IMPORTANT: backup '{info.backup_id}' is {info.status}: not all WAL that it needs was archived when it "
            "was checked last; run 'barman check-backup' to check it again"
        )
    if plan.target.is_point_in_time:
        reporter.info(f"Doing PITR. Recovery target {plan.target.describe(plan.timeline)}")
    if request.get_wal and request.restore_command is not None:
        reporter.info(f"Custom restore command override: {request.restore_command}")
    for warning in plan.warnings:
        reporter.warning(warning)


def _settings_path(plan: RestorePlan) -> str:
    version = plan.backup.pg_version
    name = settings_file(version) if version is not None else "postgresql.auto.conf"
    if plan.request.recovery_conf_filename and version is not None and not version.has_recovery_conf:
        name = plan.request.recovery_conf_filename
    return os.path.join(plan.layouts.destination, name)
