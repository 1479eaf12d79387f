"""`barman metrics`: what can be measured, as OpenMetrics text for a textfile collector."""

from __future__ import annotations

import os

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from barman.cli.context import Context
    from barman.server.server import Server
    from barman.status.metrics import Sample

_BEGINNINGS = (b"# HELP", b"# TYPE", b"# UNIT", b"# EOF")
"""One of these begins every exposition."""
LIGHT = True
"""The log is opened by the first message only: monitoring runs this all day."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "server_name", nargs="*", metavar="SERVER_NAME", default=["all"], help="names of servers; all of them if none"
    )
    parser.add_argument("--output", metavar="FILE", help="write to this file, atomically, instead of standard output")
    parser.add_argument(
        "--no-checks", action="store_true", help="leave out the lines of 'check': no server and no program is asked"
    )


def run(args: argparse.Namespace, context: Context) -> None:
    """Measure every chosen server. One that cannot be measured is reported, and has `barman_scrape_ok 0`."""
    from barman.cli.context import report_error
    from barman.errors import BarmanError
    from barman.status.metrics import Metrics, Sample

    samples: list[Sample] = []
    for server in context.servers(args.server_name or ["all"]):
        ok = True
        try:
            samples += _measure(server, checks=not args.no_checks)
        except (BarmanError, OSError) as error:
            ok = False
            report_error(error if isinstance(error, BarmanError) else BarmanError(str(error)), context.reporter)
        samples.append(Sample("barman_scrape_ok", float(ok), {"server": server.name}))
    result = Metrics(tuple(samples))
    if args.output is None:
        context.reporter.emit(result)
        return
    from barman.fs.durable import write_atomic
    from barman.output.views.metrics import exposition

    text = exposition(result)
    try:
        _require_textfile(args.output)
        write_atomic(os.path.abspath(args.output), text, 0o644)
    except OSError as error:
        raise BarmanError(f"cannot write '{args.output}': {error.strerror}") from error


def _require_textfile(path: str) -> None:
    """Raise BarmanError when the file is there and is something else: this often runs as root, from cron."""
    from barman.errors import BarmanError

    if not os.path.lexists(path):
        return
    start = b""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            start = file.read(16)
        if not start or start.startswith(_BEGINNINGS):
            return
    raise BarmanError(
        f"'{path}' is not a file of metrics: it is not replaced (it begins with {start!r})",
        hint="Choose another name, or remove the file.",
    )


def _measure(server: Server, *, checks: bool) -> Iterator[Sample]:
    from barman import clock
    from barman.status.metrics import check_samples, read_metrics

    yield from read_metrics(server, clock.timestamp())
    if checks and server.config.active and not server.config.disabled:
        from barman.check.run import run_checks

        yield from check_samples(server.name, {line.name: line.ok for line in run_checks(server).results})
