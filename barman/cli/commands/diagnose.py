"""`barman diagnose`: one JSON document with all that helps to understand a problem from afar."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from barman.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--show-config-source", action="store_true", help="tell for every option which file its value comes from"
    )


def run(args: argparse.Namespace, context: Context) -> None:
    """Print the document. Errors in the configuration do not stop it: they are what it is for."""
    from barman.status.diagnose import diagnose

    context.reporter.emit(diagnose(context.settings, show_source=args.show_config_source))
