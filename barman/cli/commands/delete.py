"""`barman delete`: delete a backup and what depends on it."""

from __future__ import annotations

from barman.cli.arguments import add_backup_id, add_server
from barman.cli.dry_run import add_dry_run, change_nothing
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.catalog.backup_id import BackupId
    from barman.catalog.catalog import CatalogView
    from barman.cli.context import Context
    from barman.server.server import Server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    add_backup_id(parser)
    add_dry_run(parser)


def run(args: argparse.Namespace, context: Context) -> None:
    """Delete the backup, its incrementals, and the WAL that nothing else needs."""
    if args.dry_run:
        change_nothing(context)
    server = context.server(args.server_name, disabled="error")
    if server is None:
        return
    if args.dry_run:
        _show(server, args.backup_id, context)
        return
    from barman.backup.delete import delete_backup

    backup_id = _resolve(args.backup_id, server.catalog.snapshot())
    context.reporter.emit(delete_backup(server, backup_id, context.reporter))


def _show(server: Server, word: str, context: Context) -> None:
    """Show what the deletion would remove. Raises BackupError when it would be refused."""
    from barman.backup.delete import cannot_delete
    from barman.backup.dry_run import plan_delete

    backup_id = _resolve(word, server.catalog.snapshot())
    result = plan_delete(server, backup_id)
    context.reporter.emit(result)
    if not result.deletions[-1].goes:
        raise cannot_delete(server.name, backup_id)


def _resolve(word: str, view: CatalogView) -> BackupId:
    """Return the backup that is meant. Raises CatalogError when a shortcut may mean one that cannot be read."""
    from barman.catalog.backup_id import BackupId, overlooked, resolve
    from barman.errors import CatalogError, CorruptRecord

    try:
        chosen = resolve(word, view)
    except CorruptRecord:
        # A backup whose record cannot be read can be deleted, when it is named by its id.
        return BackupId(word)
    doubt = overlooked(word, chosen, view)
    if doubt:
        raise CatalogError(doubt, hint="give the id of the backup that is to be deleted")
    return chosen
