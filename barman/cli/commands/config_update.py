"""`barman config-update`: change options of servers and models in the configuration files."""

from __future__ import annotations

import os

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "json_changes",
        metavar="JSON_CHANGES",
        help='list of changes: [{"scope": "server", "server_name": "NAME", "OPTION": "VALUE", ...}, '
        '{"scope": "model", "model_name": "NAME", ...}]',
    )


def run(args: argparse.Namespace, context: Context) -> None:
    """Change the files; then let the receivers concerned work with what is there now."""
    context.open_log()
    if context.report_global_errors():
        return
    from barman.config.update import ConfigUpdater, servers_concerned

    updater = ConfigUpdater(context.settings, os.environ)
    changed = updater.update(args.json_changes, context.reporter)
    servers = servers_concerned(changed, updater.settings)
    if servers:
        from barman.cron.receivers import restart_receiver

        for name in servers:
            if name in context.settings.servers and not updater.settings.servers[name].active:
                context.reporter.info(f"Skipping inactive server '{name}'")
            restart_receiver(updater.settings.servers[name], context.config_file, context.reporter)
