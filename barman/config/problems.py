"""What is wrong with a configuration without stopping everybody; what does stop everybody is a ConfigError."""

from __future__ import annotations

WARNING = "warning"  # printed on stderr and logged, on every run
LOG = "log"  # logged as a warning, not printed


class Problem:
    """One thing wrong with one option, section or file; `str(problem)` is the text to print.

    `origin` is `FILE:LINE` (or `FILE`) of the value at fault, empty when nobody wrote it. `level` is WARNING or LOG.
    """

    __slots__ = ("disables_server", "level", "message", "option", "origin", "section")

    def __init__(
        self,
        message: str,
        *,
        section: str = "",
        option: str = "",
        origin: str = "",
        level: str = WARNING,
        disables_server: bool = False,
    ) -> None:
        self.message = message
        self.section = section
        self.option = option
        self.origin = origin
        self.level = level
        self.disables_server = disables_server

    @property
    def text(self) -> str:
        """The text to print."""
        return self.message

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"Problem({self.level}: {self.message!r} at {self.origin or '-'})"
