"""`barman generate-manifest`: write a backup_manifest for a backup that has none."""

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
    """Write the manifest into the data directory of the backup."""
    server = context.server(args.server_name, inactive="skip", disabled="error")
    if server is None:
        return
    from barman.backup.manifest import generate_manifest

    generate_manifest(server, context.backup(server, args.backup_id)[0])
    # The brackets are the original's, and scripts know them.
    context.reporter.info(
        f"Backup manifest for backup '{args.backup_id}' successfully generated for server ['{server.name}']"
    )
