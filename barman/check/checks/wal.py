"""The WAL archive: would a restore of the newest backup reach the present?"""

from __future__ import annotations

import os

from barman import clock
from barman.check.check import Outcome, check, failed, passed
from barman.postgres.timeline import TimelineHistory
from barman.postgres.wal_name import WalSegment, is_segment_name
from barman.postgres.wal_run import join_numbers
from barman.timestamps import format_ctime
from barman.typing import TYPE_CHECKING
from barman.units import format_age, format_interval, format_size
from barman.wal.recovery_path import RecoveryPath
from barman.wal.recovery_window import Gap
from barman.wal.required import segments_between
from barman.wal.unfinished import find_received, why_useless

if TYPE_CHECKING:
    from barman.catalog.backup_info import BackupInfo
    from barman.check.context import CheckContext
    from barman.config.server_config import ServerConfig

WAITING_SECONDS = 600.0
"""How long the last WAL of a backup may take to arrive: the switch is immediate, and cron runs each minute."""

_NEW_BACKUP = "find it, or run 'barman backup {}'"


def _on_disk(config: ServerConfig) -> bool:
    return "://" not in config.wals_directory


@check("WAL archive", applies=_on_disk)
def wal_archive(context: CheckContext) -> Outcome | None:
    """Restoring the newest backup to now would find all WAL.

    An archive without WAL is no failure as long as no backup needs any: nothing verifiable is wrong with it. A hole
    does not keep a backup from starting, for a new backup is the remedy; WAL that does not arrive does.
    """
    newest = context.newest_backup
    if newest is None or newest.begin_wal is None or not is_segment_name(newest.begin_wal):
        return None
    history, problem = _newest_history(context, newest)
    if problem:
        return failed(problem, blocking=False)
    found = _gaps(context, newest, history)
    if found:
        more = f", and {len(found) - 1} more holes" if len(found) > 1 else ""
        name = context.config.name
        remedy = (
            f"see 'barman check {name}' on the primary" if context.config.passive_node else _NEW_BACKUP.format(name)
        )
        return failed(
            f"WAL missing after the begin of backup {newest.backup_id}: {found[0]}{more}. Recovery ends there: "
            f"{remedy}; 'barman recovery-window {name}' shows what can be recovered",
            blocking=False,
        )
    return _lost_wal(context, newest) or _damaged(context, newest) or _overdue(context, newest)


def _newest_history(context: CheckContext, newest: BackupInfo) -> tuple[TimelineHistory | None, str]:
    """The history of the newest timeline that continues the backup; or why it cannot be told."""
    wals = context.catalog.wals
    begin = WalSegment.parse(str(newest.begin_wal))
    for timeline in sorted(wals.timelines(), reverse=True):
        if timeline <= begin.timeline:
            break
        if wals.newest_segment(timeline) is None:
            continue
        history = wals.history(timeline)
        if history is None:
            return None, f"timeline {timeline} has WAL, but {timeline:08X}.history is not in the archive"
        end = history.end_of(begin.timeline)
        if end is not None and newest.end_xlog is not None and end >= newest.end_xlog:
            return history, ""
    return None, ""


def _gaps(context: CheckContext, newest: BackupInfo, history: TimelineHistory | None) -> list[Gap]:
    """What is missing from begin to now; looked at twice, because archiving goes on meanwhile.

    What has not been written yet is not missing: the newest segment there is ends the way, be it unfinished.
    """
    size = newest.xlog_segment_size
    received = find_received(context.catalog.layout)
    begin = WalSegment.parse(str(newest.begin_wal))
    followed = history or TimelineHistory(begin.timeline)
    runs = {}
    for timeline in (*followed.ancestors, followed.timeline):
        names = context.catalog.wals.names(begin.on_timeline(timeline).name, timeline=timeline)
        numbers = {WalSegment.parse(name).number(size) for name in names if is_segment_name(name)}
        numbers |= {
            item.segment.number(size)
            for item in received
            if item.segment.timeline == timeline
            and item.segment.number(size) > max(numbers, default=item.segment.number(size))
            and why_useless(item, size, newest.systemid) is None
        }
        runs[timeline] = join_numbers(numbers)
    first = begin.number(size)
    path = RecoveryPath(followed, runs, size, [first])
    if path.newest is None:
        return []
    found = [
        Gap(path.segment(low), path.segment(high), high - low + 1) for low, high in path.missing(first, path.newest)
    ]
    return [gap for gap in found if not (_is_here(context, gap.first.name) and _is_here(context, gap.last.name))]


def _is_here(context: CheckContext, name: str) -> bool:
    """Whether a file is archived or waits for it; in the order in which it travels, so that none slips by."""
    config = context.config
    # On a passive node nobody archives what waits.
    places = () if config.passive_node else (config.incoming_wals_directory, config.streaming_wals_directory)
    return any(os.path.exists(os.path.join(place, name)) for place in places) or context.catalog.wals.exists(name)


def _overdue(context: CheckContext, newest: BackupInfo) -> Outcome | None:
    """The last WAL that the backup itself needs is there, or may still be on its way."""
    missing = None
    if newest.end_wal and is_segment_name(newest.end_wal):
        needed = segments_between(str(newest.begin_wal), newest.end_wal, newest.xlog_segment_size)
        missing = next((item.name for item in needed if not context.catalog.wals.exists(item.name)), None)
    if missing is None:
        return None
    if context.config.passive_node:
        return _not_copied(context, newest, missing)
    age = (clock.now() - newest.end_time).total_seconds() if newest.end_time else WAITING_SECONDS
    if newest.status != "DONE" and age < WAITING_SECONDS:
        return None
    return failed(
        f"backup {newest.backup_id} ended {format_age(max(age, 0))} ago and its WAL {missing} is not archived: "
        f"see that WAL arrives, then run 'barman switch-wal --archive {context.config.name}'"
    )


