"""The catalog: directories, records, ages, sizes and numbers of backups."""

from __future__ import annotations

import os

from barman import clock
from barman.backup.combining import find_combiner
from barman.backup.formats import reasons_against_restore
from barman.backup.retention_view import read_tiers
from barman.backup.tar_files import find_archives, shrinkage
from barman.catalog.backup_info import BackupStatus
from barman.catalog.chain import walk_to_root
from barman.check.check import Outcome, check, failed, passed
from barman.errors import BackupError, CatalogError, ConfigError
from barman.postgres.data_directory import CONTROL_FILE, TABLESPACE_LINKS
from barman.retention.report import is_ahead
from barman.timestamps import format_ctime
from barman.typing import TYPE_CHECKING
from barman.units import format_age, format_interval, format_size
from barman.wal.restorable import judged

if TYPE_CHECKING:
    from barman.catalog.backup_info import BackupInfo
    from barman.check.context import CheckContext


@check("directories", applies=lambda config: not config.disabled)
def directories(context: CheckContext) -> Outcome:
    """Create what is missing; fails with the path and the reason."""
    try:
        context.catalog.ensure_directories()
    except CatalogError as error:
        return failed(error.message)
    return passed()


@check("retention policy settings")
def retention_policy_settings(context: CheckContext) -> Outcome:
    """Policy and tiers can be read; where one cannot, nothing is deleted."""
    text = context.config.retention_policy
    if not text:
        return passed()
    from barman.retention.policy import parse

    try:
        parse(str(text))
    except (ConfigError, ValueError):
        return failed(f"see log: '{text}' is not a retention policy")
    try:
        read_tiers(context.config)
    except ConfigError as error:
        return failed(error.message)
    return passed()


@check("backup maximum age", blocking=False)
def backup_maximum_age(context: CheckContext) -> Outcome:
    """The newest backup is younger than `last_backup_maximum_age`."""
    limit = context.config.last_backup_maximum_age
    if limit is None:
        return passed("no last_backup_maximum_age provided")
    newest = context.newest_backup
    given = f"interval provided: {format_interval(limit)}"
    if newest is None or newest.end_time is None:
        return failed(f"{given}, latest backup age: No available backups")
    age = clock.now() - newest.end_time
    if is_ahead(newest, clock.now()):
        # It would excuse all backups that are missing until then.
        end = format_ctime(newest.end_time)
        return failed(f"{given}, latest backup age: its end, {end}, is in the future: the clocks of the hosts differ")
    return Outcome(age <= limit, f"{given}, latest backup age: {format_age(age)}")


@check("backup minimum size", blocking=False)
def backup_minimum_size(context: CheckContext) -> Outcome:
    """The newest backup is not smaller than `last_backup_minimum_size`."""
    limit = context.config.last_backup_minimum_size
    size = context.last_backup_size
    if limit is None:
        return passed(format_size(size))
    ok = size >= limit
    sign = ">" if ok else "<"
    return Outcome(ok, f"last backup size {format_size(size)} {sign} {format_size(limit)} minimum")


@check("failed backups", blocking=False)
def failed_backups(context: CheckContext) -> Outcome:
    """No backup failed."""
    count = len(context.view.with_status((BackupStatus.FAILED,)))
    return Outcome(not count, f"there are {count} failed backups")


@check("minimum redundancy requirements", blocking=False)
def minimum_redundancy(context: CheckContext) -> Outcome:
    """There are as many backups that can be restored alone as configured."""
    expected = context.config.minimum_redundancy
    try:
        view = judged(context.catalog, context.view) if expected else context.view
    except CatalogError as error:
        return failed(error.message)
    have = view.redundancy()
    return Outcome(have >= expected, f"have {have} non-incremental backups, expected at least {expected}")


@check("backup catalog", blocking=False)
def backup_catalog(context: CheckContext) -> Outcome | None:
    """Every record can be read and tells the truth; every good backup has its data and its parents."""
    problems = [error.message for error in context.view.corrupt.values()]
    problems += [
        f"backup {info.backup_id} is {info.status}, but its process is gone: 'barman cron' marks it as failed"
        for info in _dead_runs(context)
    ]
    for info in context.view.copy_done:
        problem = _problem_of(info, context)
        if problem:
            problems.append(problem)
    if not problems:
        return None
    return failed(problems[0] + (f", and {len(problems) - 1} more" if len(problems) > 1 else ""))


