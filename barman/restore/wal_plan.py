"""How far the archived WAL carries a backup towards its target. Pure."""

from __future__ import annotations

from datetime import datetime, timezone

from barman.errors import InvalidWalName
from barman.postgres.wal_name import PartialSegment, WalSegment
from barman.restore.timelines import TimelineChoice, choose_timeline
from barman.restore.wals import Hole, WalChain, follow
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, replace

if TYPE_CHECKING:
    from barman.catalog.backup_info import BackupInfo
    from barman.postgres.timeline import TimelineHistory
    from barman.restore.request import RestoreRequest
    from barman.restore.target import RecoveryTarget
    from barman.restore.wals import WalArchive

ALLOW_OPTION = "--allow-missing-wal"
_CLOCKS_APART_SECONDS = 3600.0
"""How far the clocks of server and backup host may be apart before a target time in the last segment is missed."""
GAP_HINT = f"Put the missing WAL into the archive, choose an earlier target, or add {ALLOW_OPTION} to go on without it."


@dataclass(frozen=True, slots=True)
class WalPlan:
    """The path of a recovery; `refusals` speak against it; with `gap`, `--allow-missing-wal` overrules some."""

    choice: TimelineChoice
    chain: WalChain | None = None
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    gap: bool = False


def plan_wal(
    request: RestoreRequest, backup: BackupInfo, target: RecoveryTarget, archive: WalArchive, now: float
) -> WalPlan:
    """Return the path of a recovery along the timeline that leads to its target."""
    try:
        first, end = _span(backup, archive.segment_size)
    except (InvalidWalName, TypeError):
        reason = f"the record of backup '{backup.backup_id}' has no begin_wal or no end_wal"
        return WalPlan(TimelineChoice(refusal=reason), refusals=(reason,))
    refusals = (*_across_timelines(backup), *_before_end(backup, target))
    choice = choose_timeline(backup, target, archive)
    if choice.history is None:
        return WalPlan(choice, refusals=(*refusals, choice.refusal))
    if _ends_before_partial(target, archive, choice.history, first):
        archive = replace(archive, partials={})
    chain = _chain(target, archive, choice, first, end)
    judge = _Judge(request, backup, target, archive, end)
    for hole in chain.holes[:1]:
        judge.judge_hole(hole, chain)
    if not chain.holes:
        judge.judge_partial(chain)
        judge.judge_end(chain, now)
    notes = [choice.note] if choice.note else []
    return WalPlan(choice, chain, (*refusals, *judge.refusals), (*notes, *judge.warnings), judge.gap)


def _span(backup: BackupInfo, segment_size: int) -> tuple[int, int]:
    begin, end = (WalSegment.parse(name or "").number(segment_size) for name in (backup.begin_wal, backup.end_wal))
    return begin, end


def _across_timelines(backup: BackupInfo) -> tuple[str, ...]:
    begin, end = WalSegment.parse(backup.begin_wal or ""), WalSegment.parse(backup.end_wal or "")
    if begin.timeline == end.timeline:
        return ()
    return (f"backup '{backup.backup_id}' begins on another timeline ({begin.name}) than it ends ({end.name})",)


