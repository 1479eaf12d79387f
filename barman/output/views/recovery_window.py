"""View of `recovery-window`, and what `status` and `show-backup` say of it."""

from __future__ import annotations

from barman.postgres.wal_name import PartialSegment
from barman.status.recovery import local_time
from barman.timestamps import format_epoch, format_timestamp
from barman.typing import TYPE_CHECKING, Any
from barman.units import format_age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from barman.wal.recovery_window import Gap, Line, Reach, RecoveryWindows, Window

    Write = Callable[[str], None]

_MANY = 8
"""More backup ids than this are not listed one by one on a terminal."""


class RecoveryWindowsView:
    """One block a timeline, rows aligned; a window is two rows."""

    @staticmethod
    def console(result: RecoveryWindows, write: Write) -> None:
        """Write the blocks."""
        write(f"Server {result.server_name}:")
        for label, text in _summary(result):
            _row(write, label, text)
        for line in result.lines:
            write("")
            write(f"  Timeline {line.timeline}{' (current)' if line.current and len(result.lines) > 1 else ''}:")
            for label, text in _line_rows(line):
                _row(write, label, text, indent=4)
        for problem in result.problems:
            write("")
            write(f"WARNING: {problem}")

    @staticmethod
    def json(result: RecoveryWindows) -> dict[str, Any]:
        """One object under the name of the server; what is not there is null, and no key ever goes."""
        line = result.current
        found: dict[str, Any] = {
            "now": format_timestamp(result.now),
            "now_timestamp": format_epoch(result.now),
            "current_timeline": line.timeline if line else None,
            **window_object(result),
            "timelines": [_line_object(item) for item in result.lines],
            "problems": list(result.problems),
        }
        return {result.server_name: found}


def window_object(result: RecoveryWindows) -> dict[str, Any]:
    """The newest window of the current line in short; `gaps` are those of that line."""
    line, window, behind = result.current, result.latest, result.behind
    gaps = line.gaps if line else ()
    return {
        "recoverable": window is not None,
        "reaches_end": line is not None and line.reaches_end,
        **_moment("earliest", window.earliest if window else None),
        **_moment("latest", window.latest if window else None),
        "latest_lsn": str(window.latest_lsn) if window else None,
        "latest_wal": window.latest_wal.name if window else None,
        "latest_partial_timestamp": _epoch(window.partial) if window else None,
        "latest_partial_wal": window.partial_wal.name if window and window.partial_wal else None,
        "behind": None if behind is None else format_age(behind),
        "behind_seconds": None if behind is None else round(behind, 3),
        "gaps": len(gaps),
        "missing_wals": sum(gap.count for gap in gaps),
    }


def reach_object(reach: Reach | None) -> dict[str, Any]:
    """The same for programs."""
    gap = reach.stopped_by if reach else None
    return {
        "restorable": reach is not None and reach.restorable,
        "reason": (reach.reason or None) if reach else None,
        **_moment("recoverable_until", reach.until_time if reach else None),
        "recoverable_until_wal": reach.until.name if reach and reach.until else None,
        "recoverable_until_lsn": str(reach.until_lsn) if reach and reach.until_lsn else None,
        "stopped_by": _gap_object(gap) if gap else None,
    }


def _row(write: Write, label: str, text: str, indent: int = 2) -> None:
    write(f"{'':{indent}}{label:<{25 - indent}}: {text}")


def _summary(result: RecoveryWindows) -> Iterable[tuple[str, str]]:
    line, window = result.current, result.latest
    if line is None:
        yield "Recoverable", "no: there is no backup"
        return
    if window is None:
        yield "Recoverable", "no: no backup can be restored along the current timeline"
        return
    yield "Recoverable", f"{local_time(window.earliest)} to {local_time(window.newest)}"
    behind = "unknown" if result.behind is None else f"{format_age(result.behind)} behind now"
    where = f"LSN {window.latest_lsn}"
    if window.partial_wal is not None:
        where = f"in the unfinished segment {PartialSegment(window.partial_wal).name}"
    yield "Newest moment", f"{behind} ({where})"
    if line.gaps and line.gaps[-1].first > window.latest_wal:
        yield "WARNING", f"WAL after the gap at {line.gaps[-1].first.name} cannot be used: take a backup"


def _line_rows(line: Line) -> Iterable[tuple[str, str]]:
    if not line.windows:
        yield "Window", "none"
    for window in line.windows:
        yield "From", f"{local_time(window.earliest)} (LSN {window.earliest_lsn}, {_backups(window)})"
        yield "To", f"{local_time(window.latest)} (LSN {window.latest_lsn}, {window.latest_wal.name})"
    for gap in line.gaps:
        yield "Missing WAL", _describe_gap(gap)
    for reach in line.backups:
        if not reach.restorable:
            yield "Not restorable", f"{reach.backup_id}: {reach.reason}"


def _backups(window: Window) -> str:
    ids = window.backup_ids
    return f"backup {ids[0]}" if len(ids) == 1 else f"{len(ids)} backups, {ids[0]} to {ids[-1]}"


def _describe_gap(gap: Gap) -> str:
    text = str(gap)
    if gap.waiting:
        text += f", {gap.waiting} of them waiting to be archived" if gap.count > 1 else ", waiting to be archived"
    if gap.breaks:
        text += f"; not restorable: {_ids(gap.breaks)}"
    if gap.stops:
        text += f"; cannot go beyond it: {_ids(gap.stops)}"
    return text


def _ids(ids: tuple[str, ...]) -> str:
    if len(ids) > _MANY:
        return f"{len(ids)} backups, {ids[0]} to {ids[-1]}"
    return ", ".join(ids)


def _line_object(line: Line) -> dict[str, Any]:
    return {
        "timeline": line.timeline,
        "current": line.current,
        "reaches_end": line.reaches_end,
        "windows": [_window_object(window) for window in line.windows],
        "gaps": [_gap_object(gap) for gap in line.gaps],
        "backups": [
            {"backup_id": reach.backup_id, "standalone": reach.standalone, **reach_object(reach)}
            for reach in line.backups
        ],
    }


def _window_object(window: Window) -> dict[str, Any]:
    return {
        **_moment("earliest", window.earliest),
        "earliest_lsn": str(window.earliest_lsn),
        **_moment("latest", window.latest),
        "latest_lsn": str(window.latest_lsn),
        "latest_wal": window.latest_wal.name,
        "latest_partial_timestamp": _epoch(window.partial),
        "latest_partial_wal": window.partial_wal.name if window.partial_wal else None,
        "backup_ids": list(window.backup_ids),
    }


def _gap_object(gap: Gap) -> dict[str, Any]:
    return {
        "first": gap.first.name,
        "last": gap.last.name,
        "count": gap.count,
        "waiting": gap.waiting,
        "not_restorable": list(gap.breaks),
        "cannot_go_beyond": list(gap.stops),
    }


def _moment(key: str, moment: datetime | None) -> dict[str, Any]:
    return {key: format_timestamp(moment) if moment else None, f"{key}_timestamp": _epoch(moment)}


def _epoch(moment: datetime | None) -> str | None:
    return format_epoch(moment) if moment else None
