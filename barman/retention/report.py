"""What a retention policy says about every backup. Pure: nothing is deleted here.

A backup counts when it is DONE and can be restored alone; an incremental shares the fate of the root of its chain.
The age of a backup is that of its end. Deviations from the original: no policy makes the last good backup obsolete,
where `REDUNDANCY 0` would delete it; and a backup that `view.unrestorable` names counts for nothing, so that no older
one goes because of it. It goes itself where it would go as a good one, not earlier.

What a tier wants is never obsolete. The keep annotation that a tier has set (`view.tiered`) is its work, no wish of the
operator: it is looked through.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.catalog.chain import find_root
from barman.catalog.view import CatalogView
from barman.retention.policy import Redundancy, RetentionPolicy
from barman.retention.tiers import Tier, wanted
from barman.typing import Final


class RetentionStatus:
    """The words of the report, as they are shown."""

    VALID: Final = "VALID"
    OBSOLETE: Final = "OBSOLETE"
    POTENTIALLY_OBSOLETE: Final = "OBSOLETE*"
    """Outside the window, held by minimum redundancy."""
    KEEP_FULL: Final = "KEEP:FULL"
    KEEP_STANDALONE: Final = "KEEP:STANDALONE"
    NONE: Final = "-"
    """Not DONE, without a root, or needed if only it could be restored: no policy counts it."""


CLOCKS_APART: Final = timedelta(days=1)
"""Less is no fault: the clock of a database host decides when a backup ended."""

Report = dict[BackupId, str]
_Tree = list[BackupInfo]
_Judged = tuple[_Tree, str, bool]


def report(
    view: CatalogView, policy: RetentionPolicy, minimum_redundancy: int, now: datetime, tiers: Sequence[Tier] = ()
) -> Report:
    """The status of every readable backup, by ascending id. `now` has a zone.

    What the report calls OBSOLETE may be deleted, provided that the view has no unreadable record.
    """
    trees = _trees(view)
    uncounted = frozenset(i for i, info in view.backups.items() if is_ahead(info, now)) | set(view.unrestorable)
    if isinstance(policy, Redundancy):
        judged = _by_redundancy(trees, view, max(policy.count, minimum_redundancy, 1), uncounted)
    else:
        judged = _by_window(trees, view, policy.starts(now), minimum_redundancy, uncounted)
    statuses: Report = {}
    archive = wanted(view, tiers)
    for (root, *children), status, within in judged:
        lost = root.backup_id in view.tiered and root.backup_id in view.unrestorable
        if status == RetentionStatus.OBSOLETE and (root.backup_id in archive or lost):
            # A chain is archived whole: each member is restored with what is below it. What a tier has kept and lost
            # its WAL since is left to the operator: its data are there.
            statuses.update((member.backup_id, RetentionStatus.KEEP_STANDALONE) for member in (root, *children))
            continue
        statuses[root.backup_id] = _unless_broken(root, status, view)
        for child in children:
            kept = None if status == RetentionStatus.NONE else _keep_of(child, view)
            statuses[child.backup_id] = kept or _unless_broken(child, _of_child(status, within), view)
    return {i: _unless_empty(view.backups[i], statuses) for i in sorted(view.backups)}


def is_ahead(info: BackupInfo, now: datetime) -> bool:
    """Whether a backup ended in the future, by more than the clocks of two hosts may be apart."""
    return info.end_time is not None and info.end_time - now > CLOCKS_APART


def _trees(view: CatalogView) -> list[_Tree]:
    """Each root with everything that depends on it, newest root first. A broken chain belongs to no tree."""
    trees: dict[BackupId, _Tree] = {
        i: [view.backups[i]] for i in sorted(view.backups, reverse=True) if view.backups[i].parent_backup_id is None
    }
    for info in view.backups.values():
        if info.parent_backup_id is not None and (root := find_root(info, view)):
            trees[root.backup_id].append(info)
    return list(trees.values())


def _unless_empty(info: BackupInfo, statuses: Report) -> str:
    if info.status == BackupStatus.EMPTY:
        return RetentionStatus.NONE
    return statuses.get(info.backup_id, RetentionStatus.NONE)


def _unless_broken(info: BackupInfo, status: str, view: CatalogView) -> str:
    needed = status in (RetentionStatus.VALID, RetentionStatus.POTENTIALLY_OBSOLETE)
    return RetentionStatus.NONE if needed and info.backup_id in view.unrestorable else status


def _by_redundancy(
    trees: list[_Tree], view: CatalogView, required: int, uncounted: Collection[BackupId]
) -> Iterator[_Judged]:
    """Each tree with the status of its root, and whether that is among those that the policy wants."""
    counted = 0
    for tree in trees:
        root = tree[0]
        if root.status != BackupStatus.DONE:
            yield tree, RetentionStatus.NONE, False
            continue
        within = counted < required
        counted += root.backup_id not in uncounted
        otherwise = RetentionStatus.VALID if within else RetentionStatus.OBSOLETE
        yield tree, _keep_of_tree(tree, view) or otherwise, within


def _by_window(
    trees: list[_Tree],
    view: CatalogView,
    start: datetime | None,
    minimum_redundancy: int,
    uncounted: Collection[BackupId],
) -> Iterator[_Judged]:
    counted = 0
    covered = False
    for tree in trees:
        root = tree[0]
        if root.status != BackupStatus.DONE:
            yield tree, RetentionStatus.NONE, False
            continue
        if not covered:
            # The first backup that ended before the window is needed to recover to its start.
            good = root.backup_id not in uncounted
            covered = good and start is not None and root.end_time is not None and root.end_time < start
            otherwise = RetentionStatus.VALID
        elif counted < minimum_redundancy:
            otherwise = RetentionStatus.POTENTIALLY_OBSOLETE
        else:
            otherwise = RetentionStatus.OBSOLETE
        counted += root.backup_id not in uncounted
        yield tree, _keep_of_tree(tree, view) or otherwise, not covered


def _of_child(root_status: str, within: bool) -> str:
    if root_status == RetentionStatus.KEEP_FULL:
        return RetentionStatus.VALID
    if root_status == RetentionStatus.KEEP_STANDALONE:
        return RetentionStatus.VALID if within else RetentionStatus.OBSOLETE
    return root_status


def _keep_of(info: BackupInfo, view: CatalogView) -> str | None:
    target = view.keep.get(info.backup_id)
    if target is None or info.backup_id in view.tiered:
        return None
    return RetentionStatus.KEEP_STANDALONE if target == "standalone" else RetentionStatus.KEEP_FULL


def _keep_of_tree(tree: _Tree, view: CatalogView) -> str | None:
    # Nobody can keep an incremental by command. Should its annotation exist all the same, the whole chain is needed.
    root, *children = tree
    if any(_keep_of(child, view) for child in children):
        return RetentionStatus.KEEP_FULL
    return _keep_of(root, view)
