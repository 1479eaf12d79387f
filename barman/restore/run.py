"""One restore from request to result: select, gather, plan, execute."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager

from barman.catalog.backup_id import overlooked
from barman.clock import Deadline, monotonic, now, timestamp
from barman.errors import BarmanError, LockBusy, RestoreRefused
from barman.fs.staging import private_directory, sweep
from barman.postgres.recovery_settings import settings_file
from barman.report import MemoryReporter
from barman.restore.claim import claimed
from barman.restore.combine import staged
from barman.restore.execute import execute
from barman.restore.facts import PlaceFacts, WalFacts, is_inside
from barman.restore.gather import gather_archive, gather_backup, look_at_wal
from barman.restore.gather_chain import chain_of, choose_stage, gather_chain
from barman.restore.judge import judge_backup
from barman.restore.layouts import Layouts, is_recovery_steered, known_paths, lay_out
from barman.restore.places import gather_place
from barman.restore.plan import Gathered, RestorePlan, deliveries, plan_restore
from barman.restore.result import RestoreResult
from barman.restore.scripts import RecoveryScripts
from barman.restore.select import AUTO, select_backup
from barman.restore.target import RecoveryTarget, parse_target
from barman.restore.unpack import judge_archives, judge_stage, stage_below
from barman.restore.wal_plan import plan_wal
from barman.restore.workbench import Workbench
from barman.server.filters import configured_filters
from barman.typing import TYPE_CHECKING
from barman.units import format_age
from barman.values import dataclass, replace
from barman.wal.archiver import archive_wal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog
    from barman.compression.codec import CustomFilters
    from barman.report import Reporter
    from barman.restore.facts import BackupFacts
    from barman.restore.partial import PartialFacts
    from barman.restore.remote.session import Remote
    from barman.restore.request import RestoreRequest
    from barman.restore.step import WalDelivery
    from barman.server.server import Server

ARCHIVER_PATIENCE = 600.0
"""How many seconds a restore waits for an archiver that was there first."""


def restore(server: Server, request: RestoreRequest, reporter: Reporter, repository: tuple[str, ...]) -> RestoreResult:
    """Restore a backup on this host, or on the one that `remote_ssh_command` leads to, and emit the result.

    `repository` are directories in which nothing may be restored. Needs no server, and no network but the one to the
    destination. Raises RestoreRefused before anything is changed, BarmanError when a step fails; then the destination
    cannot be started.
    """
    around = Circumstances(repository, configured_filters(server.config))
    if request.remote_ssh_command is None:
        return _restore(server, request, reporter, around)
    # Only when it is needed: a local restore does not pay for its modules.
    from barman.restore.remote.session import Remote

    remote = Remote.to(request.remote_ssh_command, server, request)
    try:
        return _restore(server, request, reporter, replace(around, remote=remote))
    finally:
        remote.host.close()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a restore happens in: where nothing may be restored, how WAL is decoded, and the other host, if any."""

    repository: tuple[str, ...]
    custom: CustomFilters | None = None
    remote: Remote | None = None


