"""Kill an operation at its k-th change of the file system, for every k, without a hook in production code.

The operation runs in a forked child. An audit hook (PEP 578) counts the calls that change something below a directory,
and just before the k-th of them the child kills itself with SIGKILL: no `finally`, no flush, no lock release by hand.
Bytes that were written stay, as they do when a process dies; what a power loss may take is tested elsewhere, on the
order of the system calls.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_CHANGES = frozenset(
    (
        "os.rename",
        "os.link",
        "os.remove",
        "os.mkdir",
        "os.rmdir",
        "os.truncate",
        "os.symlink",
        "os.chmod",
        "os.utime",
    )
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_LIMIT = 2000


@dataclass(frozen=True)
class Outcome:
    """How the child ended: `killed` by itself, or at the end of the operation with the number of changes it made."""

    killed: bool
    changes: int = 0


def run_killed(operation: Callable[[], object], below: str, at: int) -> Outcome:
    """Run the operation in a child that kills itself before its `at`-th change below a directory.

    Raises AssertionError with the traceback when the operation raises.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os._exit(_child(operation, os.path.realpath(below), at, writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"child died of signal {os.WTERMSIG(status)}"
        return Outcome(killed=True)
    assert os.WEXITSTATUS(status) == 0, said
    return Outcome(killed=False, changes=int(said))


def every_crash(operation: Callable[[], object], below: str, prepare: Callable[[], object]) -> Iterator[int]:
    """Yield k after `prepare()` and a run that was killed at its k-th change, until a run comes to its end."""
    for at in itertools.count(1):
        assert at < _LIMIT, "the operation never comes to its end"
        prepare()
        if not run_killed(operation, below, at).killed:
            return
        yield at


def count_changes(operation: Callable[[], object], below: str) -> int:
    """How many changes the whole operation makes."""
    outcome = run_killed(operation, below, sys.maxsize)
    assert not outcome.killed
    return outcome.changes


def _child(operation: Callable[[], object], below: str, at: int, writer: int) -> int:
    counter = _Counter(below, at)
    try:
        sys.addaudithook(counter)
        operation()
        said, code = str(counter.changes), 0
    except BaseException:  # noqa: BLE001  # the parent raises it
        said, code = traceback.format_exc(), 1
    os.write(writer, said.encode())
    return code


class _Counter:
    """The audit hook. Threads race for the k-th change; whoever comes to it ends them all."""

    def __init__(self, below: str, at: int) -> None:
        self.changes = 0
        self._below = below
        self._at = at
        self._guard = threading.Lock()

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in _CHANGES and not (event == "open" and _is_writing(arguments)):
            return
        if not any(self._is_below(argument) for argument in arguments[:2]):
            return
        with self._guard:
            self.changes += 1
            if self.changes >= self._at:
                os.kill(os.getpid(), signal.SIGKILL)

    def _is_below(self, argument: object) -> bool:
        if isinstance(argument, int) and argument > 2:
            try:
                argument = os.readlink(f"/proc/self/fd/{argument}")
            except OSError:
                return False
        return isinstance(argument, str) and argument.startswith(self._below)


def _is_writing(arguments: tuple[object, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str) and set(mode) & set("wax+"):
        return True
    return isinstance(flags, int) and bool(flags & _WRITING)
