"""One run of one script: started by the shell, watched, its output logged, ended when its time is over."""

from __future__ import annotations

from barman.clock import Deadline, sleep
from barman.errors import CommandFailed, DeadlineExceeded, Interrupted
from barman.logs import Log, redact
from barman.process import Child, describe_status
from barman.typing import TYPE_CHECKING
from barman.values import dataclass
from barman.workers import is_abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from barman.hooks.points import Script

_LOG = Log(__name__)

_SHELL = "/bin/sh"
_MOST_LINES = 1000
_MOST_CHARACTERS = 200_000
_LONGEST_LINE = 2000
_TAIL_LINES = 20
_DRAIN_SECONDS = 2.0
"""How long output is awaited that a program started in the background may still write."""
_LOOK_SECONDS = 1.0
"""How often a script that runs in a thread of cron is reminded that the process may have been told to end."""
_GRACE_SECONDS = 5.0
"""How long a script may tidy up after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit code, negative for a signal; None if it could not be started or had no time left."""

    code: int | None
    reason: str


def run_once(
    script: Script, environment: Mapping[str, str], deadline: Deadline, *, grace: float = _GRACE_SECONDS
) -> Ended:
    """Run a script to its end, or to the deadline; its process group does not outlive that, nor an interruption.

    What it writes goes to the log alone: standard output as DEBUG, standard error as WARNING, redacted, with control
    characters escaped, as far as it is reasonable. A program that it leaves in the background goes on.
    """
    command = describe(script)
    _LOG.debug("attempt to run %s: %s", script.option, command)
    out, err = _Listener(script.option, _LOG.debug), _Listener(script.option, _LOG.warning)
    try:
        child = Child([_SHELL, "-c", script.command], env=environment, on_stdout=out, on_stderr=err)
    except CommandFailed as error:
        return _failed(script, Ended(None, redact(error.message)), out, err)
    try:
        code = _wait(child, deadline)
    except DeadlineExceeded:
        child.end_group(grace)
        return _failed(script, Ended(None, f"not done within {script.seconds} seconds, and killed"), out, err)
    except BaseException:
        child.end_group(grace)
        raise
    if code == 0:
        _LOG.debug("%s returned 0", command)
        return Ended(0, "status 0")
    return _failed(script, Ended(code, describe_status(code)), out, err)


def pause(seconds: float, deadline: Deadline) -> None:
    """Wait before another attempt, not beyond the deadline. Raises Interrupted in a thread that nobody waits for."""
    rest = Deadline(seconds)
    while not rest.expired and not deadline.expired:
        _heed_the_end()
        sleep(min(_LOOK_SECONDS, *(left for left in (rest.remaining(), deadline.remaining()) if left is not None)))


def _wait(child: Child, deadline: Deadline) -> int:
    while True:
        left = deadline.remaining()
        last = left is not None and left <= _LOOK_SECONDS
        try:
            return child.wait(Deadline(left if last else _LOOK_SECONDS), drain=_DRAIN_SECONDS)
        except DeadlineExceeded:
            if last:
                raise
            _heed_the_end()


def _heed_the_end() -> None:
    """Signals come to the main thread alone: another one sees here that all is over."""
    if is_abandoned():
        raise Interrupted("SIGTERM")


def describe(script: Script) -> str:
    """Return the command as messages show it: redacted, on one line, not longer than a line should be."""
    text = printable(redact(script.command))
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"


def printable(text: str) -> str:
    """Return the text with everything escaped that could forge or garble lines of a log."""
    return "".join(
        character if character.isprintable() or character == "\t" else character.encode("unicode_escape").decode()
        for character in text
    )


def _failed(script: Script, ended: Ended, out: _Listener, err: _Listener) -> Ended:
    written = [f"\nstdout: {line}" for line in out.tail] + [f"\nstderr: {line}" for line in err.tail]
    _LOG.warning("%s '%s' ended with %s%s", script.option, describe(script), ended.reason, "".join(written))
    return Ended(ended.code, f"{ended.reason}: {err.tail[-1]}") if err.tail and ended.code is not None else ended


class _Listener:
    """Logs the lines of one stream, and remembers the last ones."""

    def __init__(self, option: str, log: Callable[..., None]) -> None:
        self._option = option
        self._log = log
        self._lines = 0
        self._characters = 0
        self.tail: list[str] = []

    def __call__(self, line: str) -> None:
        if self._lines > _MOST_LINES or self._characters > _MOST_CHARACTERS:
            return
        text = printable(redact(line[:_LONGEST_LINE]))[:_LONGEST_LINE]
        self._lines += 1
        self._characters += len(text)
        self._log("%s: %s", self._option, text)
        self.tail = [*self.tail[1 - _TAIL_LINES :], text]
        if self._lines > _MOST_LINES or self._characters > _MOST_CHARACTERS:
            self._log("%s: what it writes from here on is not logged", self._option)
