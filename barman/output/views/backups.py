"""Views of `list-backups` and `show-backup` (cli reference, sections 5 and 11)."""

from __future__ import annotations

from barman.timestamps import format_ctime, format_epoch, format_timestamp
from barman.typing import TYPE_CHECKING, Any
from barman.units import format_age, format_percentage, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from barman.catalog.backup_info import BackupInfo
    from barman.status.backup_details import BackupDetails
    from barman.status.backups import BackupList, BackupRow, WalUsage

    Write = Callable[[str], None]
    Rows = Iterable[tuple[str, object]]

_LETTERS = {"full": "F", "incremental": "I", "rsync": "R", "snapshot": "S"}
_UNREMARKABLE = ("", "-", "VALID")
_OLDEST = "- (this is the oldest base backup)"
_LATEST = "- (this is the latest base backup)"
_INACCURATE = "WAL information is inaccurate due to multiple timelines interacting with this backup"


class BackupListView:
    """One line a backup; ids only with `--minimal`."""

    @staticmethod
    def console(result: BackupList, write: Write) -> None:
        """Write the lines."""
        for row in result.rows:
            write(row.info.backup_id if result.minimal else _line(result.server_name, row))

    @staticmethod
    def json(result: BackupList) -> dict[str, Any]:
        """A list of objects, or of ids, under the name of the server."""
        if result.minimal:
            return {result.server_name: [row.info.backup_id for row in result.rows]}
        return {result.server_name: [_row_object(row) for row in result.rows]}


def _line(server_name: str, row: BackupRow) -> str:
    info = row.info
    line = f"{server_name} {info.backup_id}"
    if info.backup_name:
        line += f" '{info.backup_name}'"
    line += f" - {_LETTERS[info.backup_type]} - "
    if not info.is_copy_done:
        return line + info.status
    ended = format_ctime(info.end_time) if info.end_time else None
    line += f"{ended} - Size: {format_size(row.size)} - WAL Size: {format_size(row.following_wals.size)}"
    if info.status != "DONE":
        line += f" - {info.status}"
    if row.retention not in _UNREMARKABLE:
        line += f" - {row.retention}"
    return line


def _row_object(row: BackupRow) -> dict[str, Any]:
    info = row.info
    found: dict[str, Any] = {"backup_id": info.backup_id, "backup_type": info.backup_type, "status": info.status}
    if info.backup_name:
        found["backup_name"] = info.backup_name
    if info.is_copy_done:
        found |= {
            "end_time": format_ctime(info.end_time) if info.end_time else None,
            "end_time_timestamp": format_epoch(info.end_time) if info.end_time else None,
            "size": format_size(row.size),
            "size_bytes": row.size,
            "wal_size": format_size(row.following_wals.size),
            "wal_size_bytes": row.following_wals.size,
            "retention_status": "-" if row.retention in _UNREMARKABLE else row.retention,
        }
    return found


