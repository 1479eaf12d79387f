"""Where a recovery ends: one of time, xid, lsn, name, immediate, or the end of the WAL; and on which timeline. Pure."""

from __future__ import annotations

from barman.errors import RestoreRefused
from barman.postgres.lsn import Lsn
from barman.timestamps import has_zone, parse_timestamp
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from datetime import datetime

    from barman.restore.request import RestoreRequest

_FIRST_NORMAL_XID = 3
_LONGEST_NAME = 63
_LAST_TIMELINE = 0xFFFFFFFF
TIMELINE_WORDS = ("current", "latest")


@dataclass(frozen=True, slots=True)
class RecoveryTarget:
    """A target that can be meant.

    `kind` is time, xid, lsn, name, immediate, or "" for the end of the WAL; `value` is the text for the settings;
    `timeline` is as given: a number, `current`, `latest`, or None.
    """

    kind: str = ""
    value: str = ""
    time: datetime | None = None
    lsn: Lsn | None = None
    timeline: int | str | None = None
    exclusive: bool = False
    action: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def is_point_in_time(self) -> bool:
        """Tell whether recovery must be steered: a target, or a timeline alone."""
        return bool(self.kind) or self.timeline is not None

    def describe(self, timeline: int) -> str:
        """Return `time: 'T', timeline: '2'` in the original's order; `timeline` is what a given word means."""
        shown = f"{self.kind}: True" if self.kind == "immediate" else f"{self.kind}: '{self.value}'"
        parts = [shown] if self.kind in ("time", "xid", "lsn") else []
        if self.timeline is not None:
            parts.append(f"timeline: '{timeline}'")
        if self.kind in ("name", "immediate"):
            parts.append(shown)
        return ", ".join(parts)


def parse_target(request: RestoreRequest) -> RecoveryTarget:
    """Return the target of a request. Raises RestoreRefused with everything that is wrong with it."""
    given = {
        "time": request.target_time,
        "xid": request.target_xid,
        "lsn": request.target_lsn,
        "name": request.target_name,
        "immediate": "immediate" if request.target_immediate else None,
    }
    kinds = [kind for kind, text in given.items() if text is not None]
    if len(kinds) > 1:
        raise RestoreRefused(["You cannot specify multiple targets for the recovery operation"])
    refusals: list[str] = []
    kind = kinds[0] if kinds else ""
    text = (given[kind] or "") if kind else ""
    parsed = _Parsed(text.strip() if kind != "name" else text)
    try:
        _PARSERS[kind](parsed)
    except ValueError as error:
        refusals.append(str(error))
    timeline = _timeline(request.target_tli, refusals)
    if request.target_action and not kind and timeline is None:
        refusals.append("Can't enable recovery target action when PITR is not required")
    if refusals:
        raise RestoreRefused(refusals)
    warnings = list(parsed.warnings)
    if request.exclusive and kind not in ("time", "xid", "lsn"):
        warnings.append("--exclusive has no effect without a target time, xid or lsn")
    return RecoveryTarget(
        kind=kind,
        value=parsed.value,
        time=parsed.time,
        lsn=parsed.lsn,
        timeline=timeline,
        exclusive=request.exclusive and kind in ("time", "xid", "lsn"),
        action=request.target_action or "",
        warnings=tuple(warnings),
    )


class _Parsed:
    def __init__(self, value: str) -> None:
        self.value = value
        self.time: datetime | None = None
        self.lsn: Lsn | None = None
        self.warnings: list[str] = []


def _parse_time(parsed: _Parsed) -> None:
    text = parsed.value
    try:
        parsed.time = parse_timestamp(text)
        zoned = has_zone(text)
    except ValueError as error:
        raise ValueError(f"Unable to parse the target time parameter '{text}': {error}") from None
    parsed.value = str(parsed.time)
    if not zoned:
        parsed.warnings.append(
            "No time zone has been specified through '--target-time' command-line option. "
            "Barman assumed the same time zone from the Barman host."
        )


def _parse_xid(parsed: _Parsed) -> None:
    text = parsed.value
    if not (text.isascii() and text.isdigit() and _FIRST_NORMAL_XID <= int(text) < 1 << 64):
        raise ValueError(f"'{text}' is not a transaction id: expected a number of {_FIRST_NORMAL_XID} or more")
    parsed.value = str(int(text))


def _parse_lsn(parsed: _Parsed) -> None:
    try:
        parsed.lsn = Lsn.parse(parsed.value)
    except ValueError:
        raise ValueError(f"'{parsed.value}' is not a log sequence number: expected one such as 0/3000028") from None


def _parse_name(parsed: _Parsed) -> None:
    name = parsed.value
    if not name or len(name.encode("utf-8", "surrogateescape")) > _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"{name!r} cannot be the name of a restore point: 1 to {_LONGEST_NAME} bytes of text")


def _parse_nothing(_: _Parsed) -> None:
    """Accept `immediate` and no target: they have no value."""


_PARSERS = {
    "": _parse_nothing,
    "time": _parse_time,
    "xid": _parse_xid,
    "lsn": _parse_lsn,
    "name": _parse_name,
    "immediate": _parse_nothing,
}


def _timeline(text: str | None, refusals: list[str]) -> int | str | None:
    if text is None or text in TIMELINE_WORDS:
        return text
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _LAST_TIMELINE:
        return int(text)
    refusals.append(f"'{text}' is not a timeline: expected a positive number, 'current' or 'latest'")
    return None
