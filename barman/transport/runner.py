"""What every way to run a command on a host promises, and the one function that quotes for a remote shell.

The contract, held by one test suite for all runners: commands are argument vectors; each word arrives as it was given,
whatever it holds; standard input, output, error and status come back unchanged; nobody is ever asked anything; a
deadline ends the waiting; a host that cannot be reached, or a link that is lost, is reported at once as Unreachable
with what was being done.
"""

from __future__ import annotations

import re

from barman.errors import CommandFailed
from barman.typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.clock import Deadline
    from barman.process import Completed

SSH_FAILED = 255
"""The status by which ssh reports its own failures; ssh(1). No command may use it for anything else."""

_PLAIN = re.compile(r"[A-Za-z0-9_@%+,./:-]+\Z", re.ASCII)
# Words of the shell's grammar that are harmless as arguments and not as a command: POSIX.1-2017, 2.4.
_RESERVED_WORDS = "case do done elif else esac fi for function if in select then time until while"
_RESERVED = frozenset(_RESERVED_WORDS.split())
_SHOWN_LENGTH = 160


class CommandRunner(Protocol):
    """Runs commands on one host; may be used by several threads at once."""

    @property
    def description(self) -> str:
        """Name the host for messages: `this host`, or the ssh command."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        deadline: Deadline | None = None,
        check: bool = True,
        doing: str = "",
    ) -> Completed:
        """Run a command to its end; `doing` says for messages what it is for (`reading '/etc/x'`).

        Raises CommandFailed when it ends (with `check`) with a status other than 0 or cannot be started, Unreachable
        when the host cannot be reached or the link is lost, DeadlineExceeded when the time is over; a remote command
        may then still be running.
        """

    def close(self) -> None:
        """Let go of connections; the next command opens them again."""


def quote(argv: Sequence[str]) -> str:
    """Return the command line from which a POSIX shell gets back exactly these words. Raises ValueError for a NUL."""
    return " ".join(_quote_word(word, first=index == 0) for index, word in enumerate(argv))


def _quote_word(word: str, *, first: bool) -> str:
    if "\0" in word:
        raise ValueError("an argument holds a NUL byte")
    if _PLAIN.match(word) and not (first and word in _RESERVED):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def remote_line(argv: Sequence[str]) -> str:
    """Return `quote(argv)`. Raises CommandFailed when no shell can be told these words."""
    try:
        return quote(argv)
    except ValueError as error:
        raise CommandFailed(f"cannot run {argv[0]!r}: {error}", returncode=127) from error


def activity(argv: Sequence[str], doing: str) -> str:
    """Return what to call a command in a message."""
    if doing:
        return doing
    line = " ".join(argv)
    return f"running '{line if len(line) <= _SHOWN_LENGTH else line[:_SHOWN_LENGTH] + '…'}'"