class BackupDetailsView:
    """Blocks of aligned rows."""

    @staticmethod
    def console(result: BackupDetails, write: Write) -> None:
        """Write the blocks, with an empty line after each but the last."""
        info = result.info
        write(f"Backup {info.backup_id}:")
        _write_rows(_heading_rows(result), write)
        write("")
        _write_block("Server information", _server_rows(info), write)
        if not info.is_copy_done:
            _write_rows([("Error", info.error)], write)
            return
        _write_snapshots(info, write)
        tablespaces = ((item.name, f"{item.location} (oid: {item.oid})") for item in info.tablespaces)
        _write_block("Tablespaces", tablespaces, write)
        _write_block("Base backup information", _backup_rows(result), write)
        _write_block("WAL information", _wal_rows(result), write)
        _write_block("Catalog information", _catalog_rows(result), write, last=True)
        if result.timelines:
            write("")
            write(f"WARNING: {_INACCURATE}")
        _write_nested(_family_rows(info, result), write)

    @staticmethod
    def json(result: BackupDetails) -> dict[str, Any]:
        """One object under the name of the server."""
        info = result.info
        found: dict[str, Any] = {
            "backup_id": info.backup_id,
            "status": info.status,
            "server_information": {"data_checksums": info.data_checksums, "summarize_wal": info.summarize_wal},
        }
        found |= _present(backup_name=info.backup_name, system_id=info.systemid)
        if not info.is_copy_done:
            return {result.server_name: found | _present(error=info.error)}
        found |= {
            "backup_type": info.backup_type,
            "postgresql_version": info.version,
            "pgdata_directory": info.pgdata,
            "tablespaces": [{"name": t.name, "location": t.location, "oid": t.oid} for t in info.tablespaces],
            "base_backup_information": _backup_object(result),
            "wal_information": _wal_object(result),
            "catalog_information": _catalog_object(result),
        }
        if info.cluster_size is not None:
            found |= {"cluster_size": format_size(info.cluster_size), "cluster_size_bytes": info.cluster_size}
        if info.snapshots_info:
            found["snapshots_info"] = dict(info.snapshots_info)
        return {result.server_name: found}


def _present(**items: object) -> dict[str, Any]:
    return {key: value for key, value in items.items() if value is not None}


def _write_rows(rows: Rows, write: Write) -> None:
    for label, value in rows:
        if value is not None:
            write(f"  {label:<23}: {value}")


def _write_block(title: str, rows: Rows, write: Write, *, last: bool = False) -> None:
    present = [(label, value) for label, value in rows if value is not None]
    if not present:
        return
    write(f"  {title}:")
    _write_nested(present, write)
    if not last:
        write("")


def _write_nested(rows: Rows, write: Write) -> None:
    for label, value in rows:
        if value is not None:
            write(f"    {label:<21}: {value}")


def _heading_rows(result: BackupDetails) -> Rows:
    info = result.info
    yield "Backup Name", info.backup_name
    yield "Server Name", result.server_name
    yield "System Id", info.systemid
    yield "Status", info.status
    if info.is_copy_done:
        yield "PostgreSQL Version", info.version
        yield "PGDATA directory", info.pgdata
        yield "Estimated Cluster Size", None if info.cluster_size is None else format_size(info.cluster_size)


def _server_rows(info: BackupInfo) -> Rows:
    yield "Checksums", info.data_checksums
    yield "WAL summarizer", info.summarize_wal


def _write_snapshots(info: BackupInfo, write: Write) -> None:
    if not info.snapshots_info:
        return
    write("  Snapshot information:")
    known = info.snapshots_info
    for key, value in sorted((known.get("provider_info") or {}).items()):
        write(f"    {key:<21}: {value}")
    write("")
    for snapshot in known.get("snapshots") or ():
        for key, value in sorted((snapshot.get("provider") or {}).items()):
            write(f"    {key:<21}: {value}")
        mount = snapshot.get("mount") or {}
        write(f"    {'Mount point':<21}: {mount.get('mount_point')}")
        write(f"    {'Mount options':<21}: {mount.get('mount_options')}")
        write("")


def _backup_rows(result: BackupDetails) -> Rows:
    info, wals = result.info, result.required_wals
    yield "Backup Method", info.mode
    yield "Encryption", info.encryption
    if info.mode == "postgres":
        yield "Backup Type", info.backup_type
    if _backup_size(info) is not None:
        size = _backup_size(info) or 0
        with_wals = f" ({format_size(size + wals.size)} with WALs)" if wals.size else ""
        yield "Backup Size", format_size(size) + with_wals
    yield "Backup Compression", info.compression
    yield "WAL Size", format_size(wals.size) if wals.size else None
    saved = _resources_saved(info)
    if saved is not None:
        yield "Resources saved", f"{format_size(saved[0])} ({format_percentage(saved[1])})"
    yield "Timeline", info.timeline
    yield "Begin WAL", info.begin_wal
    yield "End WAL", info.end_wal
    yield "Number of WALs", wals.count or None
    yield "WAL compression ratio", _ratio(wals, info)
    yield "Begin time", format_timestamp(info.begin_time) if info.begin_time else None
    yield "End time", format_timestamp(info.end_time) if info.end_time else None
    yield from _copy_rows(info)
    yield "Begin Offset", info.begin_offset
    yield "End Offset", info.end_offset
    yield "Begin LSN", info.begin_xlog
    yield "End LSN", info.end_xlog


