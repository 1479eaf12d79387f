"""Tell whether every segment that a backup needs is archived: WAITING_FOR_WALS becomes DONE, and loss is seen."""

from __future__ import annotations

from barman.backup.record import log_status
from barman.catalog.backup_info import BackupStatus
from barman.catalog.wal_content import recognise_file
from barman.compression.codec import CodecError, decoded, find_codec
from barman.errors import BackupError, InvalidWalName, LockBusy
from barman.postgres.wal_name import WalSegment
from barman.server.filters import configured_filters
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, replace
from barman.wal import header

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from barman.catalog.backup_id import BackupId
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog
    from barman.report import Reporter
    from barman.server.server import Server


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a backup is, going by the archive. `missing`: the first segment that is not there, in any status."""

    status: str
    error: str | None = None
    missing: str | None = None


def check_backup(server: Server, backup_id: BackupId, reporter: Reporter) -> BackupInfo:
    """Judge a backup by the archive and record the result; takes the lock of the backup.

    A segment that is missing while it may still arrive keeps a backup waiting; one that is missing from a backup that
    was DONE, or that is there and cannot be used, makes it FAILED, which is reported as an error. A busy lock is said,
    and the record returned as it is.

    Raises BackupError for a FAILED backup, UnknownBackup, CorruptRecord.
    """
    catalog = server.catalog
    try:
        with catalog.locks.backup_id(backup_id):
            info = catalog.backups.read(backup_id)
            if info.status == BackupStatus.FAILED:
                raise BackupError("The validity of a failed backup cannot be checked")
            if info.status not in BackupStatus.COPY_DONE:
                reporter.debug(f"backup {backup_id} is {info.status}: there is nothing to check yet")
                return info
            arriving = _wal_arrives(server)
            verdict = judge_archive(server, info)
            if verdict.status == BackupStatus.FAILED and (arriving or _wal_arrives(server)):
                reporter.debug(f"WAL is being copied: backup {backup_id} is judged when that is over ({verdict.error})")
                return info
            return _record(catalog, info, verdict, reporter)
    except LockBusy:
        reporter.info(f"Another action is in progress for the backup {backup_id} of server {server.name}, skipping")
        return catalog.backups.read(backup_id)


def _wal_arrives(server: Server) -> bool:
    """Tell whether a passive node copies WAL now: the original writes it under its final name while it comes."""
    return bool(server.config.passive_node) and server.catalog.locks.is_held("sync-wal")


def judge_archive(server: Server, info: BackupInfo) -> Verdict:
    """Judge a backup by the WAL directory, which is the truth; changes nothing."""
    if info.begin_wal is None or info.end_wal is None:
        return Verdict(info.status, info.error)
    archived = frozenset(server.catalog.wals.names(info.begin_wal, info.end_wal))

    def reason_against(name: str) -> str | None:
        return _reason_against(server, name, info)

    return judge(info, archived, reason_against)


def judge(info: BackupInfo, archived: Container[str], reason_against: Callable[[str], str | None]) -> Verdict:
    """Judge a backup whose copy is done. Pure.

    `archived` are the names in the archive; `reason_against` says why an archived segment cannot be used, if so.
    """
    try:
        names = list(required_segments(info))
    except MultipleTimelines as mismatch:
        return Verdict(BackupStatus.FAILED, mismatch.message)
    missing = next((name for name in names if name not in archived), None)
    if missing is not None and info.status == BackupStatus.DONE:
        # It was there when the backup became DONE: nothing brings it back by itself.
        error = f"At least one WAL file is missing. The first missing WAL file is {missing}"
        return Verdict(BackupStatus.FAILED, error, missing)
    if missing is not None:
        return Verdict(BackupStatus.WAITING_FOR_WALS, missing=missing)
    for name in names:
        reason = reason_against(name)
        if reason is not None:
            return Verdict(BackupStatus.FAILED, f"At least one WAL file cannot be used: {name}: {reason}", name)
    return Verdict(BackupStatus.DONE)


class MultipleTimelines(BackupError):
    """Begin and end of a backup lie on different timelines."""


def required_segments(info: BackupInfo) -> Iterator[str]:
    """Yield the names of the segments from begin to end. Raises MultipleTimelines, BackupError for a damaged range."""
    try:
        begin, end = WalSegment.parse(info.begin_wal or ""), WalSegment.parse(info.end_wal or "")
    except InvalidWalName as error:
        raise BackupError(f"backup {info.backup_id} has no usable WAL range: {error.message}") from error
    if begin.timeline != end.timeline:
        raise MultipleTimelines(
            "backups that span several timelines are not supported: this one begins on timeline "
            f"{begin.timeline:08X} and ends on timeline {end.timeline:08X}"
        )
    size = info.xlog_segment_size
    for number in range(begin.number(size), end.number(size) + 1):
        yield WalSegment.numbered(number, begin.timeline, size).name


def _reason_against(server: Server, name: str, info: BackupInfo) -> str | None:
    """Look at the first page of an archived segment: it tells a file that is empty, cut, damaged or another one.

    An encrypted file, or one in a format that is not installed here, is not judged.
    """
    stored = server.catalog.wals.find(name)
    if stored is None:
        return "it is missing"
    custom = configured_filters(server.config)
    compression, encryption = recognise_file(stored.path, custom)
    if encryption is not None:
        return None
    if compression is None and stored.size != info.xlog_segment_size:
        return f"its size is {stored.size} bytes, a segment has {info.xlog_segment_size}"
    try:
        if compression is not None:
            find_codec(compression, custom=custom)
    except CodecError:
        return None
    try:
        with decoded(stored.path, custom) as stream:
            verdict = header.judge(stream, name, info.xlog_segment_size, info.systemid)
    except CodecError as error:
        return error.message
    return "; ".join(verdict.reasons) or None


def _record(catalog: Catalog, info: BackupInfo, verdict: Verdict, reporter: Reporter) -> BackupInfo:
    if verdict.status == BackupStatus.WAITING_FOR_WALS and verdict.missing is not None:
        _say_what_is_missing(catalog, info, verdict.missing, reporter)
    if (verdict.status, verdict.error) == (info.status, info.error):
        return info
    judged = replace(info, status=verdict.status, error=verdict.error)
    catalog.backups.save(judged)
    log_status(judged, info.status)
    if verdict.status == BackupStatus.FAILED:
        reporter.error(
            f"Check backup failed for server {info.server_name} backup {info.backup_id}\n"
            f"This backup has been marked as FAILED due to the following reason: {verdict.error}"
        )
    return judged


def _say_what_is_missing(catalog: Catalog, info: BackupInfo, missing: str, reporter: Reporter) -> None:
    """A hole, with newer WAL behind it, is worth a warning: it may be filled late, by another archiver, or never."""
    newest = catalog.wals.newest_segment(int(missing[:8], 16))
    if newest is not None and newest > missing:
        reporter.warning(
            f"backup {info.backup_id} of server {info.server_name} waits for WAL file {missing}, although newer ones "
            "are archived already; it stays WAITING_FOR_WALS and cannot be restored until that file arrives"
        )
    else:
        reporter.debug(f"backup {info.backup_id} waits for WAL file {missing}")