def _chain(target: RecoveryTarget, archive: WalArchive, choice: TimelineChoice, first: int, end: int) -> WalChain:
    assert choice.history is not None
    if target.kind == "immediate":
        return follow(archive, choice.history, first, end)
    if target.lsn is not None:
        needed = max(end, target.lsn.value // archive.segment_size)
        # Recovery stops at the first record at or after the position: it may begin or end in the segment after it.
        longer = follow(archive, choice.history, first, needed + 1)
        return longer if not longer.holes else follow(archive, choice.history, first, needed)
    chain = follow(archive, choice.history, first)
    if chain.last is None or chain.last.number(archive.segment_size) < end:
        return follow(archive, choice.history, first, end)
    return chain


def _ends_before_partial(target: RecoveryTarget, archive: WalArchive, history: TimelineHistory, first: int) -> bool:
    """Tell whether a target time lies in the whole segments, whatever the clocks of both hosts say."""
    if target.time is None or not archive.partials:
        return False
    whole = follow(replace(archive, partials={}), history, first)
    written = archive.times.get(whole.last) if whole.last is not None and not whole.holes else None
    return written is not None and target.time.timestamp() < written - _CLOCKS_APART_SECONDS


def _before_end(backup: BackupInfo, target: RecoveryTarget) -> tuple[str, ...]:
    if target.time is not None and backup.end_time is not None and target.time < backup.end_time:
        return (f"The requested target time {target.time} is before the backup end time {backup.end_time}",)
    if target.lsn is not None and backup.end_xlog is not None and target.lsn < backup.end_xlog:
        return (f"The requested target LSN {target.lsn} is before the backup end LSN {backup.end_xlog}",)
    return ()


class _Judge:
    """Collects what speaks against a chain."""

    def __init__(
        self, request: RestoreRequest, backup: BackupInfo, target: RecoveryTarget, archive: WalArchive, end: int
    ) -> None:
        self.request = request
        self.backup = backup
        self.target = target
        self.archive = archive
        self.end = end
        self.refusals: list[str] = []
        self.warnings: list[str] = []
        self.gap = False

    def judge_hole(self, hole: Hole, chain: WalChain) -> None:
        """Refuse, or warn, because of the first hole of a chain."""
        size = self.archive.segment_size
        number = hole.first.number(size)
        later = chain.last is not None and chain.last.number(size) > number
        if number > self.end and self._reached_before(hole):
            self.warnings.append(
                f"{hole.describe()} is missing from the archive; the target time lies before it, "
                "and nothing after it is delivered"
            )
            return
        text = self._hole_text(hole, number, chain.last if later else None)
        if self.request.get_wal and not later:
            self.warnings.append(f"{text}: the restored server waits for it")
        elif self.request.allow_missing_wal:
            self.warnings.append(f"{text}; going on as {ALLOW_OPTION} asks: {self._loss(hole, number)}")
        else:
            self.refusals.append(text)
            self.gap = True

    def _reached_before(self, hole: Hole) -> bool:
        """Tell whether the segment before the hole was written after the target time."""
        if self.target.time is None or hole.before is None:
            return False
        written = self.archive.times.get(hole.before)
        return written is not None and written > self.target.time.timestamp()

    def _hole_text(self, hole: Hole, number: int, last: WalSegment | None) -> str:
        """Describe a hole; `last` is the newest segment after it, None if there is none."""
        what = hole.describe()
        later = last is not None
        if number <= self.end:
            return f"{what} is not in the archive: backup '{self.backup.backup_id}' cannot become consistent without it"
        if not later and self.target.lsn is not None:
            return f"{what} is not in the archive: the target LSN {self.target.lsn} cannot be reached"
        if last is not None and self.archive.has_partial(last.number(self.archive.segment_size), last.timeline):
            name = PartialSegment(last).name
            return f"{what} is not in the archive although '{name}' was received: recovery cannot go beyond it"
        return f"{what} is not in the archive although later WAL is: recovery cannot go beyond it"

    def _loss(self, hole: Hole, number: int) -> str:
        if number <= self.end:
            return "PostgreSQL will not reach a consistent state by itself"
        start = hole.first.start(self.archive.segment_size)
        return f"every change from position {start} on is lost"

    def judge_partial(self, chain: WalChain) -> None:
        """Refuse, or warn, when the last segment is unfinished and its records end before what must be reached."""
        end = self.archive.partial_ends.get(chain.partial) if chain.partial is not None else None
        if chain.partial is None or end is None:
            return
        what = f"the records in '{PartialSegment(chain.partial).name}' end at {end}"
        if self.backup.end_xlog is not None and end < self.backup.end_xlog:
            who = f"backup '{self.backup.backup_id}' ended at {self.backup.end_xlog} and cannot become consistent"
            text = f"{what}: {who}"
        elif self.target.lsn is not None and end <= self.target.lsn:
            text = f"{what}: the target LSN {self.target.lsn} cannot be reached"
        else:
            return
        if self.request.get_wal:
            self.warnings.append(f"{text} before more is received")
        elif self.request.allow_missing_wal:
            self.warnings.append(f"{text}; going on as {ALLOW_OPTION} asks")
        else:
            self.refusals.append(text)
            self.gap = True

    def judge_end(self, chain: WalChain, now: float) -> None:
        """Warn when a time lies after everything that is there."""
        if self.target.time is None:
            return
        wanted = self.target.time.timestamp()
        if wanted > now:
            self.warnings.append(
                f"the target time {self.target.time} is in the future: PostgreSQL 13 and later do not finish a "
                "recovery that cannot reach its target"
            )
            return
        written = self.archive.times.get(chain.last) if chain.last is not None else None
        if written is not None and wanted > written and not self.request.get_wal:
            newest = datetime.fromtimestamp(written, tz=timezone.utc)
            self.warnings.append(
                f"the target time {self.target.time} is later than the newest archived WAL ({chain.last}, written at "
                f"{newest}): PostgreSQL 13 and later do not finish a recovery that cannot reach its target"
            )
