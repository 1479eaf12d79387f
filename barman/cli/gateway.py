"""`barman-ssh-gateway SERVER`: the one thing that the key of a database host can start on the Barman host (ADR 23).

For `command="barman-ssh-gateway pg",restrict` in authorized_keys. sshd starts it in place of whatever the client asks
for, which is in SSH_ORIGINAL_COMMAND. That text is split into words, never given to a shell; the words must be a
command that `PERMITTED` knows, for this server; and what runs is a new argument vector made of what was recognised.

It stands before every archived segment: nothing is imported that the command itself does not need.
"""

from __future__ import annotations

import argparse
import os
import sys

from barman import __version__
from barman.errors import BarmanError
from barman.help import Formatter
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

REFUSED = 126
"""What a shell answers for a command that it may not start. Above 125, so that a server in archive recovery, whose
restore_command passes it on, stops instead of promoting itself."""

_LONGEST_COMMAND = 4096
_LONGEST_NUMBER = 4
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._")
_CONFIG = ("-c", "--config")
_ENVIRONMENT_CONFIG = "BARMAN_CONFIG_FILE"


class Permit:
    """What may follow a command: options without a value, options with a small number, and names of WAL files."""

    __slots__ = ("flags", "numbers", "wal_names")

    def __init__(self, flags: Sequence[str], numbers: Sequence[str] = (), wal_names: int = 0) -> None:
        self.flags = frozenset(flags)
        self.numbers = frozenset(numbers)
        self.wal_names = wal_names

    def usage(self, command: str, server: str) -> str:
        """Return how the command is written, in long options."""
        options = [f"[{flag}]" for flag in sorted(self.flags) if flag.startswith("--")]
        options += [f"[{option} N]" for option in sorted(self.numbers) if option.startswith("--")]
        return " ".join(["barman", command, *options, server, *["WAL_NAME"] * self.wal_names])


PERMITTED = {
    "put-wal": Permit(("-t", "--test")),
    "get-wal": Permit(
        (
            *("-t", "--test", "-P", "--partial", "-z", "-x", "--gzip", "-j", "--bzip2"),
            "--keep-compression",
        ),
        ("-p", "--peek", "--recovery", "--following"),
        wal_names=1,
    ),
}
"""Everything that can be asked for. An option that is not here is refused, as is one that names a file or a directory;
the test of this module wants a decision on every option of these commands."""


class NotPermitted(BarmanError):
    """What was asked for is none of the gateway's business."""

    exit_code = REFUSED


class Gateway:
    """What one key may do. `config` is its configuration file, None for the default; `only` narrows the commands."""

    __slots__ = ("_config", "_only", "_server")

    def __init__(self, server: str, config: str | None = None, only: str | None = None) -> None:
        self._server = server
        self._config = config
        self._only = only

    def translate(self, command: str) -> list[str]:
        """Return the arguments of `barman` that serve a remote command. Raises NotPermitted, saying why."""
        words = _split(command)
        if not words or words[0] != "barman":
            raise NotPermitted("only 'barman' can be started")
        words = self._without_config(words[1:])
        if not words or words[0].startswith("-"):
            raise NotPermitted(f"option '{words[0]}' is not permitted" if words else "there is no command")
        name, *arguments = words
        permit = PERMITTED.get(name)
        if permit is None or (self._only is not None and name != self._only):
            raise NotPermitted(f"the command '{name}' is not permitted")
        config = [] if self._config is None else ["--config", self._config]
        return [*config, name, *self._arguments(name, permit, arguments)]

    def permits(self) -> str:
        """Return what can be done with the key."""
        return "; ".join(
            permit.usage(name, self._server)
            for name, permit in PERMITTED.items()
            if self._only is None or name == self._only
        )

    def _without_config(self, words: list[str]) -> list[str]:
        """The words after the configuration file, which the client may name if it is the one that is used anyway."""
        while words:
            option, equals, value = words[0].partition("=")
            if option not in _CONFIG or (equals and option == "-c"):
                break
            if not equals:
                if len(words) == 1:
                    raise NotPermitted(f"option '{option}' has no value")
                value = words.pop(1)
            self._check_config(value)
            words = words[1:]
        return words

    def _check_config(self, path: str) -> None:
        from barman.config.loader import find_main_file

        own = find_main_file(self._config, os.environ)
        if os.path.normpath(path) != os.path.normpath(own):
            raise NotPermitted(f"the configuration file '{path}' is not permitted, it is '{own}'")

    def _arguments(self, name: str, permit: Permit, words: Sequence[str]) -> list[str]:
        options: list[str] = []
        names: list[str] = []
        rest = iter(words)
        for word in rest:
            option, equals, value = word.partition("=")
            if not word.startswith("-"):
                names.append(word)
            elif word in permit.flags:
                options.append(word)
            elif option in permit.numbers and (not equals or option.startswith("--")):
                options += [option, _number(option, value if equals else next(rest, ""))]
            else:
                raise NotPermitted(f"option '{option}' of {name} is not permitted")
        if not names or names[0] != self._server:
            raise NotPermitted(f"server '{names[0]}' is not permitted" if names else "there is no server name")
        if len(names) != 1 + permit.wal_names:
            raise NotPermitted(f"{name} takes {1 + permit.wal_names} names, not {len(names)}")
        for text in names[1:]:
            if not text or not _NAME_CHARACTERS.issuperset(text) or text.startswith("."):
                raise NotPermitted(f"'{text}' is not the name of a WAL file")
        return [*options, *names]


