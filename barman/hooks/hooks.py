"""The hook scripts of one server: run in their order, retried, and obeyed."""

from __future__ import annotations

import os

from barman.clock import Deadline
from barman.errors import HookAborted
from barman.hooks.points import AFTER, BEFORE, FORBID, GIVE_UP, Script, has_scripts, scripts_at
from barman.logs import Log
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.config.server_config import ServerConfig
    from barman.hooks.script import Ended
    from barman.report import Reporter
    from barman.server.server import Server

_LOG = Log(__name__)


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds between the attempts of a retry script; every `every`-th failure in a row is followed by a long pause."""

    short: float = 3.0
    long: float = 60.0
    every: int = 6

    def after(self, failures: int) -> float:
        """Return how long to wait after so many failures."""
        return self.long if failures % self.every == 0 else self.short


class Hooks:
    """Runs the scripts of one server; without a script every method returns at once.

    The exit status of a command never depends on a script, but for one that forbids: troubles are warnings, once for
    each option, and every one of them is in the log.
    """

    def __init__(self, server: Server, reporter: Reporter, pauses: Pauses = Pauses()) -> None:  # noqa: B008  a frozen value
        self._server = server
        self._reporter = reporter
        self._pauses = pauses
        self._reported: set[str] = set()

    @property
    def config(self) -> ServerConfig:
        """Return the configuration that names the scripts."""
        return self._server.config

    def present(self, point: str) -> bool:
        """Tell whether there is any script at this point, so that its variables are worth finding out."""
        return has_scripts(self.config, point)

    def before(self, point: str, variables: Mapping[str, str]) -> None:
        """Run the scripts before an operation. Raises HookAborted when a retry script forbids it.

        A retry script that has not succeeded when its time is over forbids it, too: nothing has happened yet, and
        locks are not held for ever.
        """
        for script in scripts_at(self.config, point, BEFORE):
            environment = self._environment(script, variables)
            if script.is_retry:
                self._retry_before(script, environment)
            else:
                self._run(script, environment, _limit(script))

    def after(self, point: str, variables: Mapping[str, str]) -> None:
        """Run the scripts after an operation. A retry script is repeated until it succeeds or gives up.

        What has happened cannot be forbidden, and an operator who asks for retries wants them: each attempt has a time
        limit, their number has none.
        """
        for script in scripts_at(self.config, point, AFTER):
            environment = self._environment(script, variables)
            if script.is_retry:
                self._retry_after(script, environment)
            else:
                self._run(script, environment, _limit(script))

    def _environment(self, script: Script, variables: Mapping[str, str]) -> dict[str, str]:
        from barman.hooks.environment import environment_of

        return environment_of(script, self.config, variables, self._server.environment or os.environ)

    def _retry_before(self, script: Script, environment: Mapping[str, str]) -> None:
        from barman.hooks.script import pause

        deadline = _limit(script)
        failures = 0
        while True:
            ended = self._run(script, environment, deadline)
            if ended.code in (0, GIVE_UP):
                return
            if ended.code == FORBID:
                raise _abortion(script, f"exit code: {FORBID}")
            failures += 1
            pause(self._pauses.after(failures), deadline)
            if deadline.expired:
                raise _abortion(script, f"not done within {script.seconds} seconds")

    def _retry_after(self, script: Script, environment: Mapping[str, str]) -> None:
        from barman.hooks.script import pause

        failures = 0
        while self._run(script, environment, _limit(script)).code not in (0, GIVE_UP, FORBID):
            failures += 1
            pause(self._pauses.after(failures), Deadline(None))

    def _run(self, script: Script, environment: Mapping[str, str], deadline: Deadline) -> Ended:
        # Only now: a server without scripts does not pay for what starts programs.
        from barman.hooks.script import describe, run_once

        ended = run_once(script, environment, deadline)
        # What forbids the operation is told by the error that ends it.
        if ended.code != 0 and not (ended.code == FORBID and script.is_retry and script.phase == BEFORE):
            self._warn(script, f"{_meaning(script, ended.code)}: {ended.reason} ({describe(script)})")
        return ended

    def _warn(self, script: Script, text: str) -> None:
        message = f"hook script {script.option} of server {self.config.name} {text}"
        if script.option in self._reported:
            _LOG.warning("%s", message)
            return
        self._reported.add(script.option)
        self._reporter.warning(message)


def _meaning(script: Script, code: int | None) -> str:
    if script.is_retry and code == GIVE_UP:
        return "gives up"
    if script.is_retry and code == FORBID:
        return "forbids what has happened already, which is ignored"
    return "failed and is tried again" if script.is_retry else "failed"


def _limit(script: Script) -> Deadline:
    return Deadline(script.seconds or None)


def _abortion(script: Script, why: str) -> HookAborted:
    from barman.hooks.script import describe

    return HookAborted(
        f"Abort '{script.option}' retry hook script ({describe(script)}, {why})",
        hint="The output of the script is in the log.",
    )
