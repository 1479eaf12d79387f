"""What a delta restore removes from a cluster that it overwrites: named one by one in the plan. Pure.

Only what PostgreSQL itself owns goes: what lies below the directories of a data directory that the backup has (never
server logs), its own top-level files, and in a tablespace what lies below its version directory. Everything else stays.
"""

from __future__ import annotations

import posixpath
import re

from barman.postgres import data_directory
from barman.restore.facts import DIRECTORY, FILE, LINK, is_inside
from barman.restore.layouts import RECORD_NAME, STAGING_NAME
from barman.restore.marker import MARKER_NAME
from barman.restore.step import StaleTree
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from barman.restore.facts import BackupFacts, PlaceFacts, SourceTree
    from barman.restore.layouts import Layouts

_LOGS = frozenset(("log", "pg_log"))
_DIRECTORIES = re.compile(r"(base|global|pg_[a-z_]+|" + STAGING_NAME + r")\Z")
_FILES = re.compile(
    r"(backup_label|tablespace_map)(\.old)?\Z|backup_manifest(\.\w+)?\Z|postmaster\.(pid|opts)\Z|"
    r"(recovery|standby)\.signal\Z|recovery\.(conf|done)\Z|(postgresql\.auto|recovery|current_logfiles)\.conf\.tmp\Z|"
    r"current_logfiles(\.tmp)?\Z|\.barman-.*|promote\Z|.*\.origin\Z"
)
# What rsync leaves when it is killed: `.NAME.` and six letters.
_TEMPORARY = re.compile(r"\.(.+)\.[A-Za-z0-9]{6}\Z", re.DOTALL)


def kinds_of(source: SourceTree) -> dict[str, str]:
    """Return what each path of a tree of the backup is."""
    return {
        **dict.fromkeys(source.files, FILE),
        **dict.fromkeys(source.links, LINK),
        **dict.fromkeys(source.directories, DIRECTORY),
    }


def stale_trees(
    backup: BackupFacts, layouts: Layouts, places: Mapping[str, PlaceFacts]
) -> tuple[tuple[StaleTree, ...], tuple[str, ...]]:
    """Return what is removed, and the top-level names in the destination that stay although no backup has them."""
    trees: list[StaleTree] = []
    left: tuple[str, ...] = ()
    if backup.data is not None:
        stale, left = _stale_data(backup.data, layouts, places[layouts.destination].content)
        trees.append(stale)
    for link in layouts.links:
        source = backup.tablespaces.get(link.oid)
        if source is not None:
            trees.append(_stale_tablespace(source, link.location, places[link.location].content))
    return tuple(tree for tree in trees if tree.files or tree.directories), left


def _stale_data(source: SourceTree, layouts: Layouts, content: Mapping[str, str]) -> tuple[StaleTree, tuple[str, ...]]:
    kinds = kinds_of(source)
    owned = {name for name in source.directories if "/" not in name} - _LOGS
    root = layouts.destination
    # Other places of this restore are judged by themselves.
    others = [path[len(root) :].strip("/") for path in layouts.directories if is_inside(path, root)]
    kept = {data_directory.CONTROL_FILE, MARKER_NAME}
    # Links of tablespaces are replaced when the new ones are made.
    kept.update(f"{data_directory.TABLESPACE_LINKS}/{link.oid}" for link in layouts.links)
    stale: list[str] = []
    left: list[str] = []
    for name, kind in content.items():
        if name in kept or any(is_inside(name, other) or is_inside(other, name) for other in others):
            continue
        first = name.split("/")[0]
        if name in kinds:
            if kinds[name] != kind:
                stale.append(name)
        elif first in owned or _DIRECTORIES.match(first):
            stale.append(name)
        elif "/" not in name:
            (stale if kind != DIRECTORY and _is_own_file(name, kinds) else left).append(name)
    return _tree(root, stale, content), tuple(name for name in sorted(left) if name not in (*_LOGS, "lost+found"))


def _is_own_file(name: str, kinds: Mapping[str, str]) -> bool:
    found = _TEMPORARY.match(name)
    return name == RECORD_NAME or bool(_FILES.match(name)) or (found is not None and found[1] in kinds)


def _stale_tablespace(source: SourceTree, root: str, content: Mapping[str, str]) -> StaleTree:
    kinds = kinds_of(source)
    owned = {name for name in source.directories if "/" not in name}
    stale = [name for name, kind in content.items() if name.split("/")[0] in owned and kinds.get(name) != kind]
    return _tree(root, stale, content)


def _tree(root: str, names: Iterable[str], content: Mapping[str, str]) -> StaleTree:
    """Return names as they can be removed one after the other: files, then directories from the inside out."""
    names = sorted(names)
    files = tuple(name for name in names if content[name] != DIRECTORY)
    return StaleTree(root, files, tuple(name for name in reversed(names) if content[name] == DIRECTORY))


def judge_delta(backup: BackupFacts, layouts: Layouts, places: Mapping[str, PlaceFacts]) -> list[str]:
    """Return why a cluster at the destination cannot be overwritten: what is not certainly its own is not touched."""
    place = places[layouts.destination]
    refusals = [
        f"what is in '{item.path}' cannot be read: {item.foreign[-1]}" for item in places.values() if item.foreign
    ]
    own = backup.info.systemid
    if place.system_id and own and place.system_id != own:
        refusals.append(
            f"the destination folder '{place.path}' holds another cluster: its system identifier is {place.system_id}, "
            f"that of the backup is {own}"
        )
    trees = [(layouts.destination, backup.data)]
    trees += [(link.location, backup.tablespaces.get(link.oid)) for link in layouts.links]
    for root, source in trees:
        links = [name for name, kind in places[root].content.items() if kind == LINK]
        for name in sorted(set(links) & set(source.directories if source else ())):
            refusals.append(
                f"'{posixpath.join(root, name)}' is a symbolic link where the backup has a directory: move what it "
                "leads to into its place, or restore to an empty directory"
            )
    return refusals


def is_own_tablespace(place: PlaceFacts, oid: int, destination: PlaceFacts) -> bool:
    """Tell whether a directory that is not empty is the tablespace of the cluster that is overwritten."""
    left = destination.marker
    return destination.tablespace_links.get(oid) == place.real or (left is not None and place.path in left.directories)
