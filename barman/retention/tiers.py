"""Tiers of a long-term archive: the grammar of `retention_tiers`, and which backups they want. Pure.

A tier `12 MONTHLY` wants the last backup of each of the twelve newest months that have one. Months without a backup do
not count: when backups stop, nothing expires. A backup belongs to the day that its id names, so that the answer depends
neither on the clock nor on the time zone; weeks are those of ISO 8601.
"""

from __future__ import annotations

import re
from datetime import date

from barman.catalog.backup_info import BackupStatus
from barman.errors import ConfigError
from barman.typing import TYPE_CHECKING, Final
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from barman.catalog.backup_id import BackupId
    from barman.catalog.view import CatalogView

DAILY: Final = "DAILY"
WEEKLY: Final = "WEEKLY"
MONTHLY: Final = "MONTHLY"
YEARLY: Final = "YEARLY"
_PERIODS: Final = (DAILY, WEEKLY, MONTHLY, YEARLY)
_SEPARATOR = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class Tier:
    """Keep the last backup of each of the newest `count` periods; `period` is DAILY, WEEKLY, MONTHLY or YEARLY."""

    count: int
    period: str

    def __str__(self) -> str:
        return f"{self.count} {self.period}"


def parse_tiers(text: str) -> tuple[Tier, ...]:
    """The tiers that the text states, shortest period first; their texts joined by ", " are canonical.

    Raises ConfigError.
    """
    words = _SEPARATOR.split(text.strip(" \t,").upper())
    tiers: dict[str, Tier] = {}
    for count, period in zip(words[::2], [*words[1::2], ""], strict=False):
        if not (count.isascii() and count.isdigit() and len(count) <= 9 and int(count)) or period not in _PERIODS:
            raise _no_tiers(text, f"'{f'{count} {period}'.strip()}' is none")
        if period in tiers:
            raise _no_tiers(text, f"{period} is there twice")
        tiers[period] = Tier(int(count), period)
    return tuple(tiers[period] for period in _PERIODS if period in tiers)


def _no_tiers(text: str, reason: str) -> ConfigError:
    return ConfigError(
        f"cannot parse retention tiers '{text}': {reason}",
        hint="write n DAILY, n WEEKLY, n MONTHLY, n YEARLY, or some of them, with n greater than 0",
    )


def wanted(view: CatalogView, tiers: Sequence[Tier]) -> dict[BackupId, str]:
    """The backups that the tiers want, with the reason.

    Only backups that can be restored alone are looked at; what depends on one of them is wanted with it.
    """
    if not tiers:
        return {}
    candidates = [
        backup_id
        for backup_id in sorted(view.backups, reverse=True)
        if view.backups[backup_id].status == BackupStatus.DONE
        and view.backups[backup_id].parent_backup_id is None
        and backup_id not in view.unrestorable
        and backup_id not in view.deleting
        and _day(backup_id) is not None
    ]
    found: dict[BackupId, str] = {}
    for tier in tiers:
        for period, backup_id in _newest_periods(candidates, tier).items():
            reason = f"the last backup of {period} ({tier})"
            found[backup_id] = f"{found[backup_id]}, {reason}" if backup_id in found else reason
    return found


def _newest_periods(newest_first: Iterable[BackupId], tier: Tier) -> Mapping[str, BackupId]:
    last_of: dict[str, BackupId] = {}
    for backup_id in newest_first:
        period = _period_of(backup_id, tier.period)
        if period not in last_of:
            if len(last_of) == tier.count:
                break
            last_of[period] = backup_id
    return last_of


def _period_of(backup_id: str, period: str) -> str:
    day = _day(backup_id)
    assert day is not None
    if period == WEEKLY:
        year, week, _ = day.isocalendar()
        return f"week {year}-W{week:02}"
    return {DAILY: day.isoformat(), MONTHLY: f"{day:%Y-%m}", YEARLY: f"{day:%Y}"}[period]


def _day(backup_id: str) -> date | None:
    """The day of an id; None for one that somebody invented."""
    try:
        return date(int(backup_id[:4]), int(backup_id[4:6]), int(backup_id[6:8]))
    except ValueError:
        return None
