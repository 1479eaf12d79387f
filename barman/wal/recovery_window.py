"""From when to when a server can be recovered: backups and archived segments in, windows and gaps out. Pure.

A backup serves a moment when every segment from its begin to that moment is archived, along the history that is
followed. A gap therefore cuts the window of a timeline in two: before it the older backups lead on, after it only the
backups that began after it. Nothing is said of WAL that no backup leads to.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timezone

from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.catalog.chain import walk_to_root
from barman.errors import CatalogError, InvalidWalName
from barman.postgres.timeline import TimelineHistory
from barman.postgres.wal_name import WalSegment
from barman.postgres.wal_run import join_runs
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, field
from barman.wal.recovery_path import RecoveryPath, leads_from

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from barman.catalog.view import CatalogView
    from barman.postgres.lsn import Lsn
    from barman.postgres.wal_run import Runs

_STANDALONE = "standalone"


@dataclass(frozen=True, slots=True)
class ArchivedWal:
    """What is archived. `written` answers when a segment was last written to, None if it cannot be told.

    `waiting` are segments that lie in a queue of an archiver; `without_data` the ids of records without a backup;
    `partials` the segments that a receiver is writing, with the time of their last byte.
    """

    segment_size: int
    runs: Mapping[int, Runs]
    histories: Mapping[int, TimelineHistory]
    written: Callable[[WalSegment], float | None]
    waiting: Collection[WalSegment] = frozenset()
    without_data: Collection[str] = frozenset()
    partials: Mapping[WalSegment, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """Segments in a row that are missing from the archive; `waiting` of them lie in a queue.

    `stops` are the backups that can be restored and not recovered beyond the gap; `breaks` those that cannot be
    restored at all, because they need WAL of the gap to be consistent.
    """

    first: WalSegment
    last: WalSegment
    count: int
    waiting: int = 0
    stops: tuple[str, ...] = ()
    breaks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.first.name if self.count == 1 else f"{self.first.name} to {self.last.name} ({self.count} segments)"


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one backup can be recovered along one line.

    `reason` says why it cannot be restored; then there is no `until`. `stopped_by` is the gap at which recovery ends;
    `standalone` backups are kept without the WAL that follows them.
    """

    backup_id: str
    begin: WalSegment
    until: WalSegment | None = None
    until_lsn: Lsn | None = None
    until_time: datetime | None = None
    stopped_by: Gap | None = None
    reason: str = ""
    standalone: bool = False

    @property
    def restorable(self) -> bool:
        """Whether the backup can be restored at all."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Window:
    """An unbroken stretch of moments: from the end of the oldest backup that leads in, to the last segment in a row."""

    backup_ids: tuple[str, ...]
    earliest: datetime | None
    earliest_lsn: Lsn | None
    latest: datetime | None
    latest_lsn: Lsn
    latest_wal: WalSegment
    partial: datetime | None = None
    """The last byte of the unfinished segment after it, with which a restore to latest ends (ADR 35)."""
    partial_wal: WalSegment | None = None

    @property
    def newest(self) -> datetime | None:
        """The newest moment that a restore reaches: in the last whole segment, or in the unfinished one."""
        return max((moment for moment in (self.latest, self.partial) if moment is not None), default=None)


@dataclass(frozen=True, slots=True)
class Line:
    """One timeline that a backup leads to, with the history that precedes it; windows and gaps from old to new."""

    timeline: int
    windows: tuple[Window, ...] = ()
    gaps: tuple[Gap, ...] = ()
    backups: tuple[Reach, ...] = ()
    current: bool = False

    @property
    def reaches_end(self) -> bool:
        """Whether the newest archived WAL of the line can be recovered to."""
        return bool(self.windows) and not (self.gaps and self.gaps[-1].first > self.windows[-1].latest_wal)


@dataclass(frozen=True, slots=True)
class RecoveryWindows:
    """`recovery-window` of one server; lines by timeline. `problems`: what could not be looked at."""

    server_name: str
    now: datetime
    lines: tuple[Line, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def current(self) -> Line | None:
        """The line that a restore without options follows from the newest backup."""
        return next((line for line in self.lines if line.current), None)

    @property
    def latest(self) -> Window | None:
        """The newest window of the current line."""
        line = self.current
        return line.windows[-1] if line and line.windows else None

    @property
    def behind(self) -> float | None:
        """Seconds since the newest recoverable moment: what would be lost if the server were lost now."""
        window = self.latest
        newest = None if window is None else window.newest
        return None if newest is None else max(0.0, (self.now - newest).total_seconds())

    def line_of(self, backup_id: str) -> Line | None:
        """The line that a restore of a backup follows without options: the newest one that it leads to."""
        found = [line for line in self.lines if any(reach.backup_id == backup_id for reach in line.backups)]
        return found[-1] if found else None

    def reach_of(self, backup_id: str) -> Reach | None:
        """How far a backup can be recovered along that line."""
        line = self.line_of(backup_id)
        return None if line is None else next(item for item in line.backups if item.backup_id == backup_id)


def find_windows(view: CatalogView, archives: Sequence[ArchivedWal], now: datetime) -> RecoveryWindows:
    """What can be recovered, by the catalog and the archive as they are; one archive for each segment size."""
    lines: list[Line] = []
    for archived in archives:
        placed = [item for info in _candidates(view, archived) if (item := _placed(info, view, archived)) is not None]
        histories = dict(archived.histories)
        for item in placed:
            # A server set up after a promotion archives its timeline without ever archiving where that came from.
            histories.setdefault(item.timeline, TimelineHistory(item.timeline))
        for _, history in sorted(histories.items()):
            leading = [item for item in placed if leads_from(history, item.timeline, item.end_lsn)]
            if leading:
                path = RecoveryPath(history, archived.runs, archived.segment_size, [item.begin for item in leading])
                lines.append(_line(path, leading, archived))
    return RecoveryWindows(view.server_name, now, _with_current(lines, view))


@dataclass(frozen=True, slots=True)
class _Placed:
    """A backup whose record says where it lies."""

    info: BackupInfo
    timeline: int
    begin: int
    end: int
    end_lsn: Lsn
    obstacle: str
    standalone: bool

    @property
    def is_waiting(self) -> bool:
        return self.info.status == BackupStatus.WAITING_FOR_WALS


def _candidates(view: CatalogView, archived: ArchivedWal) -> list[BackupInfo]:
    return [
        info
        for info in view.copy_done
        if info.xlog_segment_size == archived.segment_size and info.backup_id not in view.deleting
    ]


def _placed(info: BackupInfo, view: CatalogView, archived: ArchivedWal) -> _Placed | None:
    try:
        begin, end = WalSegment.parse(info.begin_wal or ""), WalSegment.parse(info.end_wal or "")
    except InvalidWalName:
        return None
    size = archived.segment_size
    timeline = info.timeline or begin.timeline
    end_lsn = info.end_xlog or end.start(size)
    standalone = view.keep.get(info.backup_id) == _STANDALONE
    obstacle = _obstacle(info, view, archived)
    if not obstacle and begin.timeline != end.timeline:
        obstacle = f"it begins on another timeline ({begin.name}) than it ends ({end.name})"
    return _Placed(info, timeline, begin.number(size), end.number(size), end_lsn, obstacle, standalone)


def _obstacle(info: BackupInfo, view: CatalogView, archived: ArchivedWal) -> str:
    """Why a backup cannot be restored whatever WAL there is."""
    if info.backup_id in archived.without_data:
        return "its data are gone"
    try:
        chain = walk_to_root(info, view)
    except CatalogError as error:
        return error.message
    for parent in chain[1:]:
        if not parent.is_copy_done or parent.backup_id in view.deleting or parent.backup_id in archived.without_data:
            return f"its parent {parent.backup_id} cannot be restored"
    return ""


def _line(path: RecoveryPath, leading: list[_Placed], archived: ArchivedWal) -> Line:
    gaps = _gaps(path, leading, archived)
    first_broken = {backup_id: gap for gap in reversed(gaps) for backup_id in gap.breaks}
    stopped = first_broken | {backup_id: gap for gap in gaps for backup_id in gap.stops}
    reaches = tuple(_reach(path, item, stopped.get(item.info.backup_id), archived) for item in leading)
    return Line(path.history.timeline, _windows(path, leading, reaches, archived), gaps, reaches)


def _gaps(path: RecoveryPath, leading: list[_Placed], archived: ArchivedWal) -> tuple[Gap, ...]:
    """What is missing of all that the backups of a line need, from old to new."""
    needed = [(item.begin, item.end) for item in leading if not item.is_waiting and not item.obstacle]
    following = [item.begin for item in leading if not item.standalone and not item.obstacle]
    if following and path.newest is not None and min(following) <= path.newest:
        needed.append((min(following), path.newest))
    holes = [hole for first, last in join_runs(needed) for hole in path.missing(first, last)]
    stops: list[list[str]] = [[] for _ in holes]
    breaks: list[list[str]] = [[] for _ in holes]
    for item in leading:
        if item.obstacle:
            continue
        # The first hole that does not end before the backup begins is the one that it meets first.
        place = bisect_left(holes, item.begin, key=lambda hole: hole[1])
        if place < len(holes) and holes[place][0] > item.end:
            if not item.standalone and path.reach(item.begin) == holes[place][0] - 1:
                stops[place].append(item.info.backup_id)
            continue
        while place < len(holes) and holes[place][0] <= item.end:
            breaks[place].append(item.info.backup_id)
            place += 1
    return tuple(
        _gap(path, hole, archived, tuple(stops[place]), tuple(breaks[place])) for place, hole in enumerate(holes)
    )


def _gap(
    path: RecoveryPath, hole: tuple[int, int], archived: ArchivedWal, stops: tuple[str, ...], breaks: tuple[str, ...]
) -> Gap:
    first, last = hole
    size = archived.segment_size
    waiting = sum(first <= segment.number(size) <= last and _is_on(path, segment, size) for segment in archived.waiting)
    return Gap(path.segment(first), path.segment(last), last - first + 1, waiting, stops, breaks)


def _is_on(path: RecoveryPath, segment: WalSegment, size: int) -> bool:
    return path.segment(segment.number(size)) == segment


def _reach(path: RecoveryPath, item: _Placed, stopped: Gap | None, archived: ArchivedWal) -> Reach:
    begin = path.segment(item.begin)
    backup_id = item.info.backup_id
    if item.obstacle:
        return Reach(backup_id, begin, reason=item.obstacle, standalone=item.standalone)
    reached = path.reach(item.begin)
    if reached is None or reached < item.end:
        missing = path.segment(item.begin if reached is None else reached + 1)
        word = "is not archived yet" if item.is_waiting else "is missing"
        reason = f"WAL segment {missing.name}, without which it is not consistent, {word}"
        return Reach(backup_id, begin, stopped_by=stopped, reason=reason, standalone=item.standalone)
    last, lsn, moment = _moment(path, reached, archived, item.info.end_time)
    return Reach(backup_id, begin, last, lsn, moment, stopped, standalone=item.standalone)


def _moment(
    path: RecoveryPath, number: int, archived: ArchivedWal, at_least: datetime | None
) -> tuple[WalSegment, Lsn, datetime | None]:
    """The last segment of a run, the position and the time at its end; no backup ends after what it can reach."""
    segment = path.archived(number)
    written = archived.written(segment)
    moment = None if written is None else datetime.fromtimestamp(written, timezone.utc)
    if moment is not None and at_least is not None:
        moment = max(moment, at_least)
    return segment, path.end_of(number), moment


def _windows(
    path: RecoveryPath, leading: list[_Placed], reaches: tuple[Reach, ...], archived: ArchivedWal
) -> tuple[Window, ...]:
    groups: dict[int, list[tuple[_Placed, Reach]]] = {}
    for item, reach in zip(leading, reaches, strict=True):
        if reach.until is not None:
            groups.setdefault(reach.until.number(archived.segment_size), []).append((item, reach))
    return tuple(_window(path, number, groups[number], archived) for number in sorted(groups))


def _window(path: RecoveryPath, number: int, group: list[tuple[_Placed, Reach]], archived: ArchivedWal) -> Window:
    first = min((item for item, _ in group), key=lambda item: (item.end_lsn, item.info.backup_id))
    ends = [item.info.end_time for item, _ in group if item.info.end_time is not None]
    moments = [reach.until_time for _, reach in group if reach.until_time is not None]
    last = next(reach for _, reach in group)
    assert last.until is not None
    assert last.until_lsn is not None
    partial_wal = _unfinished_after(path, number, archived)
    partial = archived.partials.get(partial_wal)
    return Window(
        backup_ids=tuple(sorted(item.info.backup_id for item, _ in group)),
        earliest=min(ends, default=None),
        earliest_lsn=first.end_lsn,
        latest=max(moments, default=None),
        latest_lsn=last.until_lsn,
        latest_wal=last.until,
        partial=None if partial is None else datetime.fromtimestamp(partial, timezone.utc),
        partial_wal=None if partial is None else partial_wal,
    )


def _unfinished_after(path: RecoveryPath, number: int, archived: ArchivedWal) -> WalSegment:
    """The segment that a receiver writes after a run; a restore archives first what waits between."""
    number += 1
    while path.segment(number) in archived.waiting:
        number += 1
    return path.segment(number)


def _with_current(lines: list[Line], view: CatalogView) -> tuple[Line, ...]:
    """Mark the line of the newest backup, the highest one that it leads to: that is what a restore follows."""
    newest = max((reach.backup_id for line in lines for reach in line.backups), default=None)
    marked = max((i for i, line in enumerate(lines) if newest in {r.backup_id for r in line.backups}), default=None)
    return tuple(
        Line(line.timeline, line.windows, line.gaps, line.backups, current=number == marked)
        for number, line in enumerate(lines)
    )
