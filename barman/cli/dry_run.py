"""`--dry-run`: the option, and what makes it true."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add `--dry-run`."""
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")


def change_nothing(context: Context) -> None:
    """Open the log; from then on no file but the log can be changed by this process, whatever its code does."""
    from barman.fs.readonly import forbid_changes

    context.open_log()
    log = context.settings.barman.log_file
    forbid_changes(but=[str(log)] if log else [])
