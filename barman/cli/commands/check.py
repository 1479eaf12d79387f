"""`barman check`: is everything in place for the next backup, and for a restore of the last one?"""

from __future__ import annotations

import sys

from barman.cli.arguments import add_servers, at_least
from barman.errors import BarmanError
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.check.check import CheckReport
    from barman.cli.context import Context
    from barman.server.server import Server

LIGHT = True
"""The log is opened by the first message only: monitoring runs this all day."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_servers(parser)
    parser.add_argument("--nagios", action="store_true", help="print the output of a Nagios plugin; exit code 0 or 2")
    parser.add_argument(
        "--check-timeout",
        type=at_least(0),
        metavar="SECONDS",
        help="time limit for each server, 0 for none; overrides check_timeout",
    )


def run(args: argparse.Namespace, context: Context) -> None:
    """Check every chosen server. Exit code 1 when an active one has a failed check; with --nagios 0 or 2."""
    if args.nagios:
        _run_nagios(args, context)
        return

    def check(server: Server) -> None:
        report = _check(server, args.check_timeout)
        context.reporter.emit(report)
        if report.alarms:
            context.exit_code = 1

    context.each(args.server_name, check)
    if context.reporter.failed:
        context.exit_code = 1


def _check(server: Server, seconds: int | None) -> CheckReport:
    from barman.check.run import run_checks
    from barman.clock import Deadline

    return run_checks(server, None if seconds is None else Deadline(seconds or None))


def _run_nagios(args: argparse.Namespace, context: Context) -> None:
    from barman.logs import redact
    from barman.output.nagios import nagios_lines

    reports: list[CheckReport] = []
    try:
        context.each(args.server_name, lambda server: reports.append(_check(server, args.check_timeout)))
    except BarmanError as error:
        context.reporter.error(error.message)
    lines, context.exit_code = nagios_lines(reports, broken=context.reporter.failed)
    if context.options.format == "json":
        # One document, whatever else was asked for; the exit code is the plugin's.
        for line in lines:
            context.reporter.listing(line)
        return
    sys.stdout.write("".join(f"{redact(line)}\n" for line in lines))
