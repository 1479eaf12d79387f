"""`barman check-wal-archive`: may a new server archive here?"""

from __future__ import annotations

from barman.cli.arguments import add_server, at_least
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.catalog.catalog import Catalog
    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    parser.add_argument(
        "--timeline",
        type=at_least(1),
        metavar="TIMELINE",
        help="allow WAL of timelines before this one; without it the archive must be empty",
    )


def run(args: argparse.Namespace, context: Context) -> None:
    """Look into the archive and its index: a file that only one of them knows counts."""
    from barman.wal.usable import WalArchiveCheck, judge_archive

    server = context.server(args.server_name)
    if server is None:
        return
    server.catalog.ensure_directories()  # the archive of a server that nobody has used yet is empty, not unreadable
    reason = judge_archive(_known_files(server.catalog, args.timeline), args.timeline)
    context.reporter.emit(WalArchiveCheck(server.name, reason))
    if reason is not None:
        context.reporter.error(f"WAL archive check failed for server {server.name}: {reason}")


def _known_files(catalog: Catalog, timeline: int | None) -> set[str]:
    first = f"{timeline or 0:08X}"
    if timeline is None:
        found = next(catalog.wals.names(), None)
        if found is not None:
            return {found}
    with catalog.index() as index:
        return {*catalog.wals.names(first), *(file.name for file in index.files(first))}
