"""`check --nagios`: the plugin output (cli reference, section 4; shapes parsed by aggregators: clients reference)."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.check.check import CheckReport

CRITICAL = 2
"""Exit code of a plugin that found something critical."""

_GLOBAL = "BARMAN CRITICAL - Global configuration errors"


def nagios_lines(reports: Sequence[CheckReport], *, broken: bool = False) -> tuple[list[str], int]:
    """The lines to print and the exit code.

    `broken`: something failed before checks could run. Reports found by then are still judged: a failed check is the
    better message.
    """
    failures = any(report.failures for report in reports)
    if failures and (broken or any(report.alarms for report in reports)):
        return _critical(reports), CRITICAL
    if broken:
        return [_GLOBAL], CRITICAL
    ignored = "".join(f" * IGNORING: {report.server_name}" for report in reports if report.failures)
    good = [report.server_name for report in reports if not report.failures]
    return ["BARMAN OK - " + _praise(good) + ignored + (_performance(reports) if good else "")], 0


def _praise(names: Sequence[str]) -> str:
    if not names:
        return "No server configured"
    if len(names) == 1:
        return f"Ready to serve the Espresso backup for {names[0]}"
    return f"Ready to serve the Espresso backup for {len(names)} servers" + "".join(f" * {name}" for name in names)


def _critical(reports: Sequence[CheckReport]) -> list[str]:
    failing = [report for report in reports if report.failures]
    if len(reports) == 1:
        head = f"BARMAN CRITICAL - server {reports[0].server_name} has issues"
    else:
        head = f"BARMAN CRITICAL - {len(failing)} server out of {len(reports)} have issues"
    for report in failing:
        head += f" * {report.server_name} FAILED: " + ", ".join(result.name for result in report.failures)
    lines = [head + _performance(reports)]
    for report in failing:
        for result in report.failures:
            hint = f" ({result.hint})" if result.hint else ""
            lines.append(f"{report.server_name}.{result.name}: FAILED{hint}")
    return lines


def _performance(reports: Sequence[CheckReport]) -> str:
    """Sizes of the newest backup and of the WAL after it."""
    return "|" + " ".join(
        f"{report.server_name}={report.last_backup_size}B {report.server_name}_wals={report.wals_size}B"
        for report in reports
    )
