"""Look at a whole chain of incremental backups before a restore: every member, and what must be there of each file."""

from __future__ import annotations

import os

from barman.backup.combining import find_combiner
from barman.catalog.chain import walk_to_root
from barman.errors import BarmanError, CatalogError
from barman.postgres import incremental_file
from barman.postgres.backup_label import parse_backup_label
from barman.postgres.data_directory import TABLESPACE_LINKS
from barman.restore.combine import ChainFacts, Stage, choose_mode, unpacked_size
from barman.restore.facts import SourceTree
from barman.restore.gather import gather_backup
from barman.restore.judge import judge_backup
from barman.restore.step import ChainMember
from barman.restore.unpack import judge_archives
from barman.typing import TYPE_CHECKING
from barman.units import format_size
from barman.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog
    from barman.catalog.layout import Layout
    from barman.catalog.view import CatalogView
    from barman.restore.facts import BackupFacts
    from barman.restore.request import RestoreRequest

PURPOSE = "barman-combine"
"""What the private directories in a staging path are called, before the id of the process."""


def chain_of(info: BackupInfo, view: CatalogView) -> tuple[BackupInfo, ...]:
    """Return the backups that a restore reads, root first; of a broken chain the backup alone."""
    try:
        return tuple(reversed(walk_to_root(info, view)))
    except CatalogError:
        return (info,)


def gather_chain(catalog: Catalog, view: CatalogView, leaf: BackupFacts, search_path: str) -> BackupFacts:
    """Return an incremental backup as it will be when its chain is combined, and what is known about the chain.

    Its trees list the files of the result, with their sizes; their roots are still those of the incremental backup.
    """
    try:
        infos = tuple(reversed(walk_to_root(leaf.info, view)))
    except CatalogError as error:
        return replace(leaf, chain=ChainFacts(refusals=(error.message,)))
    facts = [gather_backup(catalog, info, being_deleted=info.backup_id in view.deleting) for info in infos[:-1]] + [
        leaf
    ]
    refusals = [
        f"it needs backup '{item.info.backup_id}': {reason}" for item in facts[:-1] for reason in judge_backup(item)
    ]
    custom = catalog.filters()
    archived = [item for item in facts if item.is_archived]
    refusals += [reason for item in archived for reason in judge_archives(item, delta=False, custom=custom)]
    refusals += _judge_links(infos)
    program, reason = find_combiner(leaf.info, search_path)
    refusals += [reason] if reason else []
    combined = leaf
    if not refusals:
        combined = _combine(facts, refusals)
    chain = ChainFacts(
        members=tuple(_member(catalog.layout, info) for info in infos),
        archived={item.info.backup_id: item for item in facts if item.is_archived},
        program=program,
        devices=frozenset(_devices(facts)),
        refusals=tuple(refusals),
        notes=tuple(_notes(catalog.layout, infos, facts)),
    )
    return replace(combined, chain=chain)


def _judge_links(infos: Sequence[BackupInfo]) -> Iterator[str]:
    """Tell whether every member was taken on top of the one before it, from the same cluster."""
    for parent, child in zip(infos, infos[1:], strict=False):
        if parent.systemid and child.systemid and parent.systemid != child.systemid:
            yield f"backup '{parent.backup_id}' is of another cluster than '{child.backup_id}'"
        if parent.pg_version and child.pg_version and parent.pg_version.major != child.pg_version.major:
            yield f"backup '{parent.backup_id}' is of another major version than '{child.backup_id}'"
        begin = _incremental_from(child)
        if begin is not None and parent.begin_xlog is not None and str(parent.begin_xlog) != begin:
            yield (
                f"backup '{child.backup_id}' has the changes since {begin}, but '{parent.backup_id}', which is "
                f"recorded as its parent, begins at {parent.begin_xlog}"
            )


def _incremental_from(info: BackupInfo) -> str | None:
    if info.backup_label is None:
        return None
    try:
        found = parse_backup_label(info.backup_label).incremental_from
    except BarmanError:
        return None
    return None if found is None else str(found)


def _member(layout: Layout, info: BackupInfo) -> ChainMember:
    spaces = {
        space.oid: path
        for space in info.tablespaces
        if os.path.isdir(path := os.path.abspath(layout.tablespace_directory(info.backup_id, space.oid)))
    }
    return ChainMember(info.backup_id, os.path.abspath(layout.data_directory(info.backup_id)), spaces)


def _devices(facts: Iterable[BackupFacts]) -> Iterator[int]:
    for item in facts:
        for tree in (item.data, *item.tablespaces.values()):
            if tree is not None and not item.is_archived:
                yield os.stat(tree.root).st_dev


