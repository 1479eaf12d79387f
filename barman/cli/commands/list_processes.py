"""`barman list-processes`: what runs for a server."""

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
    """Show the processes, by the locks they hold."""
    from barman.cron.processes import find_processes

    server = context.server(args.server_name)
    if server is not None:
        context.reporter.emit(find_processes(server.name, server.catalog.locks))
