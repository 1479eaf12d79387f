"""What `status` says of a passive node: how far it has followed its primary."""

from __future__ import annotations

from datetime import datetime, timezone

from barman import clock
from barman.status.recovery import local_time
from barman.typing import TYPE_CHECKING
from barman.units import format_age, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.sync.standing import SyncStanding

_LISTED = 3


def describe_standing(standing: SyncStanding) -> Iterator[tuple[str, str, str]]:
    """Key, description and message of each line."""
    yield (
        "sync_last_answer",
        "Last answer of the primary",
        _moment(standing.answered_at) or "none yet: run 'barman cron'",
    )
    yield "sync_wals", "WAL of the primary", _wals(standing)
    yield "sync_backups", "Backups of the primary", _backups(standing)
    if standing.error or standing.problem:
        at = f" at {_moment(standing.error_at)}" if standing.error and standing.error_at is not None else ""
        yield "sync_error", "Last failure of the synchronisation", f"{standing.error or standing.problem}{at}"


def _moment(moment: float | None) -> str:
    if moment is None:
        return ""
    age = format_age(max(0.0, clock.timestamp() - moment))
    return f"{local_time(datetime.fromtimestamp(moment, timezone.utc))} ({age} ago)"


def _wals(standing: SyncStanding) -> str:
    if standing.missing_wals is None:
        return "unknown"
    text = "all here as of its last answer"
    if standing.missing_wals:
        text = f"{standing.missing_wals} files to copy ({format_size(standing.missing_bytes or 0)})"
        if standing.behind_seconds:
            text += f", {format_age(standing.behind_seconds)} behind"
    if standing.copying_wals:
        text += ", being copied now"
    return f"{text}; last copied {_moment(standing.wals_at)}" if standing.wals_at is not None else text


def _backups(standing: SyncStanding) -> str:
    missing = standing.missing_backups
    if missing is None:
        return "unknown"
    text = "all here as of its last answer"
    if missing:
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        text = f"to copy: {', '.join(missing[:_LISTED])}{more}"
    if standing.conflicts:
        text += f"; {len(standing.conflicts)} cannot be copied: {standing.conflicts[0]}"
    if standing.copying:
        text += f"; {', '.join(standing.copying)} being copied now"
    return text
