"""`barman retention`: what the retention policy keeps, why, and what the next run of cron deletes."""

from __future__ import annotations

from barman.cli.arguments import add_servers
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context
    from barman.server.server import Server

LIGHT = True
"""The log is opened by the first message only."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_servers(parser)
    parser.add_argument(
        "--explain", action="store_true", help="give the reason why each backup and each range of WAL is kept or goes"
    )


def run(args: argparse.Namespace, context: Context) -> None:
    """Show it for every chosen server. Nothing is deleted, and nothing can be."""
    from barman.backup.retention_report import read_retention
    from barman.cli.dry_run import change_nothing

    change_nothing(context)

    def show(server: Server) -> None:
        context.reporter.emit(read_retention(server, explain=args.explain))

    context.each(args.server_name, show)
