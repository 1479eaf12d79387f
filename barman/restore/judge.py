"""What speaks against a restore: the backup, the places it would fill, and the room there is. Pure."""

from __future__ import annotations

from barman.backup.formats import reasons_against_restore
from barman.postgres import data_directory
from barman.restore.facts import is_inside, shown_names
from barman.typing import TYPE_CHECKING
from barman.units import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.restore.facts import BackupFacts, PlaceFacts, WalFacts
    from barman.restore.layouts import Layouts
    from barman.restore.marker import Marker

_OURS = frozenset(("base", "global", "pg_tblspc", "pg_wal", "pg_xlog"))


def judge_backup(backup: BackupFacts) -> list[str]:
    """Return why a backup cannot be restored at all, or not by this version."""
    info = backup.info
    who = f"backup '{info.backup_id}' of server '{info.server_name}'"
    refusals = []
    if not info.is_copy_done:
        refusals.append(
            f"Cannot restore from backup '{info.backup_id}' of server '{info.server_name}': backup status is not DONE"
        )
    if backup.being_deleted:
        refusals.append(f"{who} is being deleted")
    refusals += [f"{who} cannot be restored by this version: {reason}" for reason in reasons_against_restore(info)]
    if info.pg_version is None:
        refusals.append(f"the record of {who} does not say which PostgreSQL version it is of")
    if backup.chain is not None:
        refusals += [f"{who} cannot be restored: {reason}" for reason in backup.chain.refusals]
    if not refusals:
        refusals += _judge_content(backup, who)
    return refusals


def _judge_content(backup: BackupFacts, who: str) -> list[str]:
    if backup.data is None:
        return [f"the data directory of {who} is missing"]
    refusals = [
        f"the control file of {who} is missing"
        for name in (data_directory.CONTROL_FILE,)
        if name not in backup.data.files
    ]
    # Neither pg_basebackup nor rsync leave one: files would be written to wherever it leads.
    refusals += [
        f"{who} is damaged: '{name}' is a symbolic link, not a directory" for name in backup.data.links if name in _OURS
    ]
    damage = backup.damage
    if damage.missing or damage.resized:
        refusals.append(
            f"{who} is damaged: {damage.missing} files of its manifest are missing and {damage.resized} have another "
            f"size, beginning with '{damage.example}'"
        )
    for tablespace in backup.info.tablespaces:
        if backup.tablespaces.get(tablespace.oid) is None and tablespace.oid not in backup.in_place:
            refusals.append(f"tablespace '{tablespace.name}' ({tablespace.oid}) of {who} is missing")
    return refusals


def judge_place(
    place: PlaceFacts, marker: Marker, *, what: str, left: Marker | None, delta: bool | None = None
) -> list[str]:
    """Return why a directory cannot be filled. Nothing that is there is ever removed to make it fit.

    `marker` is what this restore would leave, `left` what an unfinished one left in the destination; `delta` tells for
    a delta restore whether this place may be overwritten.
    """
    path = place.path
    refusals = []
    if place.enclosing_repository is not None:
        refusals.append(f"the {what} '{path}' lies in the backup repository '{place.enclosing_repository}'")
    if place.server_pid is not None:
        refusals.append(f"a PostgreSQL server (process {place.server_pid}) runs in the {what} '{path}'")
    if place.enclosing_cluster is not None:
        refusals.append(f"the {what} '{path}' lies in the data directory '{place.enclosing_cluster}'")
    if place.exists and not place.is_directory:
        refusals.append(f"the {what} '{path}' is not a directory")
    if place.problem:
        refusals.append(f"the {what} cannot be used: {place.problem}")
    if refusals or place.is_free or delta:
        return refusals
    if left is not None and (place.marker is not None or path in left.directories):
        return _judge_unfinished(place, left, marker, what)
    return [
        f"The restore operation cannot proceed because the {what} '{path}' is not empty. It contains "
        f"{shown_names(place.names)}. Choose another directory, or empty this one"
        + ("" if delta is None else "; a delta restore overwrites only a data directory and its own tablespaces")
    ]


def judge_overlap(layouts: Layouts, places: Mapping[str, PlaceFacts]) -> list[str]:
    """Return which places are one directory, or lie in one another, only by way of symbolic links.

    Paths as they are written were judged with the layouts; files of two tablespaces in one directory would overwrite
    each other.
    """
    refusals = []
    named = list(places.values())
    for number, place in enumerate(named):
        for other in named[:number]:
            if not (place.real and other.real) or _are_nested(place.path, other.path):
                continue
            if _are_nested(place.real, other.real):
                what, that = layouts.name_of(place.path), layouts.name_of(other.path)
                refusals.append(
                    f"the {what} '{place.path}' and the {that} '{other.path}' lead to '{place.real}' and "
                    f"'{other.real}', which are one directory or lie in one another"
                )
    return refusals


def _are_nested(one: str, other: str) -> bool:
    return is_inside(one, other) or is_inside(other, one)


def _judge_unfinished(place: PlaceFacts, left: Marker, marker: Marker, what: str) -> list[str]:
    """Judge what an unfinished restore left: one of the same backup is begun anew over its own files."""
    path = place.path
    if (left.server_name, left.backup_id) != (marker.server_name, marker.backup_id):
        return [
            f"the {what} '{path}' holds an unfinished restore of backup '{left.backup_id}' of server "
            f"'{left.server_name}': empty it, or restore that backup to begin it anew"
        ]
    if place.has_control_file:
        return [
            f"The restore operation cannot proceed because the {what} '{path}' is not empty. "
            "It holds a restored cluster"
        ]
    if place.foreign:
        return [
            f"the {what} '{path}' holds an unfinished restore, and files that are not part of it: "
            f"{shown_names(place.foreign)}"
        ]
    return []


def judge_space(backup: BackupFacts, layouts: Layouts, wal: WalFacts, places: Mapping[str, PlaceFacts]) -> list[str]:
    """Return which file systems are too small; what a place holds already is overwritten, so it counts as free."""
    sizes: list[tuple[str, int]] = [(layouts.destination, backup.data.size if backup.data else 0)]
    for link in layouts.links:
        tree = backup.tablespaces.get(link.oid)
        sizes.append((link.location, tree.size if tree else 0))
    if layouts.delivers:
        inside = is_inside(layouts.wal_directory, layouts.destination)
        sizes.append((layouts.destination if inside else layouts.wal_directory, wal.size))
    needed: dict[int, int] = {}
    for path, size in sizes:
        place = places[path]
        needed[place.device] = needed.get(place.device, 0) + size
    for place in places.values():
        needed[place.device] = needed.get(place.device, 0) - place.used
    free = {place.device: (place.free, place.path) for place in places.values() if place.free is not None}
    return [
        f"not enough space for '{free[device][1]}': {format_size(size)} needed, {format_size(free[device][0])} free"
        for device, size in needed.items()
        if device in free and size > free[device][0]
    ]
