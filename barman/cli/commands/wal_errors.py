"""`barman wal-errors`: look after the WAL files that were refused."""

from __future__ import annotations

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--retry",
        metavar="NAME",
        help="put a file (or `all`) back into the queue; the archiver judges it anew",
    )
    action.add_argument("--drop", metavar="NAME", help="remove a file (or `all`) for good")


def run(args: argparse.Namespace, context: Context) -> None:
    """List, retry or drop. NAME is the name in the errors directory, or the name that the file came with."""
    from barman.errors import WalError
    from barman.wal import quarantine

    server = context.server(args.server_name, disabled="error")
    if server is None:
        return
    layout, reporter = server.catalog.layout, context.reporter
    refused = quarantine.list_refused(layout.errors_directory)
    if args.retry is None and args.drop is None:
        reporter.emit(quarantine.RefusedList(server.name, tuple(refused)))
        if refused:
            command = f"barman wal-errors {server.name}"
            reporter.hint(
                f"they are in '{layout.errors_directory}'; '{command} --retry NAME' has one judged anew, "
                f"'{command} --drop NAME' removes it; NAME may be all"
            )
        return
    for file in quarantine.choose(refused, args.retry or args.drop):
        if args.drop is not None:
            quarantine.drop(file)
            reporter.info(f"Dropped '{file.name}' of server {server.name}")
            continue
        try:
            quarantine.retry(file, layout.incoming_directory)
        except WalError as error:
            reporter.error(error.message)
        else:
            reporter.info(f"'{file.wal_name}' waits for the archiver of server {server.name} again")
