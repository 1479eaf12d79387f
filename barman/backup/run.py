"""The life of one backup, from its id to a record that says how it ended.

EMPTY, as soon as there is an id; STARTED before a byte is copied; WAITING_FOR_WALS when all data are here and durable;
DONE when every segment from begin to end is archived; FAILED with the reason after any error, signals included. Each
status is durable before the next step. A kill leaves EMPTY or STARTED, which the next command turns into FAILED.
"""

from __future__ import annotations

import os

from barman import clock
from barman.backup.dead_runs import last_backup_holder
from barman.backup.delete import settle
from barman.backup.executor import BackupExecutor, BackupOutcome, executor_for
from barman.backup.finish import complete_backup, purge_before_first
from barman.backup.inventory import check_against_manifest, take_inventory
from barman.backup.record import RunningRecord, change_record, failure_text
from barman.backup.standby import prepare_standby, timelines_differ
from barman.catalog.backup_id import new_backup_id
from barman.catalog.backup_info import BackupInfo, BackupStatus, Tablespace
from barman.catalog.identity import Identity
from barman.errors import BackupError, BarmanError, Interrupted, LockBusy, PostgresError
from barman.hooks.hooks import Hooks
from barman.logs import Log
from barman.postgres.control_functions import create_restore_point
from barman.postgres.facts import read_facts
from barman.postgres.wal_name import WalSegment
from barman.typing import TYPE_CHECKING
from barman.units import format_age, format_size
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.backup.request import BackupRequest
    from barman.catalog.backup_id import BackupId
    from barman.catalog.catalog import Catalog, CatalogView
    from barman.postgres.facts import ServerFacts
    from barman.postgres.lsn import Lsn
    from barman.report import Reporter
    from barman.server.server import Server
    from barman.typing import Any

_LOG = Log(__name__)


@dataclass(frozen=True, slots=True)
class BackupResult:
    """How a backup ended."""

    info: BackupInfo


def run_backup(server: Server, request: BackupRequest, reporter: Reporter) -> BackupInfo:
    """Take a backup; its record tells how it ended, and the reporter has heard it.

    A backup that fails after its record exists is reported and returned as FAILED; an interrupt is raised again after
    that. Whoever calls has judged by `check` whether the server is fit for a backup.

    Raises BackupError and other BarmanErrors when it is refused before anything is written.
    """
    catalog = server.catalog
    catalog.ensure_directories()
    executor = executor_for(server)
    holder = last_backup_holder(catalog)
    try:
        with catalog.locks.backup():
            settle(catalog, reporter, holder, Hooks(server, reporter))
            return _run_locked(server, executor, request, reporter)
    except LockBusy as error:
        if error.path != catalog.layout.lock("backup"):
            raise
        raise BackupError(
            "Another backup process is running", hint=f"Process {error.holder} holds it." if error.holder else ""
        ) from None


def _run_locked(server: Server, executor: BackupExecutor, request: BackupRequest, reporter: Reporter) -> BackupInfo:
    catalog = server.catalog
    facts = read_facts(server.postgres, with_size=True)
    if facts.system_id is not None:
        catalog.identity.ensure(Identity(facts.system_id, facts.version.major_text))
    view = catalog.snapshot()
    plan = executor.plan(request, facts, view)
    record = RunningRecord(catalog, _first_record(server, executor, request, facts, view))
    parent_id = getattr(plan, "parent_id", None)
    record.save(parent_backup_id=parent_id)
    hooks = Hooks(server, reporter)
    interruption: BaseException | None = None
    closed = True
    try:
        _announce(server, executor, record, reporter)
        if _run_scripts(hooks.before, hooks, record, catalog):
            # They took their time: the server is asked again, over connections that nobody has ended meanwhile.
            server.close()
            facts = read_facts(server.postgres, with_size=True)
            plan = executor.plan(request, facts, view)
        prepare_standby(server, facts, reporter)
        closed = _take(server, executor, plan, facts, record, reporter).closed
    except BaseException as error:  # noqa: BLE001  signals too: the record must say how the backup ended
        _fail(record, error, reporter)
        if not isinstance(error, Exception):
            interruption = error
    finally:
        if parent_id is not None:
            _add_child(catalog, parent_id, record.backup_id)
        server.close()
    try:
        if record.info.status != BackupStatus.FAILED:
            record.info = complete_backup(server, record.info, request, reporter, closed=closed)
            purge_before_first(server, record.info, reporter, hooks)
    finally:
        _run_scripts(hooks.after, hooks, record, catalog)
    if interruption is not None:
        raise interruption
    reporter.emit(BackupResult(record.info))
    return record.info


