"""`barman cron`: the maintenance of every server; meant to be started every minute."""

from __future__ import annotations

import os

from barman.cli.dry_run import add_dry_run, change_nothing
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--keep-descriptors",
        action="store_true",
        help="let the processes that are started keep standard output and error, for containers",
    )
    add_dry_run(parser)


def run(args: argparse.Namespace, context: Context) -> None:
    """Finish queued changes of the configuration, serve all servers by name, remove unused lock files."""
    if args.dry_run:
        _show(context)
        return
    from barman.cron.run import Cron

    context.open_log()
    _finish_config_changes(context)
    if context.report_global_errors():
        return
    servers = [context.settings.servers[name] for name in sorted(context.settings.servers)]
    Cron(context.config_file, keep_descriptors=args.keep_descriptors).run(servers, context.reporter)
    if context.settings.barman.lock_directory_cleanup:
        from barman.cron.lock_files import remove_unused_lock_files

        remove_unused_lock_files(servers)


def _finish_config_changes(context: Context) -> None:
    """Apply what `config-update` left in its queue; receivers concerned are ended, so that the run starts new ones."""
    from barman.config.queue import is_pending

    if not is_pending(context.settings.barman.config_changes_queue):
        return
    from barman.cli.context import report_error
    from barman.config.update import ConfigUpdater, servers_concerned
    from barman.cron.receivers import stop_receiver
    from barman.errors import BarmanError

    updater = ConfigUpdater(context.settings, os.environ)
    try:
        changed = updater.finish(context.reporter)
    except BarmanError as error:  # the servers are served all the same
        report_error(error, context.reporter)
        return
    context.settings = updater.settings
    for name in servers_concerned(changed, context.settings):
        stop_receiver(context.settings.servers[name], context.reporter)


def _show(context: Context) -> None:
    """Show what a run would do now."""
    from barman.config.queue import is_pending
    from barman.cron.dry_run import plan_cron

    change_nothing(context)
    if is_pending(context.settings.barman.config_changes_queue):
        context.reporter.info("Changes of the configuration wait in the queue: the run begins with them")
    context.each(["all"], lambda server: context.reporter.emit(plan_cron(server)))
