"""The only module that runs programs: argument vectors, never shell strings; own process groups; deadlines."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from functools import partial

from barman.clock import monotonic, sleep
from barman.errors import CommandFailed, DeadlineExceeded
from barman.interrupts import held
from barman.typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from barman.clock import Deadline

_TETHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wal", "tether.py")
_GRACE_SECONDS = 10.0
_GLANCE_SECONDS = 0.05
_LONGEST_LINE = 65536
_LONGEST_KEPT = 1000
_MOST_LINES = 200


class Completed:
    """A program that has ended: `argv`, `returncode`, and what it wrote."""

    __slots__ = ("argv", "returncode", "stderr", "stdout")

    def __init__(self, argv: Sequence[str], returncode: int, stdout: bytes, stderr: bytes) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr

    @property
    def text(self) -> str:
        """Return standard output as text."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def error_text(self) -> str:
        """Return standard error as text."""
        return self.stderr.decode("utf-8", "replace")


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    deadline: Deadline | None = None,
    check: bool = True,
) -> Completed:
    """Run a program to its end and return what it wrote.

    Raises CommandFailed when it cannot be started or (with `check`) ends with a status other than 0, and
    DeadlineExceeded after killing its process group when the time is over.
    """
    child = _popen(argv, env=env, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
    try:
        stdout, stderr = child.communicate(stdin, timeout=deadline.remaining() if deadline else None)
    except subprocess.TimeoutExpired:
        _kill_group(child)
        child.communicate()
        seconds = deadline.seconds if deadline else None
        raise DeadlineExceeded(f"'{argv[0]}' did not end within {seconds:g} seconds") from None
    except BaseException:
        _kill_group(child)
        child.communicate()
        raise
    done = Completed(argv, child.returncode, stdout, stderr)
    if check and child.returncode != 0:
        raise CommandFailed(
            f"'{argv[0]}' ended with {describe_status(child.returncode)}: {last_line(done.error_text)}",
            returncode=child.returncode,
            stderr=done.error_text,
        )
    return done


def describe_status(returncode: int) -> str:
    """Return `status 1` or `signal SIGKILL`."""
    if returncode >= 0:
        return f"status {returncode}"
    try:
        return f"signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"


def last_line(text: str) -> str:
    """Return the last line with something on it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def _popen(
    argv: Sequence[str], *, env: Mapping[str, str] | None, stdin: int, stdout: int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    try:
        with held():
            child = subprocess.Popen(
                list(argv),
                env=None if env is None else dict(env),
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            _children.difference_update([other for other in tuple(_children) if other.returncode is not None])
            _children.add(child)
        return child
    except OSError as error:
        raise CommandFailed(f"cannot run '{argv[0]}': {error.strerror}", returncode=127) from error
    except ValueError as error:
        raise CommandFailed(f"cannot run '{argv[0]}': {error}", returncode=127) from error


_children: set[subprocess.Popen[bytes]] = set()
"""What was started and not yet seen to end, detached programs excepted."""


def end_children() -> None:
    """End every program that this process started and that was to end with it.

    An interruption may come between the start of a program and the block that takes care of it: whoever ends the
    process because of one calls this.
    """
    for child in tuple(_children):
        _kill_group(child)
        child.wait()


def _kill_group(child: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
    if child.poll() is None:
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            pass


class Child:
    """A running program in a process group of its own; its output lines are handed to callbacks by two threads.

    As a context manager it never outlives the block: it is terminated, then killed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        on_stdout: Callable[[str], None] | None = None,
        on_stderr: Callable[[str], None] | None = None,
        stdin: bytes | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self._process = _popen(argv, env=env, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
        if stdin is not None:
            _feed(self._process.stdin, stdin)
        self._pumps = [
            _pump(self._process.stdout, on_stdout),
            _pump(self._process.stderr, on_stderr),
        ]

    @property
    def pid(self) -> int:
        """Return the process id, which is also the id of the group."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the status when the program has ended, else None."""
        return self._process.poll()

    def wait(self, deadline: Deadline | None = None, *, drain: float = _GRACE_SECONDS) -> int:
        """Wait for the end and return the status. Raises DeadlineExceeded (the program goes on).

        What the program left running may hold its output open: that is read for `drain` seconds at most.
        """
        try:
            status = self._process.wait(deadline.remaining() if deadline else None)
        except subprocess.TimeoutExpired:
            seconds = deadline.seconds if deadline else None
            raise DeadlineExceeded(f"'{self.argv[0]}' did not end within {seconds:g} seconds") from None
        for pump in self._pumps:
            pump.join(drain)
        return status

    def interrupt(self) -> None:
        """Send SIGINT to the group."""
        _kill_group(self._process, signal.SIGINT)

    def terminate(self) -> None:
        """Send SIGTERM to the group."""
        _kill_group(self._process, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the group."""
        _kill_group(self._process)

    def end_group(self, grace: float = _GRACE_SECONDS) -> None:
        """End the program and all that it started in its group: SIGTERM, then SIGKILL for whoever is left."""
        if self._process.poll() is None:
            self.terminate()
            limit = monotonic() + grace
            # It is not reaped before the second signal: until then nobody else can get the number of the group.
            while not self._is_over() and monotonic() < limit:
                sleep(_GLANCE_SECONDS)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        for pump in self._pumps:
            pump.join(_GLANCE_SECONDS)

    def _is_over(self) -> bool:
        """Tell whether the program has ended, without reaping it."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def close(self) -> None:
        """End the program if it still runs: SIGTERM, ten seconds, SIGKILL."""
        if self._process.poll() is None:
            self.terminate()
            try:
                self._process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                self._process.wait()
        for pump in self._pumps:
            pump.join(_GRACE_SECONDS)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Piped:
    """A program between two streams of bytes, in a process group of its own: the caller writes its input.

    Its output is read by the caller too, or goes straight into the open file `output`. What it says on standard error
    is kept, up to a limit. As a context manager it never outlives the block: it is killed.
    """

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, output: IO[bytes] | None = None
    ) -> None:
        self.argv = tuple(argv)
        self._said: list[str] = []
        stdout = subprocess.PIPE if output is None else output.fileno()
        self._process = _popen(argv, env=env, stdin=subprocess.PIPE, stdout=stdout)
        self._pump = _pump(self._process.stderr, self._keep)

    def _keep(self, line: str) -> None:
        if len(self._said) < _MOST_LINES:
            self._said.append(line[:_LONGEST_KEPT])

    def write(self, data: bytes) -> int:
        """Hand bytes to the program. Raises BrokenPipeError when it reads no more: `finish` tells why."""
        assert self._process.stdin is not None
        return self._process.stdin.write(data)

    def end_input(self) -> None:
        """Let the program see the end of its input. One that reads no more shows why by its status."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def read(self, size: int, deadline: Deadline | None = None) -> bytes:
        """Return what the program writes, at most `size` bytes; nothing at its end.

        Raises DeadlineExceeded when nothing came by then.
        """
        stdout = self._process.stdout
        assert stdout is not None
        if deadline is not None:
            watched = select.poll()
            watched.register(stdout.fileno(), select.POLLIN)
            if not watched.poll(max(0.0, deadline.remaining() or 0.0) * 1000):
                raise DeadlineExceeded(f"'{self.argv[0]}' did nothing for {deadline.seconds:g} seconds")
        return os.read(stdout.fileno(), size)

    def finish(self, deadline: Deadline | None = None) -> Completed:
        """Wait for the end; return the status and what was said. Raises DeadlineExceeded after killing the program."""
        self.end_input()
        try:
            status = self._process.wait(deadline.remaining() if deadline else None)
        except subprocess.TimeoutExpired:
            seconds = deadline.seconds if deadline else None
            self.close()
            raise DeadlineExceeded(f"'{self.argv[0]}' did not end within {seconds:g} seconds") from None
        self._pump.join(_GRACE_SECONDS)
        return Completed(self.argv, status, b"", "\n".join(self._said).encode())

    def close(self) -> None:
        """Kill the program if it still runs, and close the streams."""
        _kill_group(self._process)
        self._process.wait()
        self._pump.join(_GRACE_SECONDS)
        with contextlib.suppress(OSError):
            self.end_input()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Piped:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pump(stream: object, callback: Callable[[str], None] | None) -> threading.Thread:
    def pump() -> None:
        # A program may write without ever ending a line: no line is read in pieces larger than this.
        for line in iter(partial(stream.readline, _LONGEST_LINE), b""):  # type: ignore[attr-defined]  # a pipe
            if callback is not None:
                callback(line.decode("utf-8", "replace").rstrip("\r\n"))

    thread = threading.Thread(target=pump, daemon=True)
    thread.start()
    return thread


def _feed(stream: IO[bytes] | None, data: bytes) -> None:
    """Write to a program from a thread; one that stops reading shows that by its status."""

    def feed() -> None:
        assert stream is not None
        try:
            stream.write(data)
            stream.close()
        except OSError:
            pass

    threading.Thread(target=feed, daemon=True).start()


def spawn_detached(argv: Sequence[str], *, env: Mapping[str, str] | None = None, keep_descriptors: bool = False) -> int:
    """Start a program in its own session that outlives this one; return its pid.

    Standard streams go to /dev/null unless `keep_descriptors`. Raises CommandFailed when it cannot be started.
    """
    output = None if keep_descriptors else subprocess.DEVNULL
    try:
        child = subprocess.Popen(
            list(argv),
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(f"cannot run '{argv[0]}': {error.strerror}", returncode=127) from error
    _detached.append(child)
    return child.pid


# Popen objects of detached children: kept so that Python does not warn about, nor reap, what goes on without us.
_detached: list[subprocess.Popen[bytes]] = []


def barman_argv(config_file: str | None, *arguments: str) -> list[str]:
    """Return the argument vector that runs this program again: same interpreter, same configuration file, quiet."""
    config = ["-c", config_file] if config_file else []
    return [sys.executable, "-m", "barman", *config, "-q", *arguments]


def tied_argv(*argv: str) -> tuple[str, ...]:
    """Return the argument vector of a program that ends with this process, even when that is killed with SIGKILL."""
    return (sys.executable, "-I", "-S", _TETHER, str(os.getpid()), *argv)


def environment_with_path(path_prefix: str | None) -> dict[str, str] | None:
    """Return this process's environment with `path_prefix` first in PATH, None when there is no prefix."""
    if not path_prefix:
        return None
    environment = dict(os.environ)
    environment["PATH"] = f"{path_prefix}:{environment['PATH']}" if environment.get("PATH") else path_prefix
    return environment


def find_programs(names: Sequence[str], search_path: str) -> list[str]:
    """Return every executable with one of the names, directory by directory in the order of the search path."""
    found = []
    for directory in search_path.split(":"):
        for name in names:
            path = os.path.join(directory or ".", name)
            if os.path.isfile(path) and os.access(path, os.X_OK) and path not in found:
                found.append(path)
    return found


def find_program(names: Sequence[str], search_path: str) -> str | None:
    """Return the first executable with one of the names, None when there is none."""
    found = find_programs(names, search_path)
    return found[0] if found else None


def terminate_process(pid: int, number: int = signal.SIGINT) -> bool:
    """Send a signal to one process; tell whether it existed."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def is_alive(pid: int) -> bool:
    """Tell whether a process with this id exists (a zombie does not count)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return True
