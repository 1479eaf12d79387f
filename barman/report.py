"""How services speak to the user: lines by severity, typed results, progress."""

from __future__ import annotations

from barman.typing import Protocol


class Progress:
    """How far a long operation has come.

    `done` and `total` count `unit` (bytes, files, segments); `total` is None when it is not known;
    `started_at` is `clock.monotonic()` of the start.
    """

    __slots__ = ("done", "label", "started_at", "total", "unit")

    def __init__(
        self, label: str, done: int, total: int | None, *, unit: str = "bytes", started_at: float = 0.0
    ) -> None:
        self.label = label
        self.done = done
        self.total = total
        self.unit = unit
        self.started_at = started_at


class Reporter(Protocol):
    """What a service may say. Renderers decide how it looks; services never print."""

    @property
    def failed(self) -> bool:
        """True once an error was reported: the exit code will not be 0."""

    def debug(self, message: str) -> None:
        """Say a detail, shown with --debug."""

    def info(self, message: str) -> None:
        """Say what is done; also logged."""

    def warning(self, message: str) -> None:
        """Say what the user should look at; the exit code stays."""

    def error(self, message: str) -> None:
        """Say what failed; the exit code becomes 1."""

    def exception(self, message: str) -> None:
        """Say that something unexpected happened; the traceback is in the log."""

    def listing(self, line: str) -> None:
        """Show a line of data, which is not logged."""

    def emit(self, result: object) -> None:
        """Show a typed result with the view registered for its type."""

    def progress(self, progress: Progress) -> None:
        """Show how far a long operation has come, on a terminal only."""


class MemoryReporter:
    """A Reporter that remembers: for tests and for work done quietly inside other work."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.results: list[object] = []
        self.failed = False

    def debug(self, message: str) -> None:
        """Remember a detail."""
        self.lines.append(("debug", message))

    def info(self, message: str) -> None:
        """Remember a line."""
        self.lines.append(("info", message))

    def warning(self, message: str) -> None:
        """Remember a warning."""
        self.lines.append(("warning", message))

    def error(self, message: str) -> None:
        """Remember an error and that there was one."""
        self.failed = True
        self.lines.append(("error", message))

    def exception(self, message: str) -> None:
        """Remember an unexpected failure."""
        self.failed = True
        self.lines.append(("exception", message))

    def listing(self, line: str) -> None:
        """Remember a data line."""
        self.lines.append(("listing", line))

    def emit(self, result: object) -> None:
        """Remember a result."""
        self.results.append(result)

    def progress(self, progress: Progress) -> None:
        """Ignore progress."""

    def texts(self, level: str | None = None) -> list[str]:
        """Return the messages, of one level or all."""
        return [text for kind, text in self.lines if level is None or kind == level]


def replay(memory: MemoryReporter, reporter: Reporter) -> None:
    """Say again, in order, what was remembered."""
    for level, text in memory.lines:
        getattr(reporter, level)(text)
    for result in memory.results:
        reporter.emit(result)
