"""How a chain of incremental backups becomes one: where it is combined, by what, and in which mode. Pure.

On this host pg_combinebackup writes into a directory inside the destination, and what it has written is moved up: no
byte is copied twice, and an unfinished restore can be repeated over what it left. For another host, and for a delta
restore, which needs something to compare with, it writes into the staging path, and the steps of every restore copy
from there. Members that are tar archives are unpacked into the staging path first.
"""

from __future__ import annotations

import posixpath

from barman.postgres import data_directory
from barman.restore.step import ChainMember, CombineBackups, MoveTrees, TreeCopy, UnpackTrees
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, field, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.postgres.programs import Program
    from barman.restore.facts import BackupFacts, SourceTree
    from barman.restore.layouts import Layouts

STAGE_NAME = ".barman-combine"
"""Inside the destination, and inside every directory of a tablespace."""
CONTROL_NAME = f"{STAGE_NAME}-control"
"""Where the control file waits until everything else is in place."""

_LINKS_SINCE = 18
_MAY_NOT_WORK = ("clone", "copy-file-range")


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """A chain as it was found, root first: what speaks against combining it, and what is to be known about it.

    `archived` are the members that must be unpacked first, by id. `devices` are the file systems that the files of the
    others lie on. `refusals` follow the name of the backup.
    """

    members: tuple[ChainMember, ...] = ()
    archived: Mapping[str, BackupFacts] = field(default_factory=dict)
    program: Program | None = None
    devices: frozenset[int] = frozenset()
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a chain is combined: inside the destination (`in_place`), or in the private `directory` of this host.

    That is also where archives are unpacked, None when nothing needs it. `mode` is what pg_combinebackup is asked for,
    `note` why it is not what the user wanted.
    """

    in_place: bool
    directory: str | None = None
    mode: str = "copy"
    note: str = ""
    refusals: tuple[str, ...] = field(default_factory=tuple)


def choose_mode(wanted: str, chain: ChainFacts, *, device: int | None) -> tuple[str, str]:
    """Return the mode to use and why it is not the wanted one; `device` is that of the staging path, if that is used.

    With links the result shares its files with the repository: fit only for what is read, and removed, by us.
    """
    if wanted != "link":
        return wanted, ""
    reason = ""
    if device is None:
        reason = "the restored cluster would write into the files of the repository"
    elif chain.program is not None and chain.program.version.major < _LINKS_SINCE:
        reason = f"pg_combinebackup {chain.program.version} cannot, version {_LINKS_SINCE} can"
    elif chain.devices != {device}:
        reason = "the staging path lies on another file system than the backups"
    return ("copy", f"combine mode link is not used, files are copied: {reason}") if reason else ("link", "")


def unpacked_size(chain: ChainFacts) -> int:
    """Return the bytes that the archives of a chain unpack to."""
    return sum(tree.size for item in chain.archived.values() for tree in _trees_of(item))


def _trees_of(item: BackupFacts) -> list[SourceTree]:
    return [tree for tree in (*item.tablespaces.values(), item.data) if tree is not None]


def may_fall_back(mode: str) -> bool:
    """Tell whether a mode depends on what the file system can do, which only trying shows."""
    return mode in _MAY_NOT_WORK


def is_of_stage(relative: str) -> bool:
    """Tell whether a path in the destination, or in a tablespace, is what an unfinished combination left."""
    return relative.partition("/")[0] in (STAGE_NAME, CONTROL_NAME)


def staged(backup: BackupFacts, layouts: Layouts, stage: Stage) -> BackupFacts:
    """Return the backup with its trees where the combination puts them."""
    if backup.data is None:
        return backup
    locations = {link.oid: link.location for link in layouts.links}
    trees = {
        oid: None if tree is None else replace(tree, root=_tablespace_root(oid, locations.get(oid, ""), stage))
        for oid, tree in backup.tablespaces.items()
    }
    if stage.in_place:
        root = posixpath.join(layouts.destination, STAGE_NAME)
    else:
        root = posixpath.join(stage.directory or "", "data")
    return replace(backup, data=replace(backup.data, root=root), tablespaces=trees)


def _tablespace_root(oid: int, location: str, stage: Stage) -> str:
    return posixpath.join(location, STAGE_NAME) if stage.in_place else posixpath.join(stage.directory or "", str(oid))


def combining(backup: BackupFacts, layouts: Layouts, stage: Stage, jobs: int) -> CombineBackups:
    """Return the step that combines a chain; the backup is what `staged` returned."""
    chain, data = backup.chain, backup.data
    assert chain is not None
    assert chain.program is not None
    assert data is not None
    unpacking = {
        name: _unpacking(item, posixpath.join(stage.directory or "", name), jobs)
        for name, item in chain.archived.items()
    }
    members = tuple(
        member if member.backup_id not in unpacking else _unpacked(unpacking[member.backup_id], member.backup_id)
        for member in chain.members
    )
    leaf: Mapping[int, str] = members[-1].tablespaces
    roots = {oid: tree.root for oid, tree in backup.tablespaces.items() if tree is not None and oid in leaf}
    left = (posixpath.join(layouts.destination, CONTROL_NAME),) if stage.in_place else ()
    return CombineBackups(
        backup_id=backup.info.backup_id,
        program=chain.program,
        unpacking=tuple(unpacking.values()),
        members=members,
        output=data.root,
        tablespaces=tuple((leaf[oid], root) for oid, root in roots.items()),
        mode=stage.mode,
        leftovers=(data.root, *roots.values(), *left),
    )


def _unpacking(item: BackupFacts, directory: str, jobs: int) -> UnpackTrees:
    """Return the step that unpacks one member of a chain below a directory."""
    assert item.data is not None
    data = posixpath.join(directory, "data")
    trees = [
        TreeCopy(tree, posixpath.join(directory, str(oid)))
        for oid, tree in item.tablespaces.items()
        if tree is not None
    ]
    control = posixpath.join(data, data_directory.CONTROL_FILE)
    return UnpackTrees((*trees, TreeCopy(item.data, data)), jobs, control)


def _unpacked(step: UnpackTrees, backup_id: str) -> ChainMember:
    *spaces, data = step.trees
    return ChainMember(backup_id, data.target, {int(posixpath.basename(tree.target)): tree.target for tree in spaces})


def moving(backup: BackupFacts, layouts: Layouts) -> MoveTrees:
    """Return the step that moves what was combined inside the destination to its places."""
    data = backup.data
    assert data is not None
    trees = [
        TreeCopy(tree, link.location)
        for link in layouts.links
        if (tree := backup.tablespaces.get(link.oid)) is not None
    ]
    control = posixpath.join(layouts.destination, CONTROL_NAME)
    return MoveTrees((*trees, TreeCopy(data, layouts.destination)), control)
