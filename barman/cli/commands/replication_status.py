"""`barman replication-status`: who receives WAL from a server, and how far behind."""

from __future__ import annotations

from barman.cli.arguments import add_servers
from barman.errors import BarmanError, CannotConnect
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
    parser.add_argument("--minimal", action="store_true", help="print one line a client")
    parser.add_argument(
        "--target",
        choices=("all", "hot-standby", "wal-streamer"),
        default="all",
        help="which clients to show (default: all)",
    )
    parser.add_argument(
        "--source",
        choices=("backup-host", "wal-host"),
        default="backup-host",
        help="ask the host of conninfo, or the one that WAL is received from (default: backup-host)",
    )


def run(args: argparse.Namespace, context: Context) -> None:
    """Show the clients of every chosen server; one that cannot be reached is an error."""
    from barman.status.replication import ReplicationUnknown, read_replication_status

    def show(server: Server) -> None:
        connection = server.wal_postgres if args.source == "wal-host" else server.postgres
        try:
            status = read_replication_status(connection, server.name, target=args.target, minimal=args.minimal)
        except CannotConnect as error:
            context.reporter.emit(ReplicationUnknown(server.name))
            raise BarmanError(f"Unable to connect to server {server.name}", hint=error.message) from error
        context.reporter.emit(status)

    context.each(args.server_name, show, inactive="skip", disabled="error", passive="skip")
