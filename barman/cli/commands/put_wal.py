"""`barman put-wal`: take WAL files from a tar stream on standard input, for `archive_command`."""

from __future__ import annotations

import os
import sys

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context

_PATIENCE = 600.0
"""Seconds without a byte after which a sender is taken for dead."""

LIGHT = True
"""The log is opened by the first message only: PostgreSQL runs this for each segment."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    parser.add_argument("-t", "--test", action="store_true", help="only tell whether the server takes WAL; exit code 0")


def run(args: argparse.Namespace, context: Context) -> None:
    """Take the stream, or test. Exit code 0 means that everything sent is durable.

    A passive node is refused: nothing archives what waits there, so a sender must not believe it safe.
    """
    server = context.server(args.server_name, inactive="error", disabled="error", passive="error")
    if server is None:
        return
    if args.test:
        context.reporter.info(f"Ready to accept WAL files for the server {server.name}")
        return
    from barman.wal.put_wal import put_wal
    from barman.wal.tar_stream import PatientStream

    client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    caller = f" (SSH host: {client})" if client else ""
    stream = PatientStream(0, _PATIENCE)
    put_wal(server, stream, context.reporter, caller=caller, answer=_answer)


def _answer(line: str) -> None:
    """Send a line at once: the sender may be waiting for it. One that went away does not undo what is stored."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        pass
