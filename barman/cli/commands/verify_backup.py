"""`barman verify-backup`: compare the files of a backup with its manifest."""

from __future__ import annotations

from barman.cli.arguments import add_backup_id, add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    add_backup_id(parser)


def run(args: argparse.Namespace, context: Context) -> None:
    """Read the whole backup; exit 1 if it is not what it was."""
    server = context.server(args.server_name)
    if server is None:
        return
    from barman.backup.verify import verify_backup

    info, _ = context.backup(server, args.backup_id)
    # The brackets are the original's, and scripts know them.
    context.reporter.info(f"Verifying backup '{args.backup_id}' on server ['{server.name}']")
    verify_backup(server, info, context.reporter)