def _copy_rows(info: BackupInfo) -> Rows:
    stats = _copy_stats(info)
    copy, analysis = stats.get("copy_time"), stats.get("analysis_time", 0.0)
    if not copy:
        return
    startup = f" + {format_age(analysis)} startup" if analysis >= 1 else ""
    yield "Copy time", format_age(copy) + startup
    workers = stats.get("number_of_workers", 1)
    jobs = f" ({workers:.0f} jobs)" if workers > 1 else ""
    yield "Estimated throughput", f"{format_size((_backup_size(info) or 0) / copy)}/s{jobs}"


def _wal_rows(result: BackupDetails) -> Rows:
    wals = result.following_wals
    yield "Number of files", wals.count
    yield "Disk usage", format_size(wals.size)
    yield "WAL rate", _rate_text(result) if result.wals_per_second > 0 else None
    yield "Compression ratio", _ratio(wals, result.info)
    yield "Last available", result.last_available
    if result.reach is not None:
        from barman.status.recovery import describe_reach

        yield "Recoverable until", describe_reach(result.reach)
        gap = result.reach.stopped_by
        yield "Missing WAL", None if gap is None else f"{gap}: see 'barman recovery-window {result.server_name}'"
    yield "Reachable timelines", ", ".join(str(timeline) for timeline in result.timelines) or None


def _catalog_rows(result: BackupDetails) -> Rows:
    yield "Retention Policy", result.retention or "not enforced"
    yield "Previous Backup", result.previous_id or _OLDEST
    yield "Next Backup", result.next_id or _LATEST


def _family_rows(info: BackupInfo, result: BackupDetails) -> Rows:
    if info.parent_backup_id:
        yield "Root Backup", result.root_id
        yield "Parent Backup", info.parent_backup_id
        yield "Backup chain size", result.chain_size
    if info.mode == "postgres":
        yield "Children Backup(s)", ",".join(info.children_backup_ids) or None


def _backup_object(result: BackupDetails) -> dict[str, Any]:
    info, wals = result.info, result.required_wals
    size = _backup_size(info) or 0
    found: dict[str, Any] = {
        "backup_method": info.mode,
        "encryption": info.encryption,
        "compression": info.compression,
        "backup_size": format_size(size),
        "backup_size_bytes": size,
        "backup_size_with_wals": format_size(size + wals.size),
        "backup_size_with_wals_bytes": size + wals.size,
        "wal_size": format_size(wals.size),
        "wal_size_bytes": wals.size,
        "wal_num": wals.count,
        # The names before 3.15, which exporters still read.
        "disk_usage": format_size(info.size or 0),
        "disk_usage_bytes": info.size or 0,
        "disk_usage_with_wals": format_size((info.size or 0) + wals.size),
        "disk_usage_with_wals_bytes": (info.size or 0) + wals.size,
        "timeline": info.timeline,
        "begin_wal": info.begin_wal,
        "end_wal": info.end_wal,
        "begin_time": format_timestamp(info.begin_time) if info.begin_time else None,
        "begin_time_timestamp": format_epoch(info.begin_time) if info.begin_time else None,
        "end_time": format_timestamp(info.end_time) if info.end_time else None,
        "end_time_timestamp": format_epoch(info.end_time) if info.end_time else None,
        "begin_offset": info.begin_offset,
        "end_offset": info.end_offset,
        "begin_lsn": None if info.begin_xlog is None else str(info.begin_xlog),
        "end_lsn": None if info.end_xlog is None else str(info.end_xlog),
    }
    found |= _present(wal_compression_ratio=_ratio(wals, info)) | _copy_object(info, size)
    saved = _resources_saved(info)
    if saved is not None:
        found |= {
            "resources_saved": format_size(saved[0]),
            "resources_saved_bytes": saved[0],
            "resources_saved_percentage": format_percentage(saved[1]),
            # The names before 3.11, which an exporter still reads.
            "incremental_size": format_size(size),
            "incremental_size_bytes": size,
            "incremental_size_ratio": f"-{format_percentage(saved[1])}",
        }
    return found


