"""The global options, and the options of the one command that was chosen."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from barman import __version__
from barman.cli.table import COMMANDS, find
from barman.help import Formatter
from barman.logs import LEVELS
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION_LINE = f"{__version__} Barman-compatible backup manager for PostgreSQL (independent implementation)"
_EPILOG = "Barman-compatible backup manager for PostgreSQL (independent implementation)"


class Parser(argparse.ArgumentParser):
    """Help lists every command without importing any."""

    def format_help(self) -> str:
        """Return the options, then the table of commands."""
        width = max(len(command.name) for command in COMMANDS) + 2
        lines = [f"  {command.name:<{width}}{command.help}" for command in COMMANDS]
        return f"{super().format_help()}\ncommands:\n" + "\n".join(lines) + f"\n\n{_EPILOG}\n"


class _Version(argparse.Action):
    """Prints one line: argparse's own action would wrap it, and clients read the first line."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        sys.stdout.write(VERSION_LINE + "\n")
        parser.exit()


def global_parser() -> argparse.ArgumentParser:
    """Return the parser of what stands before the command."""
    parser = Parser(
        prog="barman",
        usage="barman [GLOBAL OPTIONS] COMMAND [ARGUMENTS]",
        description="Backup and recovery manager for PostgreSQL",
        formatter_class=Formatter,
    )
    add_global_options(parser)
    # SUPPRESS hides it from help, which has its own table of commands.
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def add_global_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that stand before the command."""
    parser.add_argument("-v", "--version", action=_Version, nargs=0, help="print the version and leave")
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="configuration file (default: $BARMAN_CONFIG_FILE, ~/.barman.conf, /etc/barman.conf, "
        "/etc/barman/barman.conf)",
    )
    parser.add_argument(
        "--color",
        "--colour",
        metavar="WHEN",
        choices=("never", "always", "auto"),
        default="auto",
        help="use colours: never, always, or auto (default: on a terminal)",
    )
    parser.add_argument("--log-level", metavar="LEVEL", choices=LEVELS, help="override log_level: " + ", ".join(LEVELS))
    parser.add_argument("-q", "--quiet", action="store_true", help="show warnings and errors only")
    parser.add_argument("-d", "--debug", action="store_true", help="show details on standard error")
    parser.add_argument(
        "-f", "--format", metavar="FORMAT", choices=("console", "json"), default="console", help="console or json"
    )


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, argparse.Namespace | None, Any]:
    """Return the global options, the command's arguments and its module; the last two are None without a command.

    Usage errors leave with status 2, as argparse does.
    """
    parser = global_parser()
    for word in argv:
        if not _is_text(word):
            parser.error(f"argument {ascii(word)} is not text in the encoding of this system")
    options = parser.parse_args(argv)
    words: list[str] = options.command
    if not words or words[0] == "help":
        return options, None, None
    command = find(words[0])
    if command is None:
        parser.error(f"argument command: invalid choice: '{words[0]}'{_suggestion(words[0])}")
    module = import_module(f"barman.cli.commands.{command.module}")
    subparser = argparse.ArgumentParser(
        prog=f"barman {command.name}", description=command.help, epilog=_EPILOG, formatter_class=Formatter
    )
    module.add_arguments(subparser)
    return options, subparser.parse_args(words[1:]), module


def _is_text(word: str) -> bool:
    """Bytes that are no characters could be shown nowhere: not on a terminal, in JSON or in the log."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _suggestion(word: str) -> str:
    from difflib import get_close_matches

    names = [name for command in COMMANDS for name in (command.name, *command.aliases)]
    close = get_close_matches(word, names, n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else " (see 'barman --help')"
