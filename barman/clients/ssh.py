"""How the clients reach the Barman host: always through OpenSSH, with an argument vector and one quoted remote command.

Nothing here is imported that is not needed before ssh starts.
"""

from __future__ import annotations

import os
import sys

from barman import __version__
from barman.errors import BarmanError
from barman.pipes import Ended, converse
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

CONNECTION_FAILED = 255
"""The status of ssh itself; everything else is the status of the remote command."""

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%+=:,./-_")


class ClientError(BarmanError):
    """Something that ends a client with one line of message; `status` is the exit code outside of a recovery."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


class PrivateDirectoryError(ClientError):
    """A directory that others could tamper with."""


class Remote:
    """A server on a Barman host, and how to get there."""

    __slots__ = ("config", "host", "keep", "port", "server", "user")

    def __init__(
        self, host: str, server: str, *, user: str, port: str | None, config: str | None, keep: int = 0
    ) -> None:
        self.host = _checked(host, "host")
        self.user = _checked(user, "user")
        self.server = server
        self.port = port
        self.config = config
        self.keep = keep

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> Remote:
        """Return what the options of every client say. Raises ClientError."""
        return cls(
            options.barman_host,
            options.server_name,
            user=options.user,
            port=options.port,
            config=options.config,
            keep=options.keep_connection,
        )

    def barman(self, *arguments: str, config_form: str = "--config {}") -> str:
        """Return the remote command line: words that are safe stay bare, as the original writes them."""
        config = [config_form.format(quote(self.config))] if self.config else []
        return " ".join(["barman", *config, *arguments])

    def argv(self, command: str) -> list[str]:
        """Return the argument vector of ssh. Passwords are never asked for, a dead link is noticed within a minute."""
        argv = ["ssh"]
        if self.port:
            argv += ["-p", self.port]
        argv += ["-T", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]
        argv += ["-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3", "-o", "ConnectTimeout=30"]
        if self.keep > 0:
            sockets = private_directory(socket_directory())
            argv += ["-o", "ControlMaster=auto", "-o", f"ControlPath={sockets}/%C", "-o", f"ControlPersist={self.keep}"]
        return [*argv, f"{self.user}@{self.host}", command]

    def run(
        self,
        command: str,
        *,
        feed: Iterator[bytes] | None = None,
        on_output: Callable[[bytes], object] | None = None,
        is_enough: Callable[[], bool] | None = None,
    ) -> Ended:
        """Run a remote command. Raises CommandFailed when ssh cannot be started. See `pipes.converse`."""
        return converse(self.argv(command), feed=feed, on_output=on_output, is_enough=is_enough)

    def key(self) -> str:
        """Return what distinguishes this destination from every other one in names of state files: 16 digits."""
        import hashlib

        text = "\n".join(str(part) for part in (self.host, self.user, self.port, self.config, self.server))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _checked(text: str, what: str) -> str:
    if not text or text.startswith("-") or not text.isprintable() or " " in text or "@" in text:
        raise ClientError(f"'{text}' is not a {what} name")
    return text


def quote(text: str) -> str:
    """Return one word for a POSIX shell that stands for exactly this text."""
    if "\0" in text:
        raise ClientError("an argument contains a null byte")
    return text if text and _SAFE.issuperset(text) else quote_always(text)


def quote_always(text: str) -> str:
    """`quote`, with quotes even where none are needed."""
    if "\0" in text:
        raise ClientError("an argument contains a null byte")
    escaped = text.replace("'", "'\\''")
    return f"'{escaped}'"


def socket_directory() -> str:
    """Return where the sockets of kept connections are: nobody else may enter, whoever does could use them."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and len(runtime) < 40 and os.path.isdir(runtime):
        return os.path.join(runtime, "barman-ssh")
    return f"/tmp/barman-ssh-{os.getuid()}"


def private_directory(path: str) -> str:
    """Make a directory that only we can enter, or make sure that it is one. Raises PrivateDirectoryError."""
    import stat

    from barman.fs.spool import make_private_directory

    try:
        make_private_directory(path)
        facts = os.lstat(path)
    except OSError as error:
        raise PrivateDirectoryError(f"cannot use directory '{path}': {error.strerror}") from error
    if not stat.S_ISDIR(facts.st_mode):
        raise PrivateDirectoryError(f"cannot use directory '{path}': it is not a real directory")
    if facts.st_uid != os.geteuid():
        raise PrivateDirectoryError(f"cannot use directory '{path}': it belongs to another user")
    if facts.st_mode & 0o022:
        raise PrivateDirectoryError(f"cannot use directory '{path}': others may write into it")
    return path


def add_common_arguments(parser: argparse.ArgumentParser, program: str) -> None:
    """Add the options that the clients share."""
    parser.add_argument("-V", "--version", action="version", version=f"{program} {__version__}")
    parser.add_argument("-U", "--user", default="barman", help="the user on the Barman host (default: %(default)s)")
    parser.add_argument("--port", help="the port of ssh on the Barman host")
    parser.add_argument("-c", "--config", help="the configuration file of Barman on the Barman host")
    parser.add_argument("-t", "--test", action="store_true", help="only test the connection and the remote server")
    parser.add_argument(
        "--keep-connection",
        metavar="SECONDS",
        type=count,
        default=0,
        help="keep the ssh connection open for so long after its last use; following calls need no new one "
        "(default: 0, do not keep it)",
    )


def count(text: str) -> int:
    """Parse a number that is not negative."""
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def complain(message: str) -> None:
    """Say why this ends badly."""
    print(f"ERROR: {message}", file=sys.stderr)


def relay(text: str) -> None:
    """Pass on what the other end complained."""
    if text:
        print(text, file=sys.stderr)


def test_connection(remote: Remote, command: str) -> int:
    """Show what the remote command answers; return its status, or that of ssh."""
    answer: list[bytes] = []
    ended = remote.run(command, on_output=answer.append)
    print(b"".join(answer).decode("utf-8", "replace").rstrip("\n"))
    relay(ended.error_text)
    return ended.status if ended.status >= 0 else 2
