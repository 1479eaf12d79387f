"""The console writer: what people read, and what scripts parse."""

from __future__ import annotations

import os
import sys

from barman.logs import redact
from barman.output.registry import view_of
from barman.typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.report import Progress

_RED, _GREEN, _YELLOW, _RESET = "\033[31m", "\033[32m", "\033[33m", "\033[0m"
_PROGRESS_SECONDS = 0.2


class ConsoleReporter:
    """Lines on stdout; `WARNING:`, `ERROR:`, `EXCEPTION:` and `DEBUG:` lines on stderr. Passwords are redacted.

    `log` receives (level, message) of everything but data lines. `quiet` silences stdout, never warnings and errors.
    `reader_has_gone` tells that nobody reads stdout any more (a closed pipe); what is said from then on is lost.
    Progress is drawn on stderr, only when both streams are terminals.
    """

    def __init__(
        self,
        log: Callable[[str, str], None],
        *,
        quiet: bool = False,
        debug: bool = False,
        color: str = "auto",
    ) -> None:
        self.failed = False
        self.reader_has_gone = False
        self._log = log
        self._quiet = quiet
        self._debug = debug
        self._terminal = sys.stdout.isatty() and sys.stderr.isatty()
        self._color = color == "always" or (color == "auto" and self._terminal)
        self._progress = _ProgressLine(sys.stderr) if self._terminal and not quiet else None

    def debug(self, message: str) -> None:
        """Log a detail; show it with --debug."""
        self._log("debug", message)
        if self._debug:
            self._err(f"DEBUG: {message}")

    def info(self, message: str) -> None:
        """Show and log a line."""
        self._log("info", message)
        self._out(message)

    def warning(self, message: str) -> None:
        """Show and log a warning."""
        self._log("warning", message)
        self._err(f"WARNING: {message}", _YELLOW)

    def error(self, message: str) -> None:
        """Show and log an error; the exit code will be 1."""
        self.failed = True
        self._log("error", message)
        self._err(f"ERROR: {message}", _RED)

    def exception(self, message: str) -> None:
        """Show that something unexpected happened; the log has the traceback."""
        self.failed = True
        self._err(f"EXCEPTION: {message}\nSee log file for more details.", _RED)

    def hint(self, message: str) -> None:
        """Show what the user can do about an error."""
        self._err(f"HINT: {message}")

    def listing(self, line: str) -> None:
        """Show a line of data."""
        if not self._quiet:
            self._clear()
            self._print(redact(line) + "\n")

    def emit(self, result: object) -> None:
        """Show a result through its view."""
        if not self._quiet:
            view_of(result).console(result, self._write_result)

    def progress(self, progress: Progress) -> None:
        """Draw how far the work has come."""
        if self._progress is not None:
            self._progress.draw(progress)

    def leave_output(self) -> None:
        """Say nothing about it: a command writes a document of its own to standard output."""

    def close(self) -> None:
        """Flush; nothing more will be said."""
        self._clear()
        self._print("", flush=True)

    def _write_result(self, line: str) -> None:
        self._clear()
        if self._color:
            line = _paint_outcome(line)
        self._print(redact(line) + "\n")

    def _out(self, text: str) -> None:
        if not self._quiet:
            self._clear()
            self._print(redact(text) + "\n", flush=True)

    def _print(self, text: str, *, flush: bool = False) -> None:
        # Work goes on when nobody reads about it any more: a backup is not given up for the `head` behind it.
        try:
            sys.stdout.write(text)
            if flush:
                sys.stdout.flush()
        except BrokenPipeError:
            self.reader_has_gone = True
            _write_into_the_void()

    def _err(self, text: str, color: str = "") -> None:
        self._clear()
        self._print("", flush=True)
        text = redact(text)
        sys.stderr.write(f"{color}{text}{_RESET}\n" if self._color and color else f"{text}\n")
        sys.stderr.flush()

    def _clear(self) -> None:
        if self._progress is not None:
            self._progress.clear()


def _write_into_the_void() -> None:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, sys.stdout.fileno())
    os.close(descriptor)


def _paint_outcome(line: str) -> str:
    for word, color in ((": OK", _GREEN), (": FAILED", _RED)):
        if line.startswith("\t") and word in line:
            return line.replace(word, f": {color}{word[2:]}{_RESET}", 1)
    return line


class _ProgressLine:
    """One line at the bottom of the terminal: bar, amount, rate, time left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = False
        self._last = 0.0

    def draw(self, progress: Progress) -> None:
        from barman.clock import monotonic

        moment = monotonic()
        complete = progress.total is not None and progress.done >= progress.total
        if moment - self._last < _PROGRESS_SECONDS and not complete:
            return
        self._last = moment
        width = _terminal_width() - 1
        self._stream.write("\r" + describe_progress(progress, moment)[:width].ljust(width))
        self._stream.flush()
        self._drawn = True

    def clear(self) -> None:
        if self._drawn:
            self._stream.write("\r\033[K")
            self._stream.flush()
            self._drawn = False


def _terminal_width() -> int:
    try:
        return max(20, os.get_terminal_size(sys.stderr.fileno()).columns)
    except OSError:
        return 80


def describe_progress(progress: Progress, moment: float) -> str:
    """Return `Copying  42%  1.2 GiB of 2.9 GiB  210.0 MiB/s  ETA 0:08`; parts that are not known are left out."""
    from barman.units import format_size

    def amount(count: float) -> str:
        return format_size(count) if progress.unit == "bytes" else f"{count:,.0f} {progress.unit}"

    elapsed = moment - progress.started_at
    rate = progress.done / elapsed if elapsed > 0.5 else 0.0
    parts = [progress.label]
    if progress.total:
        done = min(progress.done, progress.total)
        parts += [f"{100 * done // progress.total:3d}%", f"{amount(done)} of {amount(progress.total)}"]
    else:
        parts.append(amount(progress.done))
    if rate > 0:
        parts.append(f"{amount(rate)}/s")
        if progress.total:
            seconds = int(max(0, progress.total - progress.done) / rate)
            parts.append(f"ETA {seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}")
    return "  ".join(parts)
