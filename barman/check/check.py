"""What a check is and what it finds: declarations and results, no effects."""

from __future__ import annotations

from collections.abc import Callable

from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.check.context import CheckContext
    from barman.config.server_config import ServerConfig

TIMEOUT_NAME = "check timeout"
"""The line printed when the deadline is over; monitoring systems look for it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one probe found.

    `name` replaces the name of the check where the interface has another one for the failing case.
    `blocking` overrides the declaration for this finding alone: a gap in the WAL makes `check` red, and must not keep
    a new backup, its remedy, from being taken.
    """

    ok: bool
    hint: str = ""
    name: str = ""
    details: tuple[str, ...] = ()
    blocking: bool | None = None


def passed(hint: str = "") -> Outcome:
    """The line is printed as OK, with `hint` in parentheses."""
    return Outcome(True, hint)


def failed(hint: str = "", *, name: str = "", details: tuple[str, ...] = (), blocking: bool | None = None) -> Outcome:
    """The line is printed as FAILED."""
    return Outcome(False, hint, name, details, blocking)


Probe = Callable[["CheckContext"], Outcome | None]
"""Returns what it found, or None: nothing is printed."""


def everywhere(config: ServerConfig) -> bool:
    """The check applies to every server."""
    return True


def on_active_nodes(config: ServerConfig) -> bool:
    """The check needs the PostgreSQL server: active servers that are not passive nodes."""
    return bool(config.active) and not config.passive_node


def on_passive_nodes(config: ServerConfig) -> bool:
    """The check is about copying from another Barman: active servers that are passive nodes."""
    return bool(config.active) and bool(config.passive_node)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `check`: its name, whom it applies to, whether its failure keeps `backup` from starting."""

    name: str
    probe: Probe
    applies: Callable[[ServerConfig], bool] = everywhere
    blocking: bool = True


def check(
    name: str, *, applies: Callable[[ServerConfig], bool] = everywhere, blocking: bool = True
) -> Callable[[Probe], Check]:
    """Declare the decorated probe as the check `name`; `barman.check.checks` lists the order."""

    def declare(probe: Probe) -> Check:
        return Check(name, probe, applies, blocking)

    return declare


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the report."""

    name: str
    ok: bool
    hint: str = ""
    details: tuple[str, ...] = ()
    blocking: bool = True


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All lines of one server, in order, with the sizes that Nagios graphs."""

    server_name: str
    active: bool = True
    disabled: bool = False
    results: tuple[CheckResult, ...] = ()
    last_backup_size: int = 0
    wals_size: int = 0

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """Every failed line."""
        return tuple(result for result in self.results if not result.ok)

    @property
    def blocking_failures(self) -> tuple[CheckResult, ...]:
        """The failed lines that keep `backup` from starting."""
        return tuple(result for result in self.failures if result.blocking)

    @property
    def healthy(self) -> bool:
        """Whether every line is OK."""
        return not self.failures

    @property
    def alarms(self) -> bool:
        """Whether the exit code has to say so: an inactive server never alarms anybody."""
        return self.active and bool(self.failures)


def result_of(declaration: Check, outcome: Outcome) -> CheckResult:
    """The line for what the probe of `declaration` found."""
    blocking = declaration.blocking if outcome.blocking is None else outcome.blocking
    return CheckResult(outcome.name or declaration.name, outcome.ok, outcome.hint, outcome.details, blocking)
