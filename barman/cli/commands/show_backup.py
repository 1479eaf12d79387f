"""`barman show-backup`: all that the catalog knows about one backup."""

from __future__ import annotations

from barman.cli.arguments import add_backup_id, add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context

LIGHT = True
"""The log is opened by the first message only: monitoring runs this all day."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    add_backup_id(parser)


def run(args: argparse.Namespace, context: Context) -> None:
    """Show the backup. Raises UnknownBackup, and CorruptRecord when it cannot be read."""
    from barman.status.backup_details import show_backup

    server = context.server(args.server_name)
    if server is None:
        return
    info, view = context.backup(server, args.backup_id)
    context.reporter.emit(show_backup(server.config, server.catalog, info, view))