def _restore(server: Server, request: RestoreRequest, reporter: Reporter, around: Circumstances) -> RestoreResult:
    started, begun = now(), monotonic()
    catalog = server.catalog
    target = parse_target(request)
    scripts = RecoveryScripts(server, request, reporter)
    request, target = _usable_options(request, target, reporter)
    if not request.skip_archive_wal and not server.config.passive_node:
        _archive_what_waits(server, reporter)
    info = _select(catalog, request, target, reporter)
    with _protected(catalog, chain_of(info, catalog.snapshot())):
        # What was read before the lock may have been deleted meanwhile.
        view = catalog.snapshot()
        if info.backup_id not in view.backups:
            raise RestoreRefused([f"backup '{info.backup_id}' of server '{info.server_name}' was deleted meanwhile"])
        info = view.backups[info.backup_id]
        backup = gather_backup(catalog, info, being_deleted=info.backup_id in view.deleting)
        if info.is_incremental:
            backup = gather_chain(catalog, view, backup, server.search_path)
        layouts = lay_out(request, backup, target, [])
        paths = (layouts.destination, *layouts.directories)
        with ExitStack() as claims:
            claims.enter_context(claimed(catalog.layout, paths, on=request.remote_ssh_command))
            plan = make_plan(catalog, request, target, backup, around)
            bench = Workbench(reporter, custom=around.custom)
            remote = around.remote
            if remote is not None:
                bench.host, bench.transfer = remote.host, remote.transfer
                # Another ssh command may lead to the same directories.
                claims.enter_context(claimed(catalog.layout, remote.real_paths, on=remote.machine))
            _announce(plan, reporter)
            _tell_unused(plan, reporter)
            if scripts.before(view, info.backup_id):
                # A script may have changed what the plan was made for.
                plan = make_plan(catalog, request, target, backup, around)
            if plan.stage is not None:
                sweep(os.path.dirname(plan.stage), os.path.basename(plan.stage).rpartition("-")[0])
                claims.enter_context(private_directory(plan.stage))
            execute(plan, bench)
            scripts.after()
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

    A restore does not depend on it: failures are warnings. Another archiver, of cron say, is waited for: what it has
    not archived yet would be missing without a word.
    """
    memory = MemoryReporter()
    if server.catalog.locks.is_held("archive-wal"):
        reporter.info(f"Waiting for another archive-wal process of server {server.name}")
    try:
        if archive_wal(server, memory, quiet=True, whole=Deadline(ARCHIVER_PATIENCE)).busy:
            memory.warning(
                f"an archive-wal process has been at work for {ARCHIVER_PATIENCE:g} seconds: what still waits for it "
                "in the queues is not restored"
            )
    except (BarmanError, OSError) as error:
        memory.error(f"WAL that waits in the queues is not restored: {error}")
    for level, text in memory.lines:
        (reporter.warning if level in ("warning", "error", "exception") else reporter.info)(text)


def _usable_options(
    request: RestoreRequest, target: RecoveryTarget, reporter: Reporter
) -> tuple[RestoreRequest, RecoveryTarget]:
    """Drop options that mean nothing together with others, and say so."""
    for warning in target.warnings:
        reporter.warning(warning)
    if request.partial_wal and (request.get_wal or target.kind == "immediate"):
        reporter.warning("--partial-wal has no effect together with get-wal or --target-immediate: it is ignored")
        request = replace(request, partial_wal=None)
    if request.staging_wal_directory is not None and not is_recovery_steered(request, target):
        reporter.warning("--staging-wal-directory has no effect without a recovery target, or with get-wal: ignored")
        request = replace(request, staging_wal_directory=None)
    if request.restore_command is not None and not request.get_wal:
        reporter.warning("--restore-command has no effect without get-wal: it is ignored")
        request = replace(request, restore_command=None)
    return request, target


def _select(catalog: Catalog, request: RestoreRequest, target: RecoveryTarget, reporter: Reporter) -> BackupInfo:
    histories = catalog.wals.histories()[0] if request.backup == AUTO else {}
    view = catalog.snapshot()
    info = select_backup(request.backup, view, target, histories)
    doubt = overlooked(request.backup, info.backup_id, view)
    if doubt:
        reporter.warning(doubt)
    return info


@contextmanager
def _protected(catalog: Catalog, chain: Sequence[BackupInfo]) -> Iterator[None]:
    """Hold the backups that are read: restores run side by side, a deletion of one waits or passes by."""
    with ExitStack() as locks:
        for info in chain:
            try:
                locks.enter_context(catalog.locks.backup_id(info.backup_id, shared=True))
            except LockBusy as error:
                raise BarmanError(
                    f"backup '{info.backup_id}' of server '{info.server_name}' is in use: {error.message}",
                    hint="It is being taken, checked or deleted; repeat the command when that is over.",
                ) from error
        yield


def make_plan(
    catalog: Catalog,
    request: RestoreRequest,
    target: RecoveryTarget,
    backup: BackupFacts,
    around: Circumstances,
) -> RestorePlan:
    """Look at everything a restore depends on and return its plan. Raises RestoreRefused; changes nothing."""
    refusals = judge_backup(backup)
    layouts = lay_out(request, backup, target, refusals)
    if backup.data is None or backup.info.pg_version is None:
        raise RestoreRefused(refusals)
    stage = None
    if backup.chain is not None:
        directory = request.staging_path or os.environ.get("TMPDIR") or "/tmp"
        stage = choose_stage(request, backup, directory)
        backup = staged(backup, layouts, stage)
    unpack_stage = None
    if backup.is_archived and backup.chain is None:
        refusals += judge_archives(backup, delta=request.delta, custom=around.custom)
        if around.remote is not None:
            unpack_stage = stage_below(around.remote.transfer.staging)
            refusals += judge_stage(backup, around.remote.transfer.staging)
    archive = gather_archive(catalog, backup.info, request)
    wal_plan = plan_wal(request, backup.info, target, archive.archive, timestamp())
    files: tuple[WalDelivery, ...] = ()
    if wal_plan.chain is not None and not request.get_wal:
        files = deliveries(wal_plan.chain, archive, catalog.layout, backup.info.xlog_segment_size)
    wal = WalFacts()
    if files:
        wal = look_at_wal(files, backup.info, around.custom)
    hint = ""
    if around.remote is None:
        places = _look_at_places(request, layouts, backup, around.repository)
    else:
        found, hint = around.remote.look(request, layouts, backup, around.repository, files, refusals)
        places = {path: _without_own_cluster(place, layouts) for path, place in found.items()}
    reasons = tuple(refusals)
    gathered = Gathered(backup, archive, wal_plan, layouts, files, wal, places, reasons, hint, stage, unpack_stage)
    return plan_restore(request, target, gathered)


def _look_at_places(
    request: RestoreRequest, layouts: Layouts, backup: BackupFacts, repository: tuple[str, ...]
) -> dict[str, PlaceFacts]:
    destination = gather_place(layouts.destination, repository, listed=request.delta)
    places = {layouts.destination: destination}
    unfinished = destination.marker is not None and not destination.has_control_file and not request.delta
    for path in (layouts.destination, *layouts.directories):
        known = known_paths(backup, layouts, path) if unfinished else None
        if path != layouts.destination or known is not None:
            place = gather_place(path, repository, known, listed=request.delta)
            places[path] = _without_own_cluster(place, layouts)
    return places


def _without_own_cluster(place: PlaceFacts, layouts: Layouts) -> PlaceFacts:
    """Forget that a tablespace lies in a data directory when that is the one being restored."""
    inside = place.path != layouts.destination and is_inside(place.path, layouts.destination)
    return replace(place, enclosing_cluster=None) if inside else place


def _announce(plan: RestorePlan, reporter: Reporter) -> None:
    info, request = plan.backup, plan.request
    kind = "remote" if request.remote_ssh_command is not None else "local"
    reporter.info(f"Starting {kind} restore for server {info.server_name} using backup {info.backup_id}")
    reporter.info(f"Destination directory: {request.destination}")
    if request.remote_ssh_command is not None:
        reporter.info(f"Remote command: {request.remote_ssh_command}")
    if info.encryption is not None:
        reporter.info(f"Decrypting files from backup '{info.backup_id}' for server '{info.server_name}'.")
    if info.status != "DONE" and not request.get_wal:
        reporter.warning(
            f"IMPORTANT: backup '{info.backup_id}' is {info.status}: not all WAL that it needs was archived when it "
            "was checked last; run 'barman check-backup' to check it again"
        )
    if plan.target.is_point_in_time:
        reporter.info(f"Doing PITR. Recovery target {plan.target.describe(plan.timeline)}")
    if request.get_wal and request.restore_command is not None:
        reporter.info(f"Custom restore command override: {request.restore_command}")
    if plan.partial is not None:
        reporter.info(_describe_partial(plan.partial, fetched=request.get_wal))
    for warning in plan.warnings:
        reporter.warning(warning)


def _describe_partial(partial: PartialFacts, *, fetched: bool) -> str:
    end = f"carries records up to LSN {partial.end}" if partial.end is not None else "is unfinished"
    age = format_age(max(0.0, timestamp() - partial.written))
    what = "the server will fetch it" if fetched else "it is restored"
    return f"The newest WAL segment '{partial.path}' {end} and was last written {age} ago: {what}"


def _tell_unused(plan: RestorePlan, reporter: Reporter) -> None:
    """Name the options that were given for a backup that is prepared in a staging path, and that change nothing."""
    request = plan.request
    used = {"--combine-mode"} if plan.combines else set()
    if plan.stage is not None or request.remote_ssh_command is not None:
        used |= {"--staging-path", "--local-staging-path"}
    unused = [option for option in request.staging_options if option not in used]
    if unused:
        why = "the chain is combined in the destination" if plan.combines else "backups are copied as they are"
        reporter.warning(f"{', '.join(unused)}: no effect, nothing is staged, {why}")


def _settings_path(plan: RestorePlan) -> str:
    version = plan.backup.pg_version
    name = settings_file(version) if version is not None else "postgresql.auto.conf"
    if plan.request.recovery_conf_filename and version is not None and not version.has_recovery_conf:
        name = plan.request.recovery_conf_filename
    return os.path.join(plan.layouts.destination, name)
