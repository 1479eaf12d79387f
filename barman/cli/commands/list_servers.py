"""`barman list-servers`: names and descriptions, from the configuration alone."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--minimal", action="store_true", help="print names only")


def run(args: argparse.Namespace, context: Context) -> None:
    """List all servers: active or not, disabled or not. Exit code 0."""
    from barman.status.servers import list_servers

    if context.report_global_errors():
        return
    configs = context.settings.servers.values()
    for config in configs:
        for notice in config.notices:
            context.reporter.warning(notice.text)
    context.reporter.emit(list_servers(configs, minimal=args.minimal))
