"""Which timeline a recovery follows when none, or only a word, is given. Pure.

PostgreSQL 12 and later would follow the highest-numbered timeline it can see, whatever its parent; older versions stay
on the backup's. Neither is asked: the number is chosen here by ancestry and by the target, and written to the settings.
"""

from __future__ import annotations

from barman.restore.wals import WalArchive, descendants, follow
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.catalog.backup_info import BackupInfo
    from barman.postgres.lsn import Lsn
    from barman.postgres.timeline import TimelineHistory
    from barman.postgres.version import PgVersion
    from barman.restore.target import RecoveryTarget


@dataclass(frozen=True, slots=True)
class TimelineChoice:
    """The history to follow, or why there is none; `note` says what the user should know about the choice."""

    history: TimelineHistory | None = None
    refusal: str = ""
    note: str = ""


def choose_timeline(backup: BackupInfo, target: RecoveryTarget, archive: WalArchive) -> TimelineChoice:
    """Return the timeline that leads from a complete backup to its target."""
    if backup.timeline is None or backup.end_xlog is None:
        return TimelineChoice(refusal=f"the record of backup '{backup.backup_id}' lacks its timeline or its end")
    own, end = backup.timeline, backup.end_xlog
    if target.timeline is not None:
        return _given(own, end, target.timeline, archive)
    candidates = descendants(archive, own, end)
    if not candidates:
        return TimelineChoice(refusal=f"the history of timeline {own}, on which the backup lies, is not archived")
    if target.kind == "immediate":
        return TimelineChoice(candidates[0])
    if target.lsn is not None:
        return _by_lsn(backup, target.lsn, candidates, archive)
    if target.time is not None:
        return _by_time(target.time.timestamp(), candidates, archive)
    return _latest(own, candidates)


def _given(own: int, end: Lsn, wanted: int | str, archive: WalArchive) -> TimelineChoice:
    if wanted == "current":
        wanted = own
    elif wanted == "latest":
        wanted = max(archive.histories, default=own)
    number = int(wanted)
    history = archive.histories.get(number)
    if history is None:
        return TimelineChoice(refusal=f"timeline {number} does not exist in the WAL archive")
    if not history.is_ancestor(own):
        return TimelineChoice(refusal=f"timeline {number} is not a descendant of timeline {own}, where the backup lies")
    left = history.end_of(own)
    if left is not None and left < end:
        return TimelineChoice(
            refusal=f"timeline {number} left timeline {own} at {left}, before the backup ended at {end}"
        )
    return TimelineChoice(history)


def _latest(own: int, candidates: list[TimelineHistory]) -> TimelineChoice:
    chosen = candidates[-1]
    note = "" if chosen.timeline == own else f"following timeline {chosen.timeline}, the newest one after the backup"
    return TimelineChoice(chosen, note=note)


def _by_lsn(backup: BackupInfo, lsn: Lsn, candidates: list[TimelineHistory], archive: WalArchive) -> TimelineChoice:
    """Follow the newest timeline on which the position is archived."""
    first = _first_number(backup, archive)
    wanted = lsn.value // archive.segment_size
    reaching = []
    for history in candidates:
        chain = follow(archive, history, first, wanted)
        if not chain.holes:
            reaching.append(history)
    if not reaching:
        return _latest(candidates[0].timeline, candidates)
    owners = sorted({history.owner_of(lsn) for history in reaching})
    chosen = reaching[-1]
    note = ""
    if len(owners) > 1:
        names = ", ".join(str(number) for number in owners)
        note = (
            f"position {lsn} exists on timelines {names}: following timeline {chosen.timeline}; "
            "use --target-tli to follow another one"
        )
    return TimelineChoice(chosen, note=note)


def _first_number(backup: BackupInfo, archive: WalArchive) -> int:
    begin = backup.begin_xlog or backup.end_xlog
    return begin.value // archive.segment_size if begin is not None else 0


def _by_time(moment: float, candidates: list[TimelineHistory], archive: WalArchive) -> TimelineChoice:
    """Follow the timeline that was current at a moment.

    A timeline that was begun after the moment is followed only if it merely continues its parent (a failover): when the
    parent went on by itself (the child came from a point-in-time recovery), the moment lies on the parent.
    """
    own = candidates[0].timeline
    suitable = [history for history in candidates if _holds_moment(history, own, moment, archive)]
    chosen = suitable[-1] if suitable else candidates[0]
    note = ""
    if chosen is not candidates[-1]:
        later = candidates[-1].timeline
        note = (
            f"following timeline {chosen.timeline}: timeline {later} was begun after the target time and does not hold "
            "it; use --target-tli to follow another one"
        )
    elif chosen.timeline != own:
        note = f"following timeline {chosen.timeline}, which was current at the target time or continues it"
    return TimelineChoice(chosen, note=note)


def _holds_moment(history: TimelineHistory, own: int, moment: float, archive: WalArchive) -> bool:
    path = [*history.ancestors, history.timeline]
    for child, switch in zip(path[1:], history.switches, strict=True):
        if switch.parent < own:
            continue
        begun = archive.history_times.get(child)
        if begun is not None and begun > moment and _went_on(switch.parent, switch.lsn, archive):
            return False
    return True


def _went_on(parent: int, left: Lsn, archive: WalArchive) -> bool:
    """Tell whether a timeline has archived WAL of its own after the point where a child left it."""
    newest = archive.newest(parent)
    return newest is not None and (newest + 1) * archive.segment_size > left.value


def written_timeline(
    history: TimelineHistory,
    target: RecoveryTarget,
    archive: WalArchive,
    version: PgVersion,
    own: int,
    *,
    follows: bool,
) -> str:
    """Return `recovery_target_timeline` for the settings; "" when the server's default does the same.

    `own` is the backup's timeline. With `follows` (a standby, or a restore that fetches WAL) nothing is written while
    the server's own default leads to the same timeline, so that it can follow a later switch.
    """
    number = history.timeline
    alike = _server_would_take(archive, own) == number
    if target.timeline == "latest" and alike:
        return "latest"
    if target.timeline is None and follows and alike and not version.has_recovery_conf:
        return ""
    if number == own and (target.timeline == "current" or not _has_file(archive, number)):
        # The server refuses a number whose history file it cannot find; before 12 its default is the backup's timeline.
        return "" if version.has_recovery_conf else "current"
    return str(number)


def _has_file(archive: WalArchive, timeline: int) -> bool:
    return timeline == 1 or timeline in archive.history_times


def _server_would_take(archive: WalArchive, own: int) -> int:
    """Return what `latest` means to a server: it looks for histories one by one and stops at the first gap."""
    number = own
    while number + 1 in archive.histories:
        number += 1
    return number