def _not_copied(context: CheckContext, newest: BackupInfo, missing: str) -> Outcome | None:
    """On a passive node the WAL of a backup follows the backup; how long ago that was, its record knows."""
    try:
        age = clock.timestamp() - os.stat(context.catalog.layout.backup_info(newest.backup_id)).st_mtime
    except OSError:
        age = WAITING_SECONDS
    if age < WAITING_SECONDS or context.catalog.locks.is_held("sync-wal"):
        return None
    name = context.config.name
    return failed(
        f"backup {newest.backup_id} was copied {format_age(max(age, 0))} ago and its WAL {missing} was not: "
        f"run 'barman sync-wals {name}', and see 'barman check {name}' on the primary",
        blocking=False,
    )


def _lost_wal(context: CheckContext, newest: BackupInfo) -> Outcome | None:
    """What PostgreSQL says it has archived since the newest backup is here: its archive_command leads to us.

    A new backup is not refused: it waits for its own WAL, and once that arrives it is the remedy.
    """
    config = context.config
    facts = context.archiving_facts
    if not config.archiver or not config.active or config.passive_node or facts is None:
        return None
    stats = facts.archiver
    name = stats.last_archived_wal if stats else None
    if stats is None or name is None or not is_segment_name(name) or name <= str(newest.end_wal or newest.begin_wal):
        return None
    if _is_here(context, name) or _is_set_aside(config.errors_directory, name):
        return None
    moment = format_ctime(stats.last_archived_time) if stats.last_archived_time else "some time"
    reason = f"PostgreSQL archived {name} at {moment}, but it did not arrive here: check archive_command"
    return failed(reason, blocking=False)


def _is_set_aside(directory: str, name: str) -> bool:
    try:
        return any(entry.startswith(name) for entry in os.listdir(directory))
    except OSError:
        return False


def _damaged(context: CheckContext, newest: BackupInfo) -> Outcome | None:
    """Uncompressed segments have their full size; the index knows, and the file confirms."""
    full = newest.xlog_segment_size
    for file in context.index.files(str(newest.begin_wal)):
        if file.size == full or file.compression or file.encryption or not is_segment_name(file.name):
            continue
        stored = context.catalog.wals.find(file.name)
        if stored is not None and stored.size < full and _is_plain(context, stored.path):
            return failed(f"{stored.path} has {stored.size} bytes instead of {full}", blocking=False)
    return None


def _is_plain(context: CheckContext, path: str) -> bool:
    from barman.catalog.wal_content import recognise_file
    from barman.server.filters import configured_filters

    return recognise_file(path, configured_filters(context.config)) == (None, None)


@check("WAL index", applies=_on_disk, blocking=False)
def wal_index(context: CheckContext) -> Outcome | None:
    """xlog.db lists what is archived since the newest backup, and nothing else."""
    newest = context.newest_backup
    locks = context.catalog.locks
    if newest is None or not newest.begin_wal or locks.is_held("archive-wal") or locks.is_held("sync-wal"):
        return None
    remedy = f"run 'barman rebuild-xlogdb {context.config.name}'"
    if context.index.problems.garbage:
        return failed(f"xlog.db has {context.index.problems.garbage} lines that cannot be read: {remedy}")
    listed = {file.name for file in context.index.files(newest.begin_wal)}
    present = set(context.catalog.wals.names(newest.begin_wal))
    gone = sorted(name for name in listed - present if not context.catalog.wals.exists(name))
    if gone:
        return failed(f"xlog.db lists {len(gone)} WAL files that are not in the archive, first {gone[0]}: {remedy}")
    unlisted = sorted(name for name in present - listed if not name.endswith(".partial"))
    if unlisted and not _just_archived(context, unlisted):
        return failed(f"{len(unlisted)} archived WAL files are not listed in xlog.db, first {unlisted[0]}: {remedy}")
    return None


def _just_archived(context: CheckContext, unlisted: list[str]) -> bool:
    """Whether an archiver was between file and index line when we looked: ask the index again."""
    with context.catalog.index() as again:
        return all(name in again for name in unlisted)


@check("wal maximum age", blocking=False)
def wal_maximum_age(context: CheckContext) -> Outcome:
    """The newest WAL of the newest backup is younger than `last_wal_maximum_age`."""
    limit = context.config.last_wal_maximum_age
    if limit is None:
        return passed("no last_wal_maximum_age provided")
    given = f"interval provided: {format_interval(limit)}"
    newest = context.newest_backup
    stats = context.index.range_stats(newest.begin_wal) if newest and newest.begin_wal else None
    if stats is None or not stats.count:
        return failed("No WAL files archived for last backup")
    age = clock.timestamp() - stats.last_time
    return Outcome(age <= limit.total_seconds(), f"{given}, latest wal age: {format_age(age)}")


@check("wal size")
def wal_size(context: CheckContext) -> Outcome:
    """How much WAL there is after the newest backup."""
    return passed(format_size(context.wals_size))
