"""`barman import-backup`: take an exported backup into the catalog of its server."""

from __future__ import annotations

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    parser.add_argument("tarball", metavar="FILE", help="a file that export-backup wrote, under the name it gave")


def run(args: argparse.Namespace, context: Context) -> None:
    """Verify the file and import it; the backup is kept standalone."""
    server = context.server(args.server_name, inactive="error", disabled="error")
    if server is None:
        return
    from barman.backup.bundle_import import import_backup

    context.reporter.info(f"Importing backup from '{args.tarball}' to server '{server.name}'")
    info = import_backup(server, args.tarball, context.reporter)
    context.reporter.info(f"Successfully imported backup '{info.backup_id}' into server '{server.name}'")
