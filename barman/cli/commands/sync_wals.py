"""`barman sync-wals`: on a passive node, copy the WAL files that are missing from the primary; cron starts it."""

from __future__ import annotations

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)


def run(args: argparse.Namespace, context: Context) -> None:
    """Copy what is missing, and judge the backups that waited for it; silent when that went well. Raises SyncError."""
    from barman.errors import SyncError

    server = context.server(args.server_name, inactive="skip", disabled="error")
    if server is None:
        return
    if not server.config.passive_node:
        raise SyncError(f"server {server.name} is not passive")
    from barman.backup.complete import check_backup
    from barman.catalog.backup_info import BackupStatus
    from barman.sync.wals import sync_wals

    sync_wals(server, context.reporter)
    for info in server.catalog.snapshot().with_status([BackupStatus.WAITING_FOR_WALS]):
        check_backup(server, info.backup_id, context.reporter)