def _announce(server: Server, executor: BackupExecutor, record: RunningRecord, reporter: Reporter) -> None:
    directory = server.catalog.layout.backup_directory_of(record.backup_id)
    reporter.info(f"Starting backup using {executor.mode} method for server {server.name} in {directory}")


def _run_scripts(
    run: Callable[[str, dict[str, str]], None], hooks: Hooks, record: RunningRecord, catalog: Catalog
) -> bool:
    """Run the scripts before or after a backup, whatever became of it; tell whether there are any."""
    if not hooks.present("backup"):
        return False
    from barman.hooks.environment import backup_variables

    run("backup", backup_variables(catalog.layout, catalog.snapshot(), record.backup_id))
    return True


def _first_record(
    server: Server, executor: BackupExecutor, request: BackupRequest, facts: ServerFacts, view: CatalogView
) -> BackupInfo:
    base = server.catalog.layout.basebackups_directory
    # A directory without a record is somebody's data too: its name is taken.
    taken = {*view.backups, *view.corrupt, *os.listdir(base)}
    return BackupInfo(
        backup_id=new_backup_id(clock.now(), taken),
        server_name=server.name,
        status=BackupStatus.EMPTY,
        mode=executor.mode,
        backup_name=request.name,
        systemid=facts.system_id,
    )


def _take(
    server: Server,
    executor: BackupExecutor,
    plan: Any,
    facts: ServerFacts,
    record: RunningRecord,
    reporter: Reporter,
) -> BackupOutcome:
    """Everything between EMPTY and WAITING_FOR_WALS; whatever it raises becomes the failure of the backup."""
    catalog = server.catalog
    record.change(**_facts_fields(facts))
    began = clock.monotonic()
    record.save(status=BackupStatus.STARTED)
    reporter.info(f"Backup start at LSN: {_begin_text(record.info)}")
    outcome = executor.execute(plan, record, reporter)
    if catalog.snapshot().previous(record.backup_id) is None:
        reporter.info(f"This is the first backup for server {server.name}")
    record.change(**_outcome_fields(outcome, facts))
    if outcome.end_timeline != outcome.timeline:
        raise timelines_differ(outcome.timeline, outcome.end_timeline, in_recovery=facts.in_recovery)
    if not facts.in_recovery:
        _set_restore_point(server, record.backup_id)
    server.close()
    record.action = "calculating backup size"
    _account(catalog, record, outcome)
    reporter.info(f"Backup size: {format_size(record.info.size or 0)}")
    elapsed = clock.monotonic() - began
    record.save(status=BackupStatus.WAITING_FOR_WALS, copy_stats=_copy_stats(outcome))
    reporter.info(f"Backup end at LSN: {_end_text(record.info)}")
    started = record.info.begin_time
    local = started.astimezone().replace(tzinfo=None) if started is not None else ""
    reporter.info(f"Backup completed (start time: {local}, elapsed time: {format_age(elapsed)})")
    return outcome


def _facts_fields(facts: ServerFacts) -> dict[str, Any]:
    """What the record says of the server. The begin position is that of now, until the backup itself tells its own."""
    position = facts.position
    segment = position.segment
    return {
        "version": facts.version.number,
        "pgdata": facts.data_directory,
        "config_file": facts.config_file,
        "hba_file": facts.hba_file,
        "ident_file": facts.ident_file,
        "included_files": facts.included_files,
        "xlog_segment_size": facts.segment_size,
        "data_checksums": facts.settings.get("data_checksums"),
        "summarize_wal": facts.settings.get("summarize_wal"),
        "cluster_size": facts.current_size,
        "tablespaces": tuple(Tablespace(space.name, space.oid, space.location) for space in facts.tablespaces),
        "timeline": facts.timeline,
        "begin_time": position.time,
        "begin_xlog": position.lsn,
        "begin_wal": None if segment is None else segment.name,
        "begin_offset": position.offset,
    }


