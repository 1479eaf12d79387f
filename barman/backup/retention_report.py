"""`retention`: each backup and each range of WAL with the reason why it is kept or goes. Reads only."""

from __future__ import annotations

from barman import clock
from barman.backup.dry_run import DryRun, plan_retention
from barman.backup.expire import read_policy, retention_rules
from barman.backup.retention_plan import plan_tiers, with_tiers
from barman.backup.retention_view import read_tiers, retention_view
from barman.catalog.backup_info import DEFAULT_SEGMENT_SIZE, BackupStatus
from barman.catalog.wal_runs import read_runs
from barman.errors import CatalogError, ConfigError
from barman.postgres.wal_name import WalSegment
from barman.retention.reasons import explain
from barman.retention.report import report
from barman.typing import TYPE_CHECKING
from barman.values import dataclass
from barman.wal.expire import WalNeeds, gather_needs, need_of
from barman.wal.recoverable import read_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.catalog.backup_id import BackupId
    from barman.catalog.view import CatalogView
    from barman.postgres.wal_run import Run
    from barman.retention.policy import RetentionPolicy
    from barman.retention.tiers import Tier
    from barman.server.server import Server


@dataclass(frozen=True, slots=True)
class BackupVerdict:
    """One backup: the word of the retention report, why, and whether the next run deletes it.

    `held` is why it stays although it is obsolete; `broken` why it cannot be restored: no policy counts it then.
    """

    backup_id: str
    word: str
    reason: str
    goes: bool = False
    held: str = ""
    broken: str = ""


@dataclass(frozen=True, slots=True)
class WalVerdict:
    """Archived segments in a row that share one fate."""

    first: WalSegment
    last: WalSegment
    count: int
    goes: bool
    reason: str


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """`retention` of one server; backups and WAL from old to new. `explain` asks for the reasons on the console."""

    server_name: str
    policy: str | None
    minimum_redundancy: int
    backups: tuple[BackupVerdict, ...]
    wal: tuple[WalVerdict, ...]
    next_run: DryRun
    unreadable: tuple[tuple[str, str], ...] = ()
    explain: bool = False
    tiers: str | None = None


def read_retention(server: Server, *, explain: bool = False) -> RetentionReport:
    """What the policy of a server says now, and what the next run of cron deletes."""
    view, tiers = _judged(server)
    policy = read_policy(server)
    run = plan_retention(server)
    return RetentionReport(
        server_name=server.name,
        policy=None if policy is None else str(policy),
        minimum_redundancy=server.config.minimum_redundancy,
        backups=tuple(_backups(server, view, tiers, run)),
        wal=tuple(_wal(server, _as_next_run(server, view, policy, tiers), run)),
        next_run=run,
        unreadable=tuple((str(backup_id), error.message) for backup_id, error in view.corrupt.items()),
        explain=explain,
        tiers=", ".join(str(tier) for tier in tiers or ()) or server.config.retention_tiers,
    )


def _judged(server: Server) -> tuple[CatalogView, tuple[Tier, ...] | None]:
    """The catalog and the tiers; None when one of them cannot be told, which the notes of the next run say."""
    view = server.catalog.snapshot()
    try:
        return retention_view(server.catalog, view), read_tiers(server.config)
    except (CatalogError, ConfigError):
        return view, None


def _as_next_run(
    server: Server, view: CatalogView, policy: RetentionPolicy | None, tiers: tuple[Tier, ...] | None
) -> CatalogView:
    """The catalog with what the tiers keep from the next run on: it decides which WAL is needed."""
    if policy is None or tiers is None:
        return view
    return with_tiers(view, plan_tiers(view, retention_rules(server, policy)))


