"""`barman keep`: protect a backup from every retention policy and deletion, or release it."""

from __future__ import annotations

from barman.cli.arguments import add_backup_id, add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.catalog.catalog import Catalog
    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    add_backup_id(parser)
    parser.add_argument("-r", "--release", action="store_true", help="stop keeping the backup")
    parser.add_argument("-s", "--status", action="store_true", help="show whether, and how, the backup is kept")
    parser.add_argument(
        "--target",
        choices=("full", "standalone"),
        help="keep the backup with all WAL since ('full'), or with the WAL that makes it consistent ('standalone')",
    )


def run(args: argparse.Namespace, context: Context) -> None:
    """Show, release or set, in this order of precedence."""
    if not (args.status or args.release or args.target):
        context.reporter.error("one of the arguments -r/--release -s/--status --target is required")
        return
    server = context.server(args.server_name, inactive="skip", disabled="error")
    if server is None:
        return
    if args.status:
        _show(server.catalog, args.backup_id, context)
    elif args.release:
        _release(server.catalog, args.backup_id)
    else:
        _set(server.catalog, args.backup_id, args.target)


def _show(catalog: Catalog, word: str, context: Context) -> None:
    from barman.catalog.backup_id import resolve
    from barman.catalog.keep import KeepStatus

    backup_id = resolve(word, catalog.snapshot())
    context.reporter.emit(KeepStatus(catalog.layout.server_name, backup_id, catalog.keep.get(backup_id)))


def _release(catalog: Catalog, word: str) -> None:
    from barman.catalog.backup_id import resolve

    catalog.keep.release(resolve(word, catalog.snapshot()))


def _set(catalog: Catalog, word: str, target: str) -> None:
    from barman.catalog.backup_id import resolve
    from barman.catalog.keep import require_keepable

    backup_id = resolve(word, catalog.snapshot())
    # Shared: restores may go on, but a deletion that has begun is not overtaken.
    with catalog.locks.backup_id(backup_id, shared=True):
        require_keepable(catalog.backups.read(backup_id))
        catalog.keep.set(backup_id, target)
