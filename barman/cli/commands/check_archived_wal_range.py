"""`barman check-archived-wal-range`: is every segment of a range archived?"""

from __future__ import annotations

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    parser.add_argument("begin_wal", metavar="BEGIN_WAL", help="name of the first segment of the range")
    parser.add_argument("end_wal", metavar="END_WAL", help="name of the last segment of the range")


def run(args: argparse.Namespace, context: Context) -> None:
    """Look every segment up in the WAL directory; the newest backup tells the segment size."""
    from barman.wal.usable import WalRangeCheck, judge_range, parse_range

    server = context.server(args.server_name)
    if server is None:
        return
    begin, end = parse_range(args.begin_wal, args.end_wal)
    newest = server.catalog.snapshot().latest()
    if newest is None:
        context.reporter.emit(WalRangeCheck(server.name, args.begin_wal, args.end_wal, None))
        context.reporter.error(
            f"the WAL segment size of server '{server.name}' is not known: there is no backup in its catalog"
        )
        return
    archived = frozenset(server.catalog.wals.names(begin.name, end.name))
    result = judge_range(server.name, args.begin_wal, args.end_wal, newest.xlog_segment_size, archived)
    context.reporter.emit(result)
    if result.missing_wals:
        context.reporter.error(
            f"WAL sequence check failed for server '{server.name}': {len(result.missing_wals)} missing segment(s) "
            f"in range {args.begin_wal}..{args.end_wal}"
        )
