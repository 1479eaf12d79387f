"""What `status` and `show-backup` say of recovery windows, in one line. Pure."""

from __future__ import annotations

from barman.timestamps import format_ctime
from barman.typing import TYPE_CHECKING
from barman.units import format_age

if TYPE_CHECKING:
    from datetime import datetime

    from barman.wal.recovery_window import Reach, RecoveryWindows


def describe_windows(result: RecoveryWindows) -> str:
    """The newest window of the current line in one line, for `status`."""
    line, window = result.current, result.latest
    if line is None or window is None:
        return "none: no backup can be restored" if line else "none: there is no backup"
    text = f"from {local_time(window.earliest)} to {local_time(window.newest)}"
    if result.behind is not None:
        text += f" ({format_age(result.behind)} ago)"
    if line.gaps:
        text += f", {_count(sum(gap.count for gap in line.gaps), 'WAL segment')} missing"
        text += f": see 'barman recovery-window {result.server_name}'"
    return text


def describe_reach(reach: Reach) -> str:
    """How far one backup can be recovered, in one line, for `show-backup`."""
    if reach.until is None:
        return f"not restorable: {reach.reason}"
    return f"{local_time(reach.until_time)} ({reach.until.name}, LSN {reach.until_lsn})"


def local_time(moment: datetime | None) -> str:
    """A moment in the local zone."""
    # Backups remember a zone of their own, files have none: the reader's is the one that compares.
    return format_ctime(moment.astimezone()) if moment else "an unknown moment"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
