"""`barman status`: the state of servers in a few lines."""

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


def run(args: argparse.Namespace, context: Context) -> None:
    """Show every chosen server. Exit code 0 even when PostgreSQL is down."""
    from barman.status.server import read_status

    def show(server: Server) -> None:
        context.reporter.emit(read_status(server))

    context.each(args.server_name, show)
