"""`barman get-wal`: send a WAL file, for `restore_command`."""

from __future__ import annotations

import os
import sys

from barman.cli.arguments import add_server, at_least
from barman.typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from barman.cli.context import Context
    from barman.server.server import Server
    from barman.wal.get_wal import Delivery, WalSource

"""The log is opened by the first message only: a recovery runs this for each segment."""

ABSENT = 99
"""With --recovery: the one code that means the end of the WAL. No interpreter, shell or other failure exits with it."""

_CANNOT_OPEN = 3

LIGHT = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    parser.add_argument("wal_name", metavar="WAL_NAME", help="name of the WAL file")
    parser.add_argument(
        "-o", "--output-directory", metavar="DIR", help="write DIR/WAL_NAME instead of sending to standard output"
    )
    parser.add_argument("-P", "--partial", action="store_true", help="send an unfinished segment if there is no other")
    parser.add_argument(
        *("-z", "-x", "--gzip"), dest="compression", action="store_const", const="gzip", help="send it gzipped"
    )
    parser.add_argument(
        *("-j", "--bzip2"), dest="compression", action="store_const", const="bzip2", help="send it in bzip2 format"
    )
    parser.add_argument("--keep-compression", action="store_true", help="send it as it is stored")
    parser.add_argument(
        *("-p", "--peek"),
        type=at_least(1),
        metavar="N",
        help="print the names of up to N consecutive available segments, beginning with WAL_NAME",
    )
    parser.add_argument(
        "--following",
        type=at_least(0),
        metavar="N",
        help="send up to N following segments, too, each between two lines that tell its name and size, and its end: "
        "barman-wal-restore asks for that to read ahead",
    )
    parser.add_argument(
        "--recovery",
        type=at_least(0),
        metavar="SECONDS",
        help=f"for restore_command: while the archive cannot be used, try again for so long; exit code {ABSENT} says "
        "that a healthy archive has neither the file nor anything after it, every other one that recovery must go on",
    )
    parser.add_argument("-t", "--test", action="store_true", help="only tell whether the server is ready; exit code 0")


def run(args: argparse.Namespace, context: Context) -> None:
    """Send, peek or test. Exit codes: 1 not found, 3 invalid name or unusable output, 4 unusable archive."""
    from barman.errors import WalNotFound
    from barman.wal.get_wal import Delivery, list_available

    if args.compression is not None and args.keep_compression:
        context.reporter.error(f"argument --{args.compression} is not allowed with argument --keep-compression")
        return
    server = context.server(args.server_name, disabled="error")
    if server is None:
        return
    if args.test:
        context.reporter.info(f"Ready to retrieve WAL files from the server {server.name}")
        return
    source = _source(server)
    if args.peek is not None:
        for name in list_available(source, args.wal_name, args.peek):
            context.reporter.listing(name)
        return
    delivery = Delivery(args.compression, args.keep_compression, args.partial)
    if args.following is not None:
        _send_series(source, args, delivery, context)
        return
    try:
        if args.output_directory is not None:
            _send_into(args.output_directory, source, args.wal_name, delivery, args.recovery, context)
        else:
            _send(source, args.wal_name, delivery, args.recovery, lambda _path: sys.stdout.buffer)
            sys.stdout.buffer.flush()
    except WalNotFound as error:
        if args.recovery is None:
            raise
        context.reporter.error(error.message)
        context.exit_code = ABSENT


def _send_series(source: WalSource, args: argparse.Namespace, delivery: Delivery, context: Context) -> None:
    from barman.wal.get_wal import send_series

    if args.compression is not None or args.partial or args.output_directory is not None or args.recovery is not None:
        context.reporter.error("argument --following is allowed with --keep-compression only")
        return
    send_series(source, args.wal_name, args.following, delivery, sys.stdout.buffer)


def _source(server: Server) -> WalSource:
    from barman.server.filters import configured_filters
    from barman.wal.get_wal import WalSource

    catalog, custom = server.catalog, configured_filters(server.config)
    client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    caller = f" (SSH host: {client})" if client else ""
    return WalSource(server.name, catalog.layout, catalog.wals, custom, caller)


def _send(
    source: WalSource, name: str, delivery: Delivery, recovery: float | None, sink: Callable[[str], BinaryIO]
) -> None:
    from barman.wal.get_wal import send_for_recovery, send_wal

    if recovery is None:
        send_wal(source, name, delivery, sink)
    else:
        from barman.clock import Deadline

        send_for_recovery(source, name, delivery, sink, Deadline(recovery))


def _send_into(
    directory: str, source: WalSource, name: str, delivery: Delivery, recovery: float | None, context: Context
) -> None:
    """The file appears under its name when it is complete, and not at all when it cannot be."""
    from barman.fs.durable import Temporary
    from barman.postgres.wal_name import parse_wal_name

    parse_wal_name(name)
    destination = os.path.join(directory, name)
    try:
        output = Temporary(destination)
    except OSError as error:
        context.reporter.error(f"Cannot open '{destination}' for writing: {error.strerror}")
        context.exit_code = _CANNOT_OPEN
        return

    def announce(path: str) -> BinaryIO:
        file = os.path.basename(path)
        context.reporter.info(f"Sending WAL '{file}' for server '{source.server_name}' into '{destination}' file")
        return cast(BinaryIO, output.file)

    with output:
        _send(source, name, delivery, recovery, announce)
        output.publish(replace=True)