def _copy_object(info: BackupInfo, size: int) -> dict[str, Any]:
    stats = _copy_stats(info)
    copy, analysis = stats.get("copy_time"), stats.get("analysis_time")
    found: dict[str, Any] = {}
    if not copy:
        return found
    found = {"copy_time": format_age(copy), "copy_time_seconds": copy}
    if analysis:
        found |= {"analysis_time": format_age(analysis), "analysis_time_seconds": analysis}
    return found | {
        "throughput": f"{format_size(size / copy)}/s",
        "throughput_bytes": int(size / copy),
        "number_of_workers": int(stats.get("number_of_workers", 1)),
    }


def _wal_object(result: BackupDetails) -> dict[str, Any]:
    wals = result.following_wals
    found: dict[str, Any] = {
        "no_of_files": wals.count,
        "disk_usage": format_size(wals.size),
        "disk_usage_bytes": wals.size,
        "wal_rate": _rate_text(result) if result.wals_per_second > 0 else 0,
        "wal_rate_per_second": result.wals_per_second or 0,
        "compression_ratio": _ratio(wals, result.info) or 0,
        "last_available": result.last_available,
        "timelines": [str(timeline) for timeline in result.timelines],
    }
    if result.reach is not None:
        from barman.output.views.recovery_window import reach_object

        found["recovery"] = reach_object(result.reach)
    if result.timelines:
        found["_WARNING"] = _INACCURATE
    return found


def _catalog_object(result: BackupDetails) -> dict[str, Any]:
    info = result.info
    found: dict[str, Any] = {
        "retention_policy": result.retention or "not enforced",
        "previous_backup": result.previous_id or _OLDEST,
        "next_backup": result.next_id or _LATEST,
    }
    if info.parent_backup_id:
        found |= {
            "root_backup_id": result.root_id,
            "parent_backup_id": info.parent_backup_id,
            "chain_size": result.chain_size,
        }
    if info.mode == "postgres":
        found["children_backup_ids"] = list(info.children_backup_ids) or None
    return found


def _backup_size(info: BackupInfo) -> int | None:
    """What the backup takes on disk, hard-linked files left out."""
    return info.size if info.deduplicated_size is None else info.deduplicated_size


def _resources_saved(info: BackupInfo) -> tuple[int, float] | None:
    """Bytes and share that reuse saved: of the backup for rsync, of the cluster for an incremental one."""
    if info.backup_type == "rsync":
        whole = info.size
    elif info.backup_type == "incremental":
        whole = info.cluster_size
    else:
        return None
    if not whole:
        return 0, 0.0
    saved = max(0, whole - (_backup_size(info) or 0))
    return saved, saved / whole


def _ratio(wals: WalUsage, info: BackupInfo) -> str | None:
    """What compression saved of the segments' full size; None when nothing."""
    full = wals.count * info.xlog_segment_size
    ratio = 1 - wals.size / full if full else 0.0
    return format_percentage(ratio) if ratio > 0 else None


def _rate_text(result: BackupDetails) -> str:
    return f"{result.wals_per_second * 3600:0.2f}/hour"


def _copy_stats(info: BackupInfo) -> dict[str, float]:
    """The numbers among the copy statistics; nothing if they are damaged."""
    if info.copy_stats is None:
        return {}
    return {key: value for key, value in info.copy_stats.items() if isinstance(value, (int, float))}