def _backups(server: Server, view: CatalogView, tiers: tuple[Tier, ...] | None, run: DryRun) -> Iterator[BackupVerdict]:
    policy, now, minimum = read_policy(server), clock.now(), server.config.minimum_redundancy
    # Suspended: nothing is obsolete.
    suspended = tiers is None
    statuses = {} if policy is None or suspended else report(view, policy, minimum, now, tiers or ())
    reasons = explain(view, None if suspended else policy, minimum, now, statuses, tiers or ())
    orphans = frozenset(server.catalog.backups.find_orphans(view.backups.values()))
    going = {backup_id for deletion in run.deletions if deletion.goes for backup_id in deletion.backup_ids}
    held = {deletion.target: deletion.reason for deletion in run.deletions if not deletion.goes}
    # The newest line that a backup leads to is the one that a restore follows.
    lines = read_windows(server.catalog, view).lines
    broken_by = {reach.backup_id: reach.reason for line in lines for reach in line.backups} | dict(view.unrestorable)
    for backup_id in view.ids:
        broken = broken_by.get(backup_id, "")
        reason = held.get(backup_id, "")
        if backup_id in orphans and backup_id not in view.deleting:
            reason = f"it has no data and is left alone: 'barman delete {server.name} {backup_id}' removes it"
        word, goes = statuses.get(backup_id, "-"), backup_id in going
        yield BackupVerdict(backup_id, word, reasons[backup_id], goes, reason, broken)


def _wal(server: Server, view: CatalogView, run: DryRun) -> Iterator[WalVerdict]:
    size = _segment_size(view)
    removed = {name for deletion in run.deletions for name in deletion.wals}
    going: set[str] = {backup_id for deletion in run.deletions if deletion.goes for backup_id in deletion.backup_ids}
    needs, edges = gather_needs(view), _edges(view, size)
    for timeline, runs in sorted(read_runs(server.catalog.layout, size).items()):
        pieces = [piece for unbroken in runs for piece in _cut(unbroken, edges)]
        verdicts = [_judge(piece, timeline, size, (view, needs, removed, going)) for piece in pieces]
        yield from _join(verdicts, size)


def _segment_size(view: CatalogView) -> int:
    newest = view.latest()
    return newest.xlog_segment_size if newest is not None else DEFAULT_SEGMENT_SIZE


def _edges(view: CatalogView, size: int) -> list[int]:
    """The numbers at which the fate of a segment can change: where the need of a backup begins, and after its end."""
    edges = set()
    for backup_id, info in view.backups.items():
        for keep in (view.keep.get(backup_id), None):
            need = need_of(info, keep)
            if need is not None:
                edges.add(need.begin // size)
                if need.end is not None:
                    edges.add(need.end // size + 1)
    return sorted(edges)


def _cut(run: Run, edges: list[int]) -> Iterator[Run]:
    first, last = run
    for edge in edges:
        if first < edge <= last:
            yield first, edge - 1
            first = edge
    yield first, last


def _judge(piece: Run, timeline: int, size: int, facts: tuple[CatalogView, WalNeeds, set[str], set[str]]) -> WalVerdict:
    view, needs, removed, going = facts
    first, last = (WalSegment.numbered(number, timeline, size) for number in piece)
    goes = first.name in removed
    reason = "no backup that remains needs it" if goes else _why_kept(first.name, view, needs, going)
    return WalVerdict(first, last, piece[1] - piece[0] + 1, goes, reason)


def _why_kept(name: str, view: CatalogView, needs: WalNeeds, going: set[str]) -> str:
    if needs.unknown is not None:
        return f"nothing is removed: {needs.unknown}"
    for backup_id in view.ids:
        if backup_id in going or not _needs(view, backup_id, name):
            continue
        if view.keep.get(backup_id) == "standalone":
            return f"needed by {backup_id}, which is kept standalone"
        return f"needed to recover from {backup_id} on"
    if needs.includes(name):
        return "the end of the WAL stays when the last backup goes"
    return "no backup needs it; it goes with the next backup that is deleted"


def _needs(view: CatalogView, backup_id: BackupId, name: str) -> bool:
    info, keep = view.backups[backup_id], view.keep.get(backup_id)
    if keep is None and (info.status == BackupStatus.FAILED or backup_id in view.deleting):
        return False
    need = need_of(info, keep)
    return need is not None and WalNeeds((need,), (info.xlog_segment_size,)).includes(name)


def _join(verdicts: list[WalVerdict], size: int) -> Iterator[WalVerdict]:
    """Neighbours with the same fate and the same reason are one range."""
    current: WalVerdict | None = None
    for verdict in verdicts:
        if (
            current is not None
            and (current.goes, current.reason) == (verdict.goes, verdict.reason)
            and current.last.next(size) == verdict.first
        ):
            current = WalVerdict(
                current.first, verdict.last, current.count + verdict.count, current.goes, current.reason
            )
            continue
        if current is not None:
            yield current
        current = verdict
    if current is not None:
        yield current
