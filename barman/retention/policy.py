"""The grammar of `retention_policy`. Pure."""

import re
from datetime import datetime, timedelta

from barman.errors import ConfigError
from barman.typing import Final
from barman.values import dataclass

_REDUNDANCY = re.compile(r"\s*REDUNDANCY\s+(\d{1,18})\s*", re.IGNORECASE | re.ASCII)
_WINDOW = re.compile(r"\s*RECOVERY\s+WINDOW\s+OF\s+(\d{1,18})\s+(DAY|WEEK|MONTH)S?\s*", re.IGNORECASE | re.ASCII)
_DAYS: Final = {"DAY": 1, "WEEK": 7, "MONTH": 31}


@dataclass(frozen=True, slots=True)
class Redundancy:
    """Keep the newest `count` backups."""

    count: int

    def __str__(self) -> str:
        return f"REDUNDANCY {self.count}"


@dataclass(frozen=True, slots=True)
class RecoveryWindow:
    """Keep what is needed to recover to any moment of the last `count` units; `unit` is DAY, WEEK or MONTH."""

    count: int
    unit: str

    def __str__(self) -> str:
        return f"RECOVERY WINDOW OF {self.count} {self.unit}S"

    def starts(self, now: datetime) -> datetime | None:
        """The first moment of the window; None when that lies before all dates."""
        try:
            return now - timedelta(days=self.count * _DAYS[self.unit])
        except OverflowError:
            return None


RetentionPolicy = Redundancy | RecoveryWindow


def parse(text: str) -> RetentionPolicy:
    """The policy that the text states; its `str` is the canonical text. Raises ConfigError."""
    if match := _REDUNDANCY.fullmatch(text):
        return Redundancy(int(match[1]))
    if match := _WINDOW.fullmatch(text):
        return RecoveryWindow(int(match[1]), match[2].upper())
    raise ConfigError(
        f"cannot parse retention policy '{text}'",
        hint="write REDUNDANCY n, or RECOVERY WINDOW OF n DAYS, WEEKS or MONTHS",
    )
