"""`barman sync-wals`: on a passive node, copy the WAL files that are missing from the primary; cron starts it."""

from __future__ import annotations

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)


def run(args: argparse.Namespace, context: Context) -> None:
    """Copy what is missing; silent when that went well. Raises SyncError."""
    from barman.errors import SyncError

    server = context.server(args.server_name, inactive="skip", disabled="error")
    if server is None:
        return
    if not server.config.passive_node:
        raise SyncError(f"server {server.name} is not passive")
    from barman.sync.wals import sync_wals

    sync_wals(server, context.reporter)
