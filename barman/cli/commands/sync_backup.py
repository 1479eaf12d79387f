"""`barman sync-backup`: on a passive node, copy one backup from the primary; cron starts it."""

from __future__ import annotations

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    parser.add_argument("backup_id", metavar="BACKUP_ID", help="the id (YYYYMMDDTHHMMSS) of a backup of the primary")


def run(args: argparse.Namespace, context: Context) -> None:
    """Copy the backup; silent when that went well. Raises SyncError."""
    from barman.catalog.backup_id import BackupId, is_backup_id
    from barman.errors import SyncError

    server = context.server(args.server_name, inactive="skip", disabled="error")
    if server is None:
        return
    if not server.config.passive_node:
        raise SyncError(f"server {server.name} is not passive")
    if not is_backup_id(args.backup_id):
        raise SyncError(f"'{args.backup_id}' is not a backup id", hint="Words like 'latest' mean local backups.")
    from barman.sync.backups import sync_backup

    sync_backup(server, BackupId(args.backup_id), context.reporter)
