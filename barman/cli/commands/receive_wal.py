"""`barman receive-wal`: receive WAL in the foreground; manage the slot and the receiver."""

from __future__ import annotations

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context
    from barman.server.server import Server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    parser.add_argument("--stop", action="store_true", help="stop the running receiver (deprecated: terminate-process)")
    parser.add_argument("--reset", action="store_true", help="let the next receiver start at the server's position")
    parser.add_argument("--create-slot", action="store_true", help="create the replication slot")
    parser.add_argument(
        "--if-not-exists", action="store_true", help="with --create-slot: an existing slot is not an error"
    )
    parser.add_argument("--drop-slot", action="store_true", help="drop the replication slot")


def run(args: argparse.Namespace, context: Context) -> None:
    """Do one thing, in this order of precedence: stop, create the slot, drop it, reset; else receive."""
    if args.stop and args.reset:
        context.reporter.error("--stop and --reset options are not compatible")
        return
    manages = args.stop or args.create_slot or args.drop_slot or args.reset
    server = context.server(args.server_name, inactive="ok" if manages else "skip", disabled="error", passive="error")
    if server is None:
        return
    if server.has_wal_conninfo:
        from barman.wal.receiver import describe_overrides

        context.reporter.info(describe_overrides(server.config) or "")
    if args.stop:
        _stop(server, context)
    elif args.create_slot:
        from barman.wal.slots import create_slot

        create_slot(server, context.reporter, if_not_exists=args.if_not_exists)
    elif args.drop_slot:
        from barman.wal.slots import drop_slot

        drop_slot(server, context.reporter)
    elif args.reset:
        from barman.wal.receiver import reset_receiver

        reset_receiver(server, context.reporter)
    else:
        from barman.wal.receiver import receive_wal

        receive_wal(server, context.reporter)


def _stop(server: Server, context: Context) -> None:
    from barman.cron.processes import terminate

    context.reporter.warning(
        f"'receive-wal --stop' is deprecated: use 'barman terminate-process {server.name} receive-wal'"
    )
    terminate(server.name, server.catalog.locks, "receive-wal", context.reporter)
