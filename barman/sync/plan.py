"""What a passive node copies from its primary, and in which order. Pure.

Backups go by the decision table of passive nodes; WAL files by set difference, never by the order of names: a file that
arrived late on an old timeline is as good as the newest.
"""

from __future__ import annotations

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.retention.report import RetentionStatus, report
from barman.typing import TYPE_CHECKING, Final
from barman.values import dataclass, replace
from barman.wal.expire import gather_needs

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping
    from datetime import datetime

    from barman.catalog.view import CatalogView
    from barman.catalog.wal_file import WalFile
    from barman.retention.policy import RetentionPolicy
    from barman.retention.tiers import Tier
    from barman.sync.protocol import SyncInfo


class Action:
    """What is to be done about a backup."""

    COPY: Final = "copy"
    PURGE: Final = "purge"
    """A copy that broke off, of a backup that the primary has no more."""
    PRESENT: Final = "present"
    LOCAL_ONLY: Final = "local-only"
    OBSOLETE: Final = "obsolete"
    PARENT_MISSING: Final = "parent-missing"
    ABSENT: Final = "absent"
    CONFLICT: Final = "conflict"
    """Two different backups have one id."""


@dataclass(frozen=True, slots=True)
class BackupDecision:
    """What is to be done about one backup, and the line that says so ("" for a copy).

    `after` is the parent that has to be copied first: while it is not there, the backup is not to be copied.
    """

    backup_id: BackupId
    action: str
    text: str = ""
    after: BackupId | None = None


@dataclass(frozen=True, slots=True)
class LocalRules:
    """The retention rules of this node. `now` has a zone."""

    policy: RetentionPolicy
    minimum_redundancy: int
    now: datetime
    tiers: tuple[Tier, ...] = ()


def plan_backups(primary: SyncInfo, local: CatalogView, rules: LocalRules | None = None) -> tuple[BackupDecision, ...]:
    """A decision for every backup of the primary, and for local leftovers of copies.

    Those to be copied come first, in the order in which they should be tried: those that never failed before the
    others, so that one which always fails holds up nobody; each after its parent.
    """
    judged = _judge(primary, local, rules)
    decisions = {backup_id: _decide(backup_id, primary, local, judged) for backup_id in primary.backups}
    for backup_id, info in local.backups.items():
        if backup_id not in primary.backups and info.status == BackupStatus.FAILED and info.mode == "passive":
            decisions[backup_id] = _decide(backup_id, primary, local, judged)
    copied = _in_order({i for i, decision in decisions.items() if decision.action == Action.COPY}, primary, local)
    rest = sorted(backup_id for backup_id in decisions if backup_id not in copied)
    return tuple(decisions[backup_id] for backup_id in (*copied, *rest))


def decide_backup(
    primary: SyncInfo, local: CatalogView, backup_id: BackupId, rules: LocalRules | None = None
) -> BackupDecision:
    """The decision for one backup that was asked for by its id."""
    return _decide(backup_id, primary, local, _judge(primary, local, rules))


def merged_children(parent_id: BackupId, primary: SyncInfo, local: CatalogView) -> tuple[BackupId, ...]:
    """The children that a parent's local record lists: those that the primary names, and those that are here."""
    known = primary.backups.get(parent_id)
    listed = list(known.children_backup_ids) if known is not None else []
    here = [i for i in local.ids if local.backups[i].parent_backup_id == parent_id]
    return tuple(dict.fromkeys([*listed, *here]))


