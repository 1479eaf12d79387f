"""`barman config-switch`: choose the model of a server, or none."""

from __future__ import annotations

import os

from barman.cli.arguments import add_server
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    parser.add_argument("model_name", metavar="MODEL_NAME", nargs="?", help="a model of the server's cluster")
    parser.add_argument("--reset", action="store_true", help="use no model: the server is as its section says")


def run(args: argparse.Namespace, context: Context) -> None:
    """Store the choice, and let the receiver of the server work with it."""
    server = context.server(args.server_name)
    if server is None:
        return
    if not args.reset and args.model_name is None:
        context.reporter.error("Either a model name or '--reset' flag need to be given")
        return
    from barman.config.loader import load_settings
    from barman.config.switch import apply_model, reset_model
    from barman.cron.receivers import restart_receiver

    if args.reset:
        reset_model(server.config, context.reporter)
    else:
        apply_model(server.config, args.model_name, context.settings, context.reporter)
    config = load_settings(context.config_file, os.environ).servers.get(server.name)
    if config is not None:
        restart_receiver(config, context.config_file, context.reporter)
