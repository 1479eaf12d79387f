"""`barman check-backup`: check that every WAL segment that a backup needs is archived."""

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
    """Record what the archive says about the backup; silent unless it is lost."""
    server = context.server(args.server_name)
    if server is None:
        return
    from barman.backup.complete import check_backup
    from barman.backup.dead_runs import fail_dead_runs

    fail_dead_runs(server, context.reporter)
    check_backup(server, context.backup(server, args.backup_id)[0].backup_id, context.reporter)
