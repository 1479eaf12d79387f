"""Run the checks of one server in their order, within a deadline."""

from __future__ import annotations

import threading

from barman.check.check import TIMEOUT_NAME, Check, CheckReport, CheckResult, result_of
from barman.check.context import CheckContext
from barman.clock import Deadline
from barman.errors import BarmanError
from barman.logs import Log
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.server.server import Server

_LOG = Log(__name__)


def run_checks(server: Server, deadline: Deadline | None = None, checks: Sequence[Check] | None = None) -> CheckReport:
    """Every line of `check` for `server`; a probe that raises becomes a failed line naming the cause.

    The probes run on a thread with connections of their own, so that one that hangs in libpq, in a dead mount or in
    a child program cannot outlive the deadline: what is done by then is reported, followed by `check timeout`.
    Nothing that the thread does needs undoing. `deadline` defaults to `check_timeout` (0: no limit).
    """
    if checks is None:
        from barman.check.checks import ALL_CHECKS

        checks = ALL_CHECKS
    deadline = deadline or Deadline(server.config.check_timeout or None)
    run = _Run(server, deadline, [declaration for declaration in checks if declaration.applies(server.config)])
    thread = threading.Thread(target=run, name=f"check-{server.name}", daemon=True)
    thread.start()
    thread.join(deadline.remaining())
    return run.report()


class _Run:
    """The work of the thread, and what of it is done."""

    def __init__(self, server: Server, deadline: Deadline, checks: Sequence[Check]) -> None:
        self._config = server.config
        self._deadline = deadline
        self._checks = checks
        self._results: list[CheckResult] = []
        self._sizes = (0, 0)
        self._complete = False
        self._failure: BaseException | None = None

    def __call__(self) -> None:
        context = CheckContext(self._config, self._deadline)
        try:
            for declaration in self._checks:
                if self._deadline.expired:
                    return
                result = _judge(declaration, context)
                if result is not None:
                    self._results.append(result)
            self._complete = True
            self._sizes = (context.last_backup_size, context.wals_size)
        except BaseException as error:  # noqa: BLE001  raised again by report(), in the thread of the caller
            self._failure = error
        finally:
            context.close()

    def report(self) -> CheckReport:
        """What is done by now."""
        if self._failure is not None:
            raise self._failure
        complete = self._complete
        results = list(self._results)
        if not complete:
            results.append(CheckResult(TIMEOUT_NAME, False, "barman check command timed out"))
        for result in results:
            if not result.ok:
                _LOG.error("check '%s' failed for server '%s' (%s)", result.name, self._config.name, result.hint)
        size, wals = self._sizes
        config = self._config
        return CheckReport(config.name, bool(config.active), bool(config.disabled), tuple(results), size, wals)


def _judge(declaration: Check, context: CheckContext) -> CheckResult | None:
    """One line; the boundary at which the failure of one check leaves the others alone."""
    try:
        outcome = declaration.probe(context)
    except BarmanError as error:
        hint = f"{error.message}. {error.hint}" if error.hint else error.message
        return CheckResult(declaration.name, False, hint, (), declaration.blocking)
    except Exception as error:  # noqa: BLE001  one of the three boundaries of the architecture: one check
        _LOG.exception("check '%s' of server '%s' broke off", declaration.name, context.config.name)
        return CheckResult(declaration.name, False, f"{type(error).__name__}: {error}", (), declaration.blocking)
    return None if outcome is None else result_of(declaration, outcome)
