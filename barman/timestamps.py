"""Timestamps as text: PostgreSQL's and ISO forms parsed fast; dateutil is imported only when that fails."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_ISO = re.compile(
    r"\s*(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6})\d*)?\s*"
    r"(Z|UTC|GMT|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?\s*\Z"
)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parse_timestamp(text: str) -> datetime:
    """Return an aware datetime; text without a zone is in the local one. Raises ValueError."""
    match = _ISO.match(text)
    if match is None:
        return _parse_free(text)
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    micro = int(fraction.ljust(6, "0")) if fraction else 0
    value = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), micro)
    if zone is None:
        return value.astimezone()
    return value.replace(tzinfo=_zone(zone))


def has_zone(text: str) -> bool:
    """Tell whether the text itself names a time zone. Raises ValueError when it is no timestamp."""
    match = _ISO.match(text)
    if match is not None:
        return match.group(8) is not None
    return _free(text).tzinfo is not None


def _zone(text: str) -> timezone:
    if text in ("Z", "UTC", "GMT"):
        return timezone.utc
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[0:2]), minutes=int(digits[2:4] or 0), seconds=int(digits[4:6] or 0))
    return timezone(-offset if text[0] == "-" else offset)


def _free(text: str) -> datetime:
    from dateutil import parser

    try:
        value: datetime = parser.parse(text)
    except (ValueError, OverflowError, TypeError) as error:
        raise ValueError(f"'{text}' is not a timestamp") from error
    return value


def _parse_free(text: str) -> datetime:
    value = _free(text)
    return value.astimezone() if value.tzinfo is None else value


def format_timestamp(moment: datetime) -> str:
    """Return `2026-11-22 05:10:37.657870+00:00`; the fraction is left out when it is zero."""
    return str(moment)


def format_ctime(moment: datetime) -> str:
    """Return `Sun Nov  1 05:10:39 2026` in the moment's own zone; never translated."""
    return (
        f"{_DAYS[moment.weekday()]} {_MONTHS[moment.month - 1]} {moment.day:2d} "
        f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d} {moment.year}"
    )


def format_epoch(moment: datetime) -> str:
    """Return the whole seconds since the epoch, as text."""
    return str(int(moment.timestamp()))
