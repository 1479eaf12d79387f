"""`barman lock-directory-cleanup`: remove lock files that nobody can want any more."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: it works on all servers."""


def run(args: argparse.Namespace, context: Context) -> None:
    """Remove them, in silence."""
    from barman.cron.lock_files import remove_unused_lock_files

    if not context.report_global_errors():
        remove_unused_lock_files(context.settings.servers.values())