def _dead_runs(context: CheckContext) -> list[BackupInfo]:
    """Backups that say they run while nobody holds their lock; read again, for they may have ended meanwhile."""
    running = (BackupStatus.EMPTY, BackupStatus.STARTED, BackupStatus.SYNCING)
    suspects = [info for info in context.view.with_status(running) if not _is_at_work(info, context)]
    if not suspects:
        return []
    now = context.catalog.snapshot()
    return [
        info for info in suspects if info.backup_id in now.backups and now.backups[info.backup_id].status in running
    ]


def _is_at_work(info: BackupInfo, context: CheckContext) -> bool:
    copies = info.status == BackupStatus.SYNCING
    return context.catalog.locks.is_held(f"{info.backup_id}-sync-backup" if copies else "backup")


def _missing_part(info: BackupInfo, context: CheckContext) -> str:
    """A path without which a backup is refused by `restore`. Raises BackupError."""
    if (info.mode or "").startswith("snapshot"):
        return ""
    layout = context.catalog.layout
    data = layout.data_directory(info.backup_id)
    if info.compression is not None:
        found = find_archives(data)
        wanted = (None, *(space.oid for space in info.tablespaces if os.path.isabs(space.location)))
        lost = [oid for oid in wanted if oid not in found]
        return os.path.join(data, f"{lost[0] or 'base'}.tar*") if lost else ""
    for tablespace in info.tablespaces:
        separate = layout.tablespace_directory(info.backup_id, tablespace.oid)
        if not os.path.isdir(separate) and not os.path.isdir(os.path.join(data, TABLESPACE_LINKS, str(tablespace.oid))):
            return separate
    control = os.path.join(data, CONTROL_FILE)
    return "" if os.path.isfile(control) else control


def _problem_of(info: BackupInfo, context: CheckContext) -> str:
    """Why a backup that is called good cannot be restored, as far as a look at names can tell."""
    if "://" in context.config.basebackups_directory or info.backup_id in context.view.deleting:
        return ""
    if info == context.newest_backup:
        unserved = ", ".join(reasons_against_restore(info))
        lacking = find_combiner(info, context.server.search_path)[1] if info.is_incremental else ""
        if unserved or lacking:
            why = f" by this version: {unserved}" if unserved else f": {lacking}"
            return f"backup {info.backup_id}, the newest one, cannot be restored{why}"
    data = context.catalog.layout.data_directory(info.backup_id)
    if not os.path.isdir(data):
        return f"backup {info.backup_id} is {info.status}, but its data are missing: {data}"
    try:
        missing = _missing_part(info, context)
    except BackupError as error:
        return f"backup {info.backup_id} is {info.status}, but {error.message}"
    if missing:
        return f"backup {info.backup_id} is {info.status}, but a part of it is missing: {missing}"
    lost = shrinkage(info, data) if info.compression is not None else ""
    if lost:
        return f"backup {info.backup_id} is {info.status}, but {lost}"
    try:
        chain = walk_to_root(info, context.view)
    except CatalogError as error:
        return error.message
    broken = next((parent.backup_id for parent in chain[1:] if not parent.is_copy_done), None)
    return f"backup {info.backup_id} needs its parent {broken}, which is not complete" if broken else ""


@check("configuration")
def configuration(context: CheckContext) -> Outcome | None:
    """Nothing in the configuration disables the server."""
    messages = tuple(str(message) for message in context.config.msg_list)
    return failed(details=messages) if messages else None


@check("systemid coherence")
def systemid_coherence(context: CheckContext) -> Outcome:
    """Backups, connections and repository mean one and the same cluster."""
    reads_server = context.config.active and not context.config.passive_node
    facts = context.facts if reads_server else None
    live = facts.system_id if facts else None
    if facts and facts.streaming and facts.streaming.identity and live:
        if facts.streaming.identity.systemid != live:
            return failed("is the streaming DSN targeting the same server of the PostgreSQL connection string?")
    elif facts and facts.streaming and facts.streaming.identity:
        live = facts.streaming.identity.systemid
    # Read in any case: garbage on the disk is told while the server is down, too.
    stored = context.catalog.identity.read()
    if live is None:
        return passed("no system Id available")
    if stored is None:
        # A repository that was copied from elsewhere may have backups of this cluster, or of another one.
        newest = context.newest_backup
        if newest is not None and newest.systemid not in (None, live):
            return failed(f"the system Id of the connected PostgreSQL server is not that of backup {newest.backup_id}")
        return passed("no system Id stored on disk")
    if stored.systemid != live:
        path = context.catalog.layout.identity
        return failed(f'the system Id of the connected PostgreSQL server changed, stored in "{path}"')
    return passed()
