"""How the results of `backup` and `delete` look: on the console nothing more than the lines already said."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.backup.delete import DeleteResult
    from barman.backup.run import BackupResult
    from barman.catalog.backup_info import BackupInfo

_PLAIN = (
    "backup_id",
    "server_name",
    "status",
    "mode",
    "version",
    "pgdata",
    "timeline",
    "begin_wal",
    "begin_offset",
    "size",
    "deduplicated_size",
    "end_wal",
    "end_offset",
    "error",
    "config_file",
    "hba_file",
    "ident_file",
    "xlog_segment_size",
    "systemid",
    "compression",
    "encryption",
    "data_checksums",
    "summarize_wal",
    "parent_backup_id",
)


class BackupResultView:
    """The record of the backup, at the top level of the JSON document."""

    @staticmethod
    def console(result: BackupResult, write: Callable[[str], None]) -> None:
        """Write nothing: the backup has told its story while it ran."""

    @staticmethod
    def json(result: BackupResult) -> dict[str, Any]:
        """Return the fields of the record, null where they are not set."""
        return record_fields(result.info)


class DeleteResultView:
    """A deletion has no result of its own but its messages."""

    @staticmethod
    def console(result: DeleteResult, write: Callable[[str], None]) -> None:
        """Write nothing."""

    @staticmethod
    def json(result: DeleteResult) -> dict[str, Any]:
        """Return nothing."""
        return {}


def record_fields(info: BackupInfo) -> dict[str, Any]:
    """Return a record in the encoding of the original's JSON: times as ctime, the label as its literal."""
    from barman.timestamps import format_ctime

    fields: dict[str, Any] = {name: getattr(info, name) for name in _PLAIN}
    fields.update(
        begin_time=None if info.begin_time is None else format_ctime(info.begin_time.astimezone()),
        end_time=None if info.end_time is None else format_ctime(info.end_time.astimezone()),
        begin_xlog=None if info.begin_xlog is None else str(info.begin_xlog),
        end_xlog=None if info.end_xlog is None else str(info.end_xlog),
        tablespaces=[[space.name, space.oid, space.location] for space in info.tablespaces] or None,
        included_files=list(info.included_files) or None,
        children_backup_ids=list(info.children_backup_ids) or None,
        backup_label=None if info.backup_label is None else repr(info.backup_label),
        copy_stats=None if info.copy_stats is None else dict(info.copy_stats),
        cluster_size=None if info.cluster_size is None else float(info.cluster_size),
    )
    if info.backup_name is not None:
        fields["backup_name"] = info.backup_name
    if info.snapshots_info is not None:
        fields["snapshots_info"] = dict(info.snapshots_info)
    return fields
