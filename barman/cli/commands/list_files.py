"""`barman list-files`: the paths of everything that belongs to a backup."""

from __future__ import annotations

import os

from barman.cli.arguments import add_backup_id, add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog
    from barman.catalog.view import CatalogView
    from barman.cli.context import Context

LIGHT = True
"""The log is opened by the first message only: monitoring runs this all day."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    add_backup_id(parser)
    parser.add_argument(
        "--target",
        choices=("standalone", "data", "wal", "full"),
        default="standalone",
        help="'data': the backup; 'standalone' (default): with the WAL it needs to be consistent; 'wal': the WAL "
        "archived until the next backup's end; 'full': data and wal",
    )
    parser.add_argument("--list-empty-directories", action="store_true", help="list empty directories too")


def run(args: argparse.Namespace, context: Context) -> None:
    """List one path a line; the record comes first, where tools that clone from a backup look for it."""
    server = context.server(args.server_name)
    if server is None:
        return
    catalog = server.catalog
    info, view = context.backup(server, args.backup_id)
    wals = _wal_paths(args.target, catalog, view, info)
    if args.target != "wal":
        for path in _data_paths(catalog, info, args.list_empty_directories):
            context.reporter.listing(path)
    for path in wals:
        context.reporter.listing(path)


def _data_paths(catalog: Catalog, info: BackupInfo, empty_directories: bool) -> Iterator[str]:
    record = catalog.layout.legacy_backup_info(info.backup_id)
    if os.path.isfile(record):
        yield record
    for directory, directories, files in os.walk(catalog.layout.backup_directory_of(info.backup_id)):
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        if empty_directories and not directories and not files:
            yield directory
        paths = (os.path.join(directory, name) for name in sorted([*files, *links]))
        yield from (path for path in paths if path != record)


def _wal_paths(target: str, catalog: Catalog, view: CatalogView, info: BackupInfo) -> list[str]:
    """The paths of the WAL that belongs to the backup. Raises CatalogError if the record does not tell it."""
    from barman.errors import CatalogError

    if target == "data":
        return []
    if info.begin_wal is None or (target == "standalone" and info.end_wal is None):
        raise CatalogError(f"backup {info.backup_id} ({info.status}) does not tell which WAL belongs to it")
    if target == "standalone":
        from barman.wal.required import segments_between

        segments = segments_between(info.begin_wal, info.end_wal or "", info.xlog_segment_size)
        return [catalog.layout.wal_path(segment.name) for segment in segments]
    following = view.next(info.backup_id)
    last = f"{info.begin_wal[:8]}~"
    if following is not None and following.end_wal is not None:
        last = min(last, following.end_wal)
    names = {*catalog.wals.names(info.begin_wal, last), *_history_names(catalog)}
    return [catalog.layout.wal_path(name) for name in sorted(names)]


def _history_names(catalog: Catalog) -> Iterator[str]:
    from barman.postgres.wal_name import HistoryName

    return (HistoryName(timeline).name for timeline in catalog.wals.history_timelines())
