"""`barman list-backups`: the backups of servers, newest first, from the catalog alone."""

from __future__ import annotations

from barman.cli.arguments import add_servers
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context
    from barman.server.server import Server

LIGHT = True
"""The log is opened by the first message only: monitoring runs this all day."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_servers(parser)
    parser.add_argument("--minimal", action="store_true", help="print ids only")


def run(args: argparse.Namespace, context: Context) -> None:
    """List the backups of every chosen server. Unreadable records are warnings: the others are listed."""
    from barman.status.backups import list_backups

    def show(server: Server) -> None:
        result = list_backups(server.config, server.catalog, minimal=args.minimal)
        for backup_id, reason in result.unreadable:
            context.reporter.warning(f"backup {backup_id} of server '{server.name}' cannot be read: {reason}")
        context.reporter.emit(result)

    context.each(args.server_name, show)