def _notes(layout: Layout, infos: Sequence[BackupInfo], facts: Sequence[BackupFacts]) -> Iterator[str]:
    for info, item in zip(infos, facts, strict=True):
        if item.damage.note and info is not infos[-1]:
            yield item.damage.note
        if not os.path.exists(layout.backup_manifest(info.backup_id)):
            yield f"backup '{info.backup_id}' has no manifest: whether all its files are there cannot be told"
    found = {info.data_checksums for info in infos if info.data_checksums}
    if len(found) > 1:
        yield (
            "data checksums were enabled for some backups of the chain only: pages may fail their check. Disable "
            "checksums with pg_checksums before the restored cluster is started, and enable them again"
        )


# -- what the result will have ---------------------------------------------------------------------------------------


def _combine(facts: Sequence[BackupFacts], refusals: list[str]) -> BackupFacts:
    """Return the newest of the backups with whole files in place of its incremental ones."""
    leaf, older = facts[-1], facts[-2::-1]
    files = [_files_of(item) for item in older]
    problems: list[str] = []

    def size_of(tree: SourceTree, name: str, path: str) -> int:
        size = tree.files[name]
        if tree.archive:
            # What is in the archive is not read twice: an estimate from above, for the room that is needed.
            return size + max((found.get(path, 0) for found in files), default=0)
        return incremental_file.read_whole_size(os.path.join(tree.root, name))

    def whole(tree: SourceTree, prefix: str) -> SourceTree:
        found: dict[str, int] = {}
        for name, size in tree.files.items():
            path = incremental_file.whole_name(prefix + name)
            if path is None:
                found[name] = size
                continue
            try:
                found[path[len(prefix) :]] = size_of(tree, name, path)
            except (CatalogError, OSError) as error:
                problems.append(str(error))
            missing = _find_missing(path, files)
            if missing is not None:
                other = older[min(missing, len(older) - 1)].info.backup_id
                problems.append(f"'{path}' has only changed blocks, and backup '{other}' does not have the file")
        return replace(tree, files=found, archive="")

    data = None if leaf.data is None else whole(leaf.data, "")
    spaces = {
        oid: None if tree is None else whole(tree, f"{TABLESPACE_LINKS}/{oid}/")
        for oid, tree in leaf.tablespaces.items()
    }
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        refusals.append(f"its chain is damaged: {problems[0]}{more}")
    return replace(leaf, data=data, tablespaces=spaces)


def _files_of(item: BackupFacts) -> dict[str, int]:
    found = {} if item.data is None else dict(item.data.files)
    for oid, tree in item.tablespaces.items():
        if tree is not None:
            found.update((f"{TABLESPACE_LINKS}/{oid}/{name}", size) for name, size in tree.files.items())
    return found


def _find_missing(path: str, files: Sequence[Mapping[str, int]]) -> int | None:
    """Return which of the older backups, newest first, has neither a file nor its changes; None when all is there."""
    incremental = incremental_file.incremental_name(path)
    for number, names in enumerate(files):
        if path in names:
            return None
        if incremental not in names:
            return number
    return len(files)


# -- where it is combined --------------------------------------------------------------------------------------------


def choose_stage(request: RestoreRequest, backup: BackupFacts, staging: str) -> Stage:
    """Return where and how the chain is combined, with what speaks against it.

    `staging` is where a directory can be made, should the destination be on another host, or hold a cluster.
    """
    chain = backup.chain
    assert chain is not None
    in_place = request.remote_ssh_command is None and not request.delta
    if in_place and not chain.archived:
        mode, note = choose_mode(request.combine_mode, chain, device=None)
        return Stage(in_place, None, mode, note)
    directory = os.path.join(staging, f"{PURPOSE}-{os.getpid()}")
    if not os.path.isdir(staging) or not os.access(staging, os.W_OK | os.X_OK):
        reason = f"the staging path '{staging}' is not a directory that can be written to: set --staging-path"
        return Stage(in_place, directory, refusals=(reason,))
    device = os.stat(staging).st_dev
    mode, note = choose_mode(request.combine_mode, chain, device=None if in_place else device)
    needed = unpacked_size(chain) + (0 if in_place or mode == "link" else _size(backup))
    state = os.statvfs(staging)
    free = state.f_bavail * state.f_frsize
    refusals: tuple[str, ...] = ()
    if needed > free:
        refusals = (
            f"not enough space in the staging path '{staging}': {format_size(needed)} needed to prepare the chain, "
            f"{format_size(free)} free",
        )
    return Stage(in_place, directory, mode, note, refusals)


def _size(backup: BackupFacts) -> int:
    trees = (backup.data, *backup.tablespaces.values())
    return sum(tree.size for tree in trees if tree is not None)
