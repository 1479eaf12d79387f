"""Run one program and talk to it over pipes, without the price of importing subprocess.

The clients run once for each WAL segment, and what they do before ssh starts is time that nobody gets back: importing
subprocess takes as long as starting the interpreter does. Everything else uses `process`.
"""

from __future__ import annotations

import errno
import os
import select
import signal

from barman.errors import CommandFailed
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_CHUNK = 1 << 18
_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = 1031
_KEPT_ERROR_BYTES = 1 << 16


class Ended:
    """How a program ended: its exit status (negative: the signal that ended it), and the end of what it complained.

    One that was left alone has the status 0.
    """

    __slots__ = ("status", "stderr")

    def __init__(self, status: int, stderr: bytes) -> None:
        self.status = status
        self.stderr = stderr

    @property
    def error_text(self) -> str:
        """Return what was written to standard error, without the last line end."""
        return self.stderr.decode("utf-8", "replace").rstrip()


def converse(
    argv: Sequence[str],
    *,
    feed: Iterator[bytes] | None = None,
    on_output: Callable[[bytes], object] | None = None,
    is_enough: Callable[[], bool] | None = None,
) -> Ended:
    """Run a program in our process group: write what `feed` yields to it, hand what it says to `on_output`.

    As soon as `is_enough` says so, after some output, the program is left alone: its pipes are closed and its end is
    not waited for. That is for a caller who leaves, too; the program becomes nobody's child then.

    A program that stops listening is no error here: its exit status tells. It is killed when `feed` or `on_output`
    raises. A grandchild that keeps standard error open (the master of a kept ssh connection) is not waited for. Raises
    CommandFailed when it cannot be started.
    """
    return _Conversation(argv, feed, on_output, is_enough).run()


class _Conversation:
    def __init__(
        self,
        argv: Sequence[str],
        feed: Iterator[bytes] | None,
        on_output: Callable[[bytes], object] | None,
        is_enough: Callable[[], bool] | None,
    ) -> None:
        self._feed = feed
        self._on_output = on_output
        self._is_enough = is_enough
        self._left_alone = False
        self._open: set[int] = set()
        self._errors = b""
        self._left = memoryview(b"")
        ends: list[tuple[int, int]] = []
        try:
            ends += [os.pipe() for _ in range(3)]
            (self._input, ours_in), (ours_out, self._output), (ours_err, self._error) = ends
            self.pid = self._spawn(argv)
        except OSError as error:
            for pair in ends:
                os.close(pair[0])
                os.close(pair[1])
            raise CommandFailed(f"cannot run '{argv[0]}': {error.strerror}", returncode=127) from error
        for descriptor in (self._input, self._output, self._error):
            os.close(descriptor)
        self.stdin, self.stdout, self.stderr = ours_in, ours_out, ours_err
        self._open = {ours_in, ours_out, ours_err}
        for descriptor in self._open:
            os.set_blocking(descriptor, False)

    def _spawn(self, argv: Sequence[str]) -> int:
        actions = [(os.POSIX_SPAWN_DUP2, self._input, 0), (os.POSIX_SPAWN_DUP2, self._output, 1)]
        actions.append((os.POSIX_SPAWN_DUP2, self._error, 2))
        # Python ignores SIGPIPE, and what is ignored is inherited.
        return os.posix_spawnp(argv[0], list(argv), os.environ, file_actions=actions, setsigdef=[signal.SIGPIPE])

    def run(self) -> Ended:
        try:
            self._talk()
            status = 0 if self._left_alone else os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except BaseException:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise
        finally:
            if self.stderr in self._open:
                self._read_errors()
            for descriptor in list(self._open):
                self._close(descriptor)
        return Ended(status, self._errors)

    def _talk(self) -> None:
        """Until it has nothing more to say and we have nothing more to tell."""
        if self._feed is None:
            self._close(self.stdin)
        else:
            _enlarge(self.stdin)
        _enlarge(self.stdout)
        while not self._left_alone and (self.stdout in self._open or self.stdin in self._open):
            for descriptor in self._ready():
                if descriptor == self.stdin:
                    self._write()
                elif descriptor == self.stdout:
                    self._read_output()
                else:
                    self._read_errors()

    def _ready(self) -> list[int]:
        poll = select.poll()
        for descriptor in self._open:
            poll.register(descriptor, select.POLLOUT if descriptor == self.stdin else select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll()]

    def _write(self) -> None:
        if not self._left:
            piece = next(self._feed, None) if self._feed is not None else None
            if piece is None:
                self._close(self.stdin)
                return
            self._left = memoryview(piece)
        try:
            self._left = self._left[os.write(self.stdin, self._left) :]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
            self._close(self.stdin)

    def _read_output(self) -> None:
        data = self._read(self.stdout)
        if data and self._on_output is not None:
            self._on_output(data)
            self._left_alone = self._is_enough is not None and self._is_enough()

    def _read_errors(self) -> None:
        while data := self._read(self.stderr):
            self._errors = (self._errors + data)[-_KEPT_ERROR_BYTES:]

    def _read(self, descriptor: int) -> bytes:
        """What is there now; at its end the pipe is closed."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            self._close(descriptor)
        return data

    def _close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)


def _enlarge(descriptor: int) -> None:
    """Make a pipe larger where the system can: fewer switches between the two programs."""
    try:
        from fcntl import fcntl

        fcntl(descriptor, _F_SETPIPE_SZ, _PIPE_SIZE)
    except (ImportError, OSError):
        pass


def in_background(work: Callable[[], object]) -> None:
    """Do something in a copy of this process, without our streams, that goes on when we have ended.

    It stays in our process group: what a stopping PostgreSQL started ends when the group is signalled.
    """
    if os.fork():
        return
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        work()
    finally:
        os._exit(0)
