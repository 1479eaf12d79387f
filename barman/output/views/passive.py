"""What programs read of a passive node beside the lines of `status`: numbers."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barman.sync.standing import SyncStanding


def standing_objects(standing: SyncStanding) -> dict[str, dict[str, Any]]:
    """More members of the objects of the lines; times are seconds of the epoch, null is what is not known."""
    return {
        "sync_last_answer": {"timestamp": standing.answered_at},
        "sync_wals": {
            "timestamp": standing.wals_at,
            "missing": standing.missing_wals,
            "missing_bytes": standing.missing_bytes,
            "behind_seconds": standing.behind_seconds,
        },
        "sync_backups": {
            "timestamp": standing.backup_at,
            "missing": None if standing.missing_backups is None else list(standing.missing_backups),
            "copying": list(standing.copying),
        },
    }
