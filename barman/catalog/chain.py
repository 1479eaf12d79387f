"""Parents and children of incremental backups. Pure.

A link is stored twice: the child names its parent, the parent lists its children. The child's word counts: a crash of
the original can leave a child that its parent does not list.
"""

from collections.abc import Mapping

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo
from barman.errors import CatalogError, CorruptRecord
from barman.typing import Protocol


class Chains(Protocol):
    """What is looked at here; `CatalogView` is one."""

    @property
    def backups(self) -> Mapping[BackupId, BackupInfo]:
        """Records by id."""

    @property
    def corrupt(self) -> Mapping[BackupId, CorruptRecord]:
        """Errors of unreadable records, by id."""


def walk_to_root(info: BackupInfo, view: Chains) -> tuple[BackupInfo, ...]:
    """The backup, its parent, and so on to the root, which is restorable alone.

    Raises CatalogError when a parent is missing, unreadable or its own ancestor: such a backup can not be restored.
    """
    chain = [info]
    while (parent_id := chain[-1].parent_backup_id) is not None:
        child = chain[-1].backup_id
        if parent_id in view.corrupt:
            raise view.corrupt[parent_id]
        parent = view.backups.get(parent_id)
        if parent is None:
            raise CatalogError(f"backup {child} needs its parent {parent_id}, which is not in the catalog")
        if any(parent_id == other.backup_id for other in chain):
            raise CatalogError(f"backup {parent_id} is its own ancestor")
        chain.append(parent)
    return tuple(chain)


def find_root(info: BackupInfo, view: Chains) -> BackupInfo | None:
    """The root of the chain, or None when the chain is broken."""
    try:
        return walk_to_root(info, view)[-1]
    except CatalogError:
        return None


def children(info: BackupInfo, view: Chains) -> tuple[BackupInfo, ...]:
    """The backups that name this one as their parent: those it lists, in its order, then the others by id."""
    return _children_in(info, _by_parent(view))


def descendants(info: BackupInfo, view: Chains) -> tuple[BackupInfo, ...]:
    """Everything that cannot be restored without this backup, each parent before its children."""
    return tuple(reversed(leaves_first(info, view)[:-1]))


def leaves_first(info: BackupInfo, view: Chains) -> tuple[BackupInfo, ...]:
    """The whole tree below a backup and the backup itself, which comes last: the order of deletion."""
    by_parent = _by_parent(view)
    seen = {info.backup_id}
    ordered: list[BackupInfo] = []
    pending: list[tuple[BackupInfo, bool]] = [(info, False)]
    while pending:
        current, expanded = pending.pop()
        if expanded:
            ordered.append(current)
            continue
        pending.append((current, True))
        below = [child for child in _children_in(current, by_parent) if child.backup_id not in seen]
        seen.update(child.backup_id for child in below)
        pending.extend((child, False) for child in reversed(below))
    return tuple(ordered)


def _by_parent(view: Chains) -> dict[BackupId, dict[BackupId, BackupInfo]]:
    found: dict[BackupId, dict[BackupId, BackupInfo]] = {}
    for backup_id in sorted(view.backups):
        info = view.backups[backup_id]
        if info.parent_backup_id is not None:
            found.setdefault(info.parent_backup_id, {})[backup_id] = info
    return found


def _children_in(info: BackupInfo, by_parent: dict[BackupId, dict[BackupId, BackupInfo]]) -> tuple[BackupInfo, ...]:
    below = by_parent.get(info.backup_id, {})
    listed = [below[i] for i in dict.fromkeys(info.children_backup_ids) if i in below]
    return (*listed, *(child for i, child in below.items() if i not in info.children_backup_ids))
