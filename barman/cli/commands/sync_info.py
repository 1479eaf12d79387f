"""`barman sync-info`: what this node has, for passive nodes that copy from it; always one JSON document."""

from __future__ import annotations

import argparse
import sys

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from barman.cli.context import Context
    from barman.server.server import Server

LIGHT = True
"""The log is opened by the first message only: every passive node runs this every minute."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    parser.add_argument(
        "last_wal", metavar="LAST_WAL", nargs="?", help="name of the last WAL file that is known: list newer ones only"
    )
    parser.add_argument(
        "last_position",
        metavar="LAST_POSITION",
        nargs="?",
        type=_position,
        help="last_position of the answer that ended with LAST_WAL",
    )
    parser.add_argument(
        "--primary",
        action="store_true",
        help="on a passive node: ask the primary, remember what it says for sync-backup and sync-wals, and print it",
    )


def run(args: argparse.Namespace, context: Context) -> None:
    """Print the document, whatever format was asked for. Raises SyncError, and TransportError with --primary."""
    server = context.server(args.server_name, disabled="error" if args.primary else "ok")
    if server is None:
        return
    pieces = _of_primary(args, context, server) if args.primary else _own(args, context, server)
    # From here on standard output holds the document and nothing else.
    context.reporter.leave_output()
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _own(args: argparse.Namespace, context: Context, server: Server) -> Iterator[bytes]:
    from barman.sync.answer import answer

    view = server.catalog.snapshot()
    for backup_id, error in view.corrupt.items():
        context.reporter.warning(f"backup {backup_id} is left out: {error.message}")
    return (piece.encode() for piece in answer(server, args.last_wal, args.last_position, view=view))


def _of_primary(args: argparse.Namespace, context: Context, server: Server) -> Iterable[bytes]:
    from barman.errors import SyncError
    from barman.sync.primary import ask_and_remember
    from barman.sync.state import SyncPosition

    if not server.config.passive_node:
        raise SyncError(f"server {server.name} is not passive")
    position = SyncPosition(args.last_wal, args.last_position or 0) if args.last_wal else None
    return [ask_and_remember(server, position, context.reporter, exactly=position is not None)]


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of bytes")
    return int(text)