def _split(command: str) -> list[str]:
    import shlex

    if len(command) > _LONGEST_COMMAND or not command.isprintable():
        raise NotPermitted("it is too long, or has characters that no command needs")
    try:
        return shlex.split(command)
    except ValueError as error:
        raise NotPermitted(str(error).lower()) from error


def _number(option: str, text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
        raise NotPermitted(f"option '{option}' needs a number of at most {_LONGEST_NUMBER} digits")
    return text


def main() -> int:
    """Serve the client of this ssh session; return the exit code of the command, or REFUSED."""
    return run(sys.argv[1:], os.environ)


def run(argv: Sequence[str], environ: MutableMapping[str, str]) -> int:
    """Do what SSH_ORIGINAL_COMMAND asks for, or say why not: to the client, and into the log."""
    options = argument_parser().parse_args(argv)
    # Only the line in authorized_keys says which configuration serves, not what a client may have sent along.
    environ.pop(_ENVIRONMENT_CONFIG, None)
    gateway = Gateway(options.server_name, options.config, options.only)
    command = environ.get("SSH_ORIGINAL_COMMAND", "")
    try:
        if not command.strip():
            raise NotPermitted("there is no session without a command")
        arguments = gateway.translate(command)
    except BarmanError as refusal:
        _refuse(command, refusal, gateway, options)
        return REFUSED
    from barman.cli.main import run as run_barman

    return run_barman(arguments)


def _refuse(command: str, refusal: BarmanError, gateway: Gateway, options: argparse.Namespace) -> None:
    client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    what = f"{command[:200]!a} was refused" if command else "an interactive session was refused"
    caller = f" (SSH host: {client})" if client else ""
    message = f"{what} by the ssh gateway of server '{options.server_name}': {refusal.message}{caller}"
    sys.stderr.write(f"ERROR: {message}\n")
    sys.stderr.write(
        f"HINT: this key serves barman-wal-archive and barman-wal-restore of server '{options.server_name}' only; "
        f"it permits: {gateway.permits()}\n"
    )
    sys.stderr.flush()
    try:
        _log(message, options.config)
    except BarmanError as error:
        sys.stderr.write(f"WARNING: this could not be logged: {error.message}\n")


def _log(message: str, config: str | None) -> None:
    """Note it in the log file, which belongs to Barman's user. Raises BarmanError."""
    from barman.cli.user import become
    from barman.config.loader import load_settings

    general = load_settings(config, os.environ).barman
    become(general.barman_user)
    import logging

    from barman.logs import setup_logging

    setup_logging(general.log_file, general.log_level, general.log_format)
    logging.getLogger("barman").warning("%s", message)


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the line in authorized_keys."""
    parser = argparse.ArgumentParser(
        prog="barman-ssh-gateway",
        formatter_class=Formatter,
        description="Serve put-wal and get-wal of one server to the key of a database host, and nothing else. For "
        'authorized_keys on the Barman host: command="barman-ssh-gateway SERVER_NAME",restrict KEY',
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"barman-ssh-gateway {__version__}")
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration file (default: as of barman)")
    parser.add_argument(
        "--only", choices=tuple(PERMITTED), metavar="COMMAND", help=f"permit this alone: {' or '.join(PERMITTED)}"
    )
    parser.add_argument("server_name", metavar="SERVER_NAME", help="the server whose database host has the key")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
