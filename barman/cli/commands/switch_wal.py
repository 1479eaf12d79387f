"""`barman switch-wal`: make servers finish their WAL segment."""

from __future__ import annotations

from barman.cli.arguments import add_servers, at_least
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context
    from barman.server.server import Server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_servers(parser)
    parser.add_argument("--force", action="store_true", help="run CHECKPOINT first, so that there is WAL to switch")
    parser.add_argument("--archive", action="store_true", help="wait until the WAL file is archived")
    parser.add_argument(
        "--archive-timeout",
        metavar="SECONDS",
        type=at_least(0),
        default=30,
        help="how long to wait for it (default: %(default)s; 0 has no limit)",
    )


def run(args: argparse.Namespace, context: Context) -> None:
    """Switch on every chosen server."""
    from barman.wal.switch import switch_wal

    def switch(server: Server) -> None:
        switch_wal(
            server, context.reporter, force=args.force, archive=args.archive, timeout=args.archive_timeout or None
        )

    context.each(args.server_name, switch, inactive="skip", disabled="error")
