"""Argument types and groups that several commands share."""

from __future__ import annotations

import argparse

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTCUTS = ("latest", "last", "oldest", "first", "last-failed", "latest-full", "last-full")
LARGEST = (1 << 31) - 1
BACKUP_ID_HELP = f"a backup id (YYYYMMDDTHHMMSS), a backup name, or one of {', '.join(SHORTCUTS)}"


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add the SERVER of commands that work on exactly one."""
    parser.add_argument("server_name", metavar="SERVER_NAME", help="name of a server in the configuration")


def add_servers(parser: argparse.ArgumentParser) -> None:
    """Add the SERVER... of commands that work on several; `all` stands for every one."""
    parser.add_argument(
        "server_name", metavar="SERVER_NAME", nargs="+", help="names of servers in the configuration, or 'all'"
    )


def add_backup_id(parser: argparse.ArgumentParser) -> None:
    """Add the BACKUP_ID."""
    parser.add_argument("backup_id", metavar="BACKUP_ID", help=BACKUP_ID_HELP)


def at_least(minimum: int) -> Callable[[str], int]:
    """Return an argument type: a decimal integer not below `minimum`, and small enough for every clock and program."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a valid integer") from None
        if value < minimum:
            raise argparse.ArgumentTypeError(f"'{text}' is not an integer of at least {minimum}")
        if value > LARGEST:
            raise argparse.ArgumentTypeError(f"'{text}' is larger than {LARGEST}")
        return value

    return parse


def config_changes(**values: object) -> dict[str, object]:
    """Return the options that the command line gave: those that are not None."""
    return {key: value for key, value in values.items() if value is not None}
