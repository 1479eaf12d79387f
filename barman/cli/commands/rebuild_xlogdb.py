"""`barman rebuild-xlogdb`: write the WAL index anew from the files of the archive."""

from __future__ import annotations

from barman.cli.arguments import add_servers
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context
    from barman.server.server import Server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_servers(parser)


def run(args: argparse.Namespace, context: Context) -> None:
    """Rebuild the index of each server; the live one stays in place until the new one is durable."""

    def rebuild(server: Server) -> None:
        from barman.output.views.wals import rebuild_line
        from barman.server.filters import configured_filters

        context.reporter.info(f"Rebuilding xlogdb for server {server.name}")
        result = server.catalog.xlogdb.rebuild(context.reporter, configured_filters(server.config))
        context.reporter.info(rebuild_line(result))

    context.each(args.server_name, rebuild, inactive="skip", disabled="error")
