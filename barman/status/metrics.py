"""`metrics`: what can be measured of one server, from its repository alone. The verdicts of `check` are handed in.

Everything is a gauge: the values are read anew each time, so that one that was reset cannot mislead. Moments are given
as moments, since a file that nobody renews keeps its ages for ever.
"""

from __future__ import annotations

import os

from barman.catalog.backup_info import BackupStatus
from barman.fs.lock import who_holds
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, field
from barman.wal.recoverable import read_windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.view import CatalogView
    from barman.server.server import Server
    from barman.wal.recovery_window import RecoveryWindows

HELP = {
    "barman_scrape_ok": "Whether the server could be looked at (1) or not (0).",
    "barman_scrape_timestamp_seconds": "When these values were read.",
    "barman_server_active": "Whether the server is active.",
    "barman_server_disabled": "Whether its configuration disables the server.",
    "barman_server_ok": "Whether every line of barman check is OK.",
    "barman_check_ok": "Whether one line of barman check is OK.",
    "barman_backups": "Number of backups by status.",
    "barman_backups_unreadable": "Number of backup records that cannot be read.",
    "barman_backups_size_bytes": "Bytes that all backups take.",
    "barman_redundancy": "Number of good backups that can be restored alone.",
    "barman_minimum_redundancy": "The number that minimum_redundancy demands.",
    "barman_oldest_backup_end_timestamp_seconds": "When the oldest good backup ended.",
    "barman_last_backup_end_timestamp_seconds": "When the newest good backup ended.",
    "barman_last_backup_age_seconds": "Seconds since the end of the newest good backup.",
    "barman_last_backup_size_bytes": "Bytes of the newest good backup.",
    "barman_last_backup_deduplicated_size_bytes": "Bytes of the newest good backup that no other one shares.",
    "barman_last_backup_duration_seconds": "How long the newest good backup took from begin to end.",
    "barman_last_backup_copy_seconds": "How long copying the newest good backup took.",
    "barman_last_backup_failed": "Whether the newest backup of all failed.",
    "barman_recoverable": "Whether any backup can be restored along the current timeline.",
    "barman_recovery_reaches_end": "Whether the newest archived WAL can be recovered to.",
    "barman_recovery_window_earliest_timestamp_seconds": "The first moment that can be recovered without a gap.",
    "barman_recovery_window_latest_timestamp_seconds": "The last moment that can be recovered.",
    "barman_recovery_behind_seconds": "How far the last recoverable moment lies behind now: the true RPO.",
    "barman_recovery_timeline": "The timeline that a restore without options follows.",
    "barman_wal_gaps": "Number of gaps in the WAL that backups of the current timeline need.",
    "barman_wal_missing_segments": "Number of segments that are missing in these gaps.",
    "barman_backups_not_restorable": "Number of good backups that cannot be restored along the current timeline.",
    "barman_backups_stopped_by_gap": "Number of backups that cannot be recovered beyond a gap.",
    "barman_wal_files": "Number of archived WAL files by the index.",
    "barman_wal_size_bytes": "Bytes of archived WAL by the index.",
    "barman_wal_last_archived_timestamp_seconds": "When the newest archived segment was written.",
    "barman_wal_since_last_backup_size_bytes": "Bytes of WAL archived after the newest good backup.",
    "barman_wal_segments_per_second": "Rate of archived segments since the begin of the newest good backup.",
    "barman_wal_queue_files": "Number of WAL files that wait to be archived.",
    "barman_wal_refused_files": "Number of WAL files in errors/.",
    "barman_receiver_expected": "Whether receive-wal should run.",
    "barman_receiver_running": "Whether receive-wal runs.",
    "barman_passive": "Whether the server is a passive node, which copies from another Barman.",
    "barman_sync_answer_timestamp_seconds": "Passive node: when the primary answered last.",
    "barman_sync_wal_timestamp_seconds": "Passive node: when WAL was copied last, with success.",
    "barman_sync_backup_timestamp_seconds": "Passive node: when a backup was copied last, with success.",
    "barman_sync_failed": "Passive node: whether the newest attempt of a step of the synchronisation failed.",
    "barman_sync_missing_wals": "Passive node: WAL files of the primary's last answer that are needed and not here.",
    "barman_sync_missing_wal_bytes": "Passive node: bytes of these files as the primary stores them.",
    "barman_sync_behind_seconds": "Passive node: by how much the newest of them is younger than the newest WAL here.",
    "barman_sync_missing_backups": "Passive node: backups of the primary's last answer that are to be copied.",
    "barman_sync_copying_backups": "Passive node: backups that are being copied now.",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of the metric `name`."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Everything measured in one run, in the order in which it was read."""

    samples: tuple[Sample, ...]


def read_metrics(server: Server, now: float) -> Iterator[Sample]:
    """The values of one server. Raises BarmanError, OSError when its repository cannot be read."""
    config = server.config
    found: dict[str, float | None] = {
        "barman_scrape_timestamp_seconds": now,
        "barman_server_active": bool(config.active),
        "barman_server_disabled": bool(config.disabled),
        "barman_minimum_redundancy": config.minimum_redundancy,
        "barman_receiver_expected": bool(config.active and config.streaming_archiver and not config.passive_node),
        "barman_receiver_running": who_holds(server.catalog.layout.lock("receive-wal")) is not None,
    }
    view = server.catalog.snapshot()
    found |= _of_backups(view) | _of_last(view.latest(), now) | _of_recovery(read_windows(server.catalog, view))
    found |= _of_wal(server, view.latest())
    found |= {"barman_passive": bool(config.passive_node)}
    if config.passive_node:
        found |= _of_sync(server, view)
    labels = {"server": config.name}
    yield from (Sample(name, float(value), labels) for name, value in found.items() if value is not None)
    for status in sorted(BackupStatus.ALL):
        count = sum(info.status == status for info in view.backups.values())
        yield Sample("barman_backups", count, {**labels, "status": status})
    for queue, directory in (
        ("incoming", config.incoming_wals_directory),
        ("streaming", config.streaming_wals_directory),
    ):
        yield Sample("barman_wal_queue_files", _count(directory), {**labels, "queue": queue})


def check_samples(server_name: str, verdicts: Mapping[str, bool]) -> Iterator[Sample]:
    """The lines of `check` by name."""
    yield Sample("barman_server_ok", float(all(verdicts.values())), {"server": server_name})
    for name, ok in verdicts.items():
        yield Sample("barman_check_ok", float(ok), {"server": server_name, "check": name})


def _of_backups(view: CatalogView) -> dict[str, float | None]:
    newest = view.backups[view.ids[-1]] if view.ids else None
    oldest = view.oldest()
    return {
        "barman_backups_unreadable": len(view.corrupt),
        "barman_backups_size_bytes": sum(info.deduplicated_size or info.size or 0 for info in view.copy_done),
        "barman_redundancy": view.redundancy(),
        "barman_oldest_backup_end_timestamp_seconds": _epoch(oldest.end_time) if oldest else None,
        "barman_last_backup_failed": newest is not None and newest.status == BackupStatus.FAILED,
    }


def _of_last(info: BackupInfo | None, now: float) -> dict[str, float | None]:
    if info is None:
        return {}
    begin, end = _epoch(info.begin_time), _epoch(info.end_time)
    return {
        "barman_last_backup_end_timestamp_seconds": end,
        "barman_last_backup_age_seconds": None if end is None else max(0.0, now - end),
        "barman_last_backup_size_bytes": info.size,
        "barman_last_backup_deduplicated_size_bytes": info.deduplicated_size,
        "barman_last_backup_duration_seconds": None if begin is None or end is None else end - begin,
        "barman_last_backup_copy_seconds": _copy_time(info),
    }


def _copy_time(info: BackupInfo) -> float | None:
    from barman.errors import CorruptRecord

    try:
        found = (info.copy_stats or {}).get("copy_time")
    except CorruptRecord:
        return None
    return float(found) if isinstance(found, int | float) else None


def _of_recovery(windows: RecoveryWindows) -> dict[str, float | None]:
    line, window = windows.current, windows.latest
    if line is None:
        return {"barman_recoverable": 0}
    return {
        "barman_recoverable": window is not None,
        "barman_recovery_reaches_end": line.reaches_end,
        "barman_recovery_timeline": line.timeline,
        "barman_recovery_window_earliest_timestamp_seconds": _epoch(window.earliest) if window else None,
        "barman_recovery_window_latest_timestamp_seconds": _epoch(window.newest) if window else None,
        "barman_recovery_behind_seconds": windows.behind,
        "barman_wal_gaps": len(line.gaps),
        "barman_wal_missing_segments": sum(gap.count for gap in line.gaps),
        "barman_backups_not_restorable": sum(not reach.restorable for reach in line.backups),
        "barman_backups_stopped_by_gap": sum(
            reach.restorable and reach.stopped_by is not None for reach in line.backups
        ),
    }


def _of_sync(server: Server, view: CatalogView) -> dict[str, float | None]:
    from barman.sync.standing import read_standing

    standing = read_standing(server.config, server.catalog, view)
    return {
        "barman_sync_answer_timestamp_seconds": standing.answered_at,
        "barman_sync_wal_timestamp_seconds": standing.wals_at,
        "barman_sync_backup_timestamp_seconds": standing.backup_at,
        "barman_sync_failed": bool(standing.error or standing.problem),
        "barman_sync_missing_wals": standing.missing_wals,
        "barman_sync_missing_wal_bytes": standing.missing_bytes,
        "barman_sync_behind_seconds": standing.behind_seconds,
        "barman_sync_missing_backups": standing.backups_behind,
        "barman_sync_copying_backups": len(standing.copying),
    }


def _of_wal(server: Server, last: BackupInfo | None) -> dict[str, float | None]:
    found: dict[str, float | None] = {"barman_wal_refused_files": _count(server.config.errors_directory, ".reason")}
    if not os.path.exists(server.catalog.layout.xlogdb):
        return found
    with server.catalog.index() as index:
        newest = index.newest
        found |= {
            "barman_wal_files": index.count,
            "barman_wal_size_bytes": index.size,
            "barman_wal_last_archived_timestamp_seconds": newest.time if newest else None,
        }
        if last is not None and last.begin_wal and last.end_wal:
            found["barman_wal_since_last_backup_size_bytes"] = index.range_stats(last.end_wal, after=True).size
            stats = index.range_stats(last.begin_wal)
            seconds = stats.last_time - stats.first_time
            found["barman_wal_segments_per_second"] = stats.count / seconds if seconds > 0 else 0.0
    return found


def _epoch(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _count(directory: str, besides: str = ".tmp") -> int:
    try:
        names = os.listdir(directory)
    except OSError:
        return 0
    return sum(not name.startswith(".") and not name.endswith((besides, ".partial")) for name in names)
