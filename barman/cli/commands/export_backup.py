"""`barman export-backup`: write a backup with the WAL that it needs into one file."""

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
    parser.add_argument("destination", metavar="DIRECTORY", help="the directory into which the file is written")
    parser.add_argument("--compression", choices=("gzip", "bzip2", "xz"), help="compress the file")
    parser.add_argument(
        "--compression-level",
        type=int,
        metavar="N",
        help="1 to 9 for gzip and bzip2, 0 to 9 for xz",
    )


def run(args: argparse.Namespace, context: Context) -> None:
    """Write the file; its name, which has its checksum, is reported."""
    server = context.server(args.server_name)
    if server is None:
        return
    from barman.backup.bundle_export import export_backup
    from barman.status.diagnose import system_info

    info, _ = context.backup(server, args.backup_id)
    context.reporter.info(f"Exporting backup '{args.backup_id}' from server '{server.name}' to '{args.destination}'")
    path = export_backup(server, info, args.destination, system_info(), args.compression, args.compression_level)
    context.reporter.info(f"Export completed successfully: {path}")
