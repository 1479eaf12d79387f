"""`barman terminate-process`: end a running process of a server."""

from __future__ import annotations

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    parser.add_argument("task", metavar="TASK", help="what to end, as list-processes calls it: receive-wal, backup ...")


def run(args: argparse.Namespace, context: Context) -> None:
    """Interrupt the first process of that task and wait for its end."""
    from barman.cron.processes import terminate

    server = context.server(args.server_name)
    if server is not None:
        terminate(server.name, server.catalog.locks, args.task, context.reporter)
