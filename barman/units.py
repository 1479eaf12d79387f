"""Sizes, durations and percentages: parsed from configuration, formatted for people."""

from __future__ import annotations

import re
from datetime import timedelta

_SIZE_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_SIZE = re.compile(r"\s*(\d+)\s*(k|Ki|M|Mi|G|Gi|T|Ti)?\s*\Z")
_SIZE_FACTORS = {
    None: 1, "k": 10**3, "Ki": 2**10, "M": 10**6, "Mi": 2**20, "G": 10**9, "Gi": 2**30, "T": 10**12, "Ti": 2**40,
}  # fmt: skip
_INTERVAL = re.compile(r"\s*(\d+)\s+(day|month|week|hour)s?\s*\Z", re.IGNORECASE)
_INTERVAL_DAYS = {"day": 1.0, "week": 7.0, "month": 31.0, "hour": 1 / 24}


def format_size(size: int | float) -> str:
    """Return `22.1 MiB`: bytes below 1024, else one decimal with a binary unit; negatives keep their sign."""
    value = float(size)
    if abs(value) < 1024:
        return f"{int(value)} B"
    for unit in _SIZE_UNITS:
        value /= 1024
        if abs(value) < 1024:
            return f"{value:.1f} {unit}"
    return f"{value:.1f} {_SIZE_UNITS[-1]}"


def format_age(age: timedelta | float) -> str:
    """Return the non-zero parts of a duration: `1 minute, 56 seconds`; a negative one ends in ` ago`."""
    seconds = age.total_seconds() if isinstance(age, timedelta) else float(age)
    suffix = " ago" if seconds < 0 else ""
    whole = int(abs(seconds))
    if whole == 0:
        return "less than one second"
    parts = []
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, whole = divmod(whole, length)
        if count:
            parts.append(f"{count} {name}{'s' if count > 1 else ''}")
    return ", ".join(parts) + suffix


def format_percentage(fraction: float) -> str:
    """Return `99.96%`."""
    return f"{fraction * 100:.2f}%"


def parse_size(text: str) -> int:
    """Return the bytes of `N` or `N SUFFIX` (k Ki M Mi G Gi T Ti, case-sensitive). Raises ValueError."""
    match = _SIZE.match(text)
    if not match:
        raise ValueError(
            f"invalid size '{text}': expected a number with an optional suffix k, Ki, M, Mi, G, Gi, T or Ti"
        )
    return int(match.group(1)) * _SIZE_FACTORS[match.group(2)]


def parse_interval(text: str) -> timedelta:
    """Return the length of `N DAY|WEEK|MONTH|HOUR[S]`; a month has 31 days. Raises ValueError."""
    match = _INTERVAL.match(text)
    if not match:
        raise ValueError(f"invalid interval '{text}': expected a number and a unit: hours, days, weeks or months")
    count, unit = int(match.group(1)), match.group(2).lower()
    try:
        return timedelta(hours=count) if unit == "hour" else timedelta(days=count * _INTERVAL_DAYS[unit])
    except OverflowError:
        raise ValueError(f"invalid interval '{text}': too long") from None


def format_interval(interval: timedelta) -> str:
    """Return an interval as people write it: `1 day`, `2 hours`, `3 days, 4 hours`."""
    return format_age(interval)
