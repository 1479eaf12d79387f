"""Passive nodes: is the primary followed, and did a time as an active node leave anything behind?

Everything but the line `ssh` is told by what lies on this disk. The lines are printed only when they fail.
"""

from __future__ import annotations

import os

from barman import clock
from barman.check.check import Outcome, check, failed, on_passive_nodes
from barman.postgres.wal_name import is_segment_name
from barman.typing import TYPE_CHECKING, Final
from barman.units import format_age, format_size

if TYPE_CHECKING:
    from barman.check.context import CheckContext

PATIENCE_SECONDS: Final = 600.0
"""How long the primary may be silent, or a copy be due: ten runs of cron."""

_PARTIAL: Final = ".partial"


@check("primary node", applies=on_passive_nodes, blocking=False)
def primary_node(context: CheckContext) -> Outcome | None:
    """The primary was asked a short while ago, and its answer can be read."""
    standing, name = context.standing, context.config.name
    if standing.is_new:
        return failed(
            f"the primary was not asked yet: run 'barman cron'; 'barman sync-info --primary {name}' shows its answer"
        )
    if standing.problem:
        return failed(f"{standing.problem}: run 'barman sync-info --primary {name}'")
    if standing.answered_at is not None and abs(clock.timestamp() - standing.answered_at) < PATIENCE_SECONDS:
        return None
    since = f"since {_age(standing.answered_at)}" if standing.answered_at is not None else "until now"
    reason = f" ({standing.error})" if standing.error else ", and nobody asked: does cron run 'barman cron'?"
    return failed(f"the primary has not answered {since}{reason}")


@check("WAL synchronisation", applies=on_passive_nodes, blocking=False)
def wal_synchronisation(context: CheckContext) -> Outcome | None:
    """WAL that the primary has is here, or was due a short while ago, or is being copied."""
    standing = context.standing
    if not standing.missing_wals or standing.copying_wals:
        return None
    if not _is_late(standing.wals_due_at, standing.wals_at, standing.backup_at):
        return None
    amount = f"{standing.missing_wals} WAL files ({format_size(standing.missing_bytes or 0)})"
    if standing.first_missing:
        amount += f" from {standing.first_missing}"
    behind = f", {format_age(standing.behind_seconds)} of changes" if standing.behind_seconds else ""
    last = f"the last copy succeeded {_age(standing.wals_at)} ago" if standing.wals_at else "none was copied yet"
    return failed(
        f"{amount}{behind} of the primary are not here, {last}{_reason(context)}: "
        f"run 'barman sync-wals {context.config.name}'"
    )


@check("backup synchronisation", applies=on_passive_nodes, blocking=False)
def backup_synchronisation(context: CheckContext) -> Outcome | None:
    """Backups that the primary has are here, or are being copied; no two backups have one id."""
    standing, name = context.standing, context.config.name
    if standing.conflicts:
        more = f", and {len(standing.conflicts) - 1} more" if len(standing.conflicts) > 1 else ""
        return failed(f"{standing.conflicts[0]}{more}")
    missing = standing.missing_backups
    if not missing or standing.copying or not _is_late(standing.backups_due_at, standing.backup_at):
        return None
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return failed(
        f"backup {missing[0]}{more} of the primary is not here, and nobody copies it{_reason(context)}: "
        f"run 'barman sync-backup {name} {missing[0]}'"
    )


@check("left-over WAL", applies=on_passive_nodes, blocking=False)
def left_over_wal(context: CheckContext) -> Outcome | None:
    """Nothing of a time as an active node waits for an archiver, which a passive node has not."""
    config, name = context.config, context.config.name
    found = []
    for directory, archives in (
        (config.incoming_wals_directory, config.archiver),
        (config.streaming_wals_directory, config.streaming_archiver),
    ):
        waiting = [entry for entry in _listing(directory) if _waits(entry, context, archives=archives)]
        if waiting:
            found.append(f"{len(waiting)} files in '{directory}', first {waiting[0]}")
    if context.catalog.locks.is_held("receive-wal"):
        found.append("a receiver that runs ('barman cron' ends it)")
    if not found:
        return None
    return failed(
        f"{' and '.join(found)}: a passive node archives nothing. If the primary has this WAL, remove the files; "
        f"if not, make {name} active (no primary_ssh_command) and run 'barman archive-wal {name}'"
    )


def _waits(entry: str, context: CheckContext, *, archives: bool) -> bool:
    """Whether a file may hold WAL that is nowhere else and that no other line tells of.

    Complete files are told by the line of their directory while its archiver is switched off.
    """
    if entry.endswith(_PARTIAL):
        segment = entry[: -len(_PARTIAL)]
        return is_segment_name(segment) and not context.catalog.wals.exists(segment)
    return archives and is_segment_name(entry) and not context.catalog.wals.exists(entry)


def _is_late(due: float | None, *done: float | None) -> bool:
    """Whether a copy is overdue: what is missing is not new, and nothing was copied for a while.

    A single failure is no alarm; what fails for ten runs of cron is. The future excuses nothing: a clock that is wrong,
    here or on the primary, must not keep the line quiet.
    """
    now = clock.timestamp()
    since = [moment for moment in (due, *done) if moment is not None and moment <= now]
    return now - max(since, default=0.0) >= PATIENCE_SECONDS


def _reason(context: CheckContext) -> str:
    standing = context.standing
    if not standing.error:
        return ""
    ago = f" {_age(standing.error_at)} ago" if standing.error_at is not None else ""
    return f"; the last failure{ago} was: {standing.error.rstrip('.')}"


def _age(moment: float | None) -> str:
    return format_age(max(0.0, clock.timestamp() - moment)) if moment is not None else "some time"


def _listing(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