def _outcome_fields(outcome: BackupOutcome, facts: ServerFacts) -> dict[str, Any]:
    size = facts.segment_size
    return {
        "backup_label": outcome.label,
        "timeline": outcome.timeline,
        "begin_xlog": outcome.begin_xlog,
        "begin_wal": WalSegment.containing(outcome.begin_xlog, outcome.timeline, size).name,
        "begin_offset": outcome.begin_xlog.offset(size),
        "end_time": outcome.end_time,
        "end_xlog": outcome.end_xlog,
        # An end on a segment boundary needs nothing of the segment that begins there.
        "end_wal": WalSegment.ending_at(outcome.end_xlog, outcome.end_timeline, size).name,
        "end_offset": outcome.end_xlog.offset(size),
    }


def _copy_stats(outcome: BackupOutcome) -> dict[str, object]:
    if outcome.copy_stats is not None:
        return dict(outcome.copy_stats)
    seconds = round(outcome.copy_seconds, 6)
    return {"copy_time": seconds, "total_time": seconds}


def _account(catalog: Catalog, record: RunningRecord, outcome: BackupOutcome) -> None:
    """Count what is on disk and compare it with the manifest. Raises BackupError if something is not there."""
    layout = catalog.layout
    inventory = take_inventory(layout.backup_directory_of(record.backup_id))
    if outcome.files is not None:
        oids = frozenset(str(space.oid) for space in record.info.tablespaces)
        check_against_manifest({**inventory.files, **(outcome.archived or {})}, outcome.files, oids)
    # The copy of our own record is not part of the backup.
    own = inventory.files.get(os.path.basename(layout.legacy_backup_info(record.backup_id)), 0)
    record.change(size=inventory.size - own, deduplicated_size=inventory.deduplicated_size - own)


def _set_restore_point(server: Server, backup_id: BackupId) -> None:
    """Leave a named point for recovery at the end of the backup; nothing depends on it."""
    try:
        create_restore_point(server.postgres, f"barman_{backup_id}")
    except PostgresError as error:
        _LOG.warning("cannot create the restore point barman_%s: %s", backup_id, error)


def _fail(record: RunningRecord, error: BaseException, reporter: Reporter) -> None:
    """Save and say how the backup failed. When not even that can be saved, the next command sees that nobody runs."""
    text = failure_text(record.action, error)
    try:
        record.save(status=BackupStatus.FAILED, error=text)
    except OSError as unsaved:
        reporter.error(f"the failure of backup {record.backup_id} cannot be recorded: {unsaved}")
    if not isinstance(error, BarmanError | Interrupted | OSError):
        _LOG.exception("backup %s broke off", record.backup_id)
    reporter.error(f"Backup failed {record.action}.\nDETAILS: {_details(error)}")


def _details(error: BaseException) -> str:
    if isinstance(error, Interrupted):
        return f"interrupted by {error.signal_name}"
    text = str(error).strip() or type(error).__name__
    hint = getattr(error, "hint", "")
    return f"{text}\nHINT: {hint}" if hint else text


def _add_child(catalog: Catalog, parent_id: BackupId, backup_id: BackupId) -> None:
    """Tell the parent of an incremental, of a failed one too: deleting the parent must find it."""
    from barman.values import replace

    def with_child(parent: BackupInfo) -> BackupInfo:
        if backup_id in parent.children_backup_ids:
            return parent
        return replace(parent, children_backup_ids=(*parent.children_backup_ids, backup_id))

    try:
        change_record(catalog, parent_id, with_child)
    except BarmanError as error:
        # The child names its parent, and that is what deletion and restore follow.
        _LOG.warning("backup %s does not list its child %s: %s", parent_id, backup_id, error)


def _begin_text(info: BackupInfo) -> str:
    return _position_text(info.begin_xlog, info.begin_wal, info.begin_offset)


def _end_text(info: BackupInfo) -> str:
    return _position_text(info.end_xlog, info.end_wal, info.end_offset)


def _position_text(lsn: Lsn | None, wal: str | None, offset: int | None) -> str:
    """`LSN (SEGMENT, OFFSET)`; a standby does not name its segment before the backup."""
    return f"{lsn}" if wal is None or offset is None else f"{lsn} ({wal}, {offset:08X})"