_Chains = dict[BackupId, bool]


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is judged once for all backups."""

    obsolete: frozenset[BackupId]
    whole: _Chains


def _judge(primary: SyncInfo, local: CatalogView, rules: LocalRules | None) -> _Judged:
    return _Judged(_obsolete(primary, local, rules), _whole_chains(primary, local))


def _decide(backup_id: BackupId, primary: SyncInfo, local: CatalogView, judged: _Judged) -> BackupDecision:
    theirs, ours = primary.backups.get(backup_id), local.backups.get(backup_id)
    name = primary.server_name
    if theirs is None:
        return _decide_absent(backup_id, ours, name)
    if backup_id in local.corrupt:
        text = f"the local record of backup {backup_id} of server {name} cannot be read: it is not copied again"
        return BackupDecision(backup_id, Action.CONFLICT, text)
    if ours is not None and ours.is_copy_done:
        difference = _difference(theirs, ours)
        if difference:
            text = f"backup {backup_id} of server {name} is another backup on the primary: {difference}"
            return BackupDecision(backup_id, Action.CONFLICT, text)
        return BackupDecision(backup_id, Action.PRESENT, f"Backup {backup_id} is already synced with {name} server")
    if backup_id in judged.obsolete:
        text = f"Remote backup {name}/{backup_id} is obsolete for local retention policies."
        return BackupDecision(backup_id, Action.OBSOLETE, text)
    return _after_parent(backup_id, primary, local, judged.whole)


def _decide_absent(backup_id: BackupId, ours: BackupInfo | None, name: str) -> BackupDecision:
    if ours is None:
        return BackupDecision(backup_id, Action.ABSENT, f"Backup {backup_id} is absent on {name} server")
    if ours.status == BackupStatus.FAILED:
        text = f"Backup {backup_id} is absent on {name} server and incomplete locally, purging local backup"
        return BackupDecision(backup_id, Action.PURGE, text)
    text = f"Backup {backup_id} is absent on {name} server (local copy only)"
    return BackupDecision(backup_id, Action.LOCAL_ONLY, text)


def _after_parent(backup_id: BackupId, primary: SyncInfo, local: CatalogView, whole: _Chains) -> BackupDecision:
    parent_id = primary.backups[backup_id].parent_backup_id
    if parent_id is None:
        return BackupDecision(backup_id, Action.COPY)
    if not whole[backup_id]:
        text = (
            f"backup {backup_id} of server {primary.server_name} is passed over: its parent {parent_id}, or one below "
            "it, is neither here nor to be had from the primary"
        )
        return BackupDecision(backup_id, Action.PARENT_MISSING, text)
    return BackupDecision(backup_id, Action.COPY, after=None if _is_here(parent_id, local) else parent_id)


def _whole_chains(primary: SyncInfo, local: CatalogView) -> _Chains:
    """Whether each backup of the primary, and all its parents, are here or can be; a chain is obsolete as a whole."""
    known: _Chains = {}
    for backup_id in primary.backups:
        path: dict[BackupId, None] = {}
        current: BackupId | None = backup_id
        while current is not None and current not in known and current not in path:
            if _is_here(current, local):
                known[current] = True
            elif current not in primary.backups:
                known[current] = False
            else:
                path[current] = None
                current = primary.backups[current].parent_backup_id
        # A chain that leads back into itself is none.
        known.update(dict.fromkeys(path, current is None or known.get(current, False)))
    return known


def _is_here(backup_id: BackupId, local: CatalogView) -> bool:
    info = local.backups.get(backup_id)
    return info is not None and info.is_copy_done


_IDENTITY: Final = ("systemid", "timeline", "begin_xlog", "end_xlog", "begin_time")


def _difference(theirs: BackupInfo, ours: BackupInfo) -> str:
    """What shows that two records with one id are of two backups; "" if nothing does."""
    for key in _IDENTITY:
        there, here = getattr(theirs, key), getattr(ours, key)
        if there is None or here is None:
            continue
        if key == "begin_time":
            # A record that was copied by way of the text form has whole seconds.
            if abs((there - here).total_seconds()) < 1:
                continue
        elif there == here:
            continue
        return f"{key} is {there} there and {here} here"
    return ""


def _in_order(wanted: Collection[BackupId], primary: SyncInfo, local: CatalogView) -> list[BackupId]:
    """Never tried before failed before, each group by id, and no child before its parent."""

    def upwards(backup_id: BackupId | None) -> Iterator[BackupId]:
        """The backup, and those of its parents that are to be copied; a chain that is wanted has no cycle."""
        while backup_id is not None and backup_id in wanted:
            yield backup_id
            backup_id = primary.backups[backup_id].parent_backup_id

    failed = {backup_id: any(i in local.backups for i in upwards(backup_id)) for backup_id in wanted}
    ordered: dict[BackupId, None] = {}
    for backup_id in sorted(wanted, key=lambda i: (failed[i], i)):
        ordered.update(dict.fromkeys(reversed(list(upwards(backup_id)))))
    return list(ordered)


def _obsolete(primary: SyncInfo, local: CatalogView, rules: LocalRules | None) -> frozenset[BackupId]:
    """What local retention would delete at once if everything of the primary were here."""
    if rules is None:
        return frozenset()
    merged: dict[BackupId, BackupInfo] = dict(primary.backups)
    for backup_id, info in local.backups.items():
        if info.is_copy_done:
            theirs = primary.backups.get(backup_id)
            # A copy whose WAL is still to come is as good as the backup that it is a copy of.
            merged[backup_id] = info if theirs is None else replace(info, status=theirs.status)
    keep = {**primary.keep, **local.keep}
    view = replace(local, backups={i: merged[i] for i in sorted(merged)}, keep=keep)
    statuses = report(view, rules.policy, rules.minimum_redundancy, rules.now, rules.tiers)
    return frozenset(i for i, word in statuses.items() if word == RetentionStatus.OBSOLETE)


# --- WAL


def plan_wals(
    primary: SyncInfo, present: Container[str] | Mapping[str, object], local: CatalogView | None = None
) -> tuple[WalFile, ...]:
    """The files of the primary that are not here, oldest first; histories before all others.

    With `local` only those that a local backup needs: what the next deletion would remove is not fetched again.
    """
    needs = gather_needs(local) if local is not None else None
    missing = [wal for wal in primary.wals if wal.name not in present]
    if needs is not None:
        missing = [wal for wal in missing if needs.includes(wal.name)]
    return tuple(sorted(_without_needless_partials(missing, primary.wals, present), key=_copy_order))


def covered_backups(local: CatalogView) -> frozenset[str]:
    """The backups whose WAL `plan_wals` plans for: those that a position speaks for when all of it is here."""
    return frozenset(str(info.backup_id) for info in local.with_status(BackupStatus.ARCHIVING))


def _without_needless_partials(
    missing: Iterable[WalFile], offered: Iterable[WalFile], present: Container[str]
) -> Iterable[WalFile]:
    """A partial segment is of no use where the whole one is here, or comes."""
    partials = [wal for wal in missing if wal.name.endswith(".partial")]
    if not partials:
        return missing
    whole = {wal.name for wal in offered if len(wal.name) == 24}
    return [
        wal
        for wal in missing
        if not wal.name.endswith(".partial") or not (wal.name[:24] in whole or wal.name[:24] in present)
    ]


def _copy_order(wal: WalFile) -> tuple[bool, str]:
    return not wal.name.endswith(".history"), wal.name
