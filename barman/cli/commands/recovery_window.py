"""`barman recovery-window`: from when to when servers can be recovered, and which WAL is missing."""

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
    """Show every chosen server, from its repository alone. Exit code 0 whatever is missing: `check` is the alarm."""
    from barman.wal.recoverable import read_windows

    def show(server: Server) -> None:
        context.reporter.emit(read_windows(server.catalog, server.catalog.snapshot()))

    context.each(args.server_name, show)
