"""archive-wal: archive what waits in the WAL queues of a server."""

from __future__ import annotations

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SERVER_NAME."""
    add_server(parser)


def run(args: argparse.Namespace, context: Context) -> None:
    """Archive one batch of every queue."""
    server = context.server(args.server_name, inactive="skip", disabled="error")
    if server is None:
        return
    from barman.wal.archiver import archive_wal

    context.reporter.emit(archive_wal(server, context.reporter))
