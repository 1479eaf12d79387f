"""Where the tablespaces of a restored cluster go. Pure."""

from __future__ import annotations

import posixpath

from barman.restore.facts import is_inside
from barman.restore.step import TablespaceLink
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.catalog.backup_info import BackupInfo
    from barman.restore.facts import BackupFacts


def parse_rules(rules: Sequence[str], backup: BackupInfo, refusals: list[str]) -> dict[str, str]:
    """Return name → location of the `NAME:LOCATION` rules; what is wrong with them goes to `refusals`."""
    known = {tablespace.name for tablespace in backup.tablespaces}
    relocated: dict[str, str] = {}
    for rule in rules:
        name, colon, location = rule.partition(":")
        if not colon or not name or not posixpath.isabs(location) or any(mark in location for mark in "\0\n\r"):
            refusals.append(f"Invalid tablespace relocation rule '{rule}': expected NAME:LOCATION, an absolute path")
        elif name not in known:
            names = ", ".join(f"'{item}'" for item in sorted(known)) or "none"
            refusals.append(f"Invalid tablespace name '{name}' for backup '{backup.backup_id}': it has {names}")
        elif relocated.get(name, posixpath.normpath(location)) != posixpath.normpath(location):
            refusals.append(f"tablespace '{name}' is sent to two places: '{relocated[name]}' and '{location}'")
        else:
            relocated[name] = posixpath.normpath(location)
    return relocated


def place_tablespaces(
    rules: Sequence[str], backup: BackupInfo, in_place: frozenset[int], refusals: list[str]
) -> tuple[TablespaceLink, ...]:
    """Return where every tablespace goes; those that live inside the data directory are copied with it."""
    relocated = parse_rules(rules, backup, refusals)
    links = []
    for tablespace in backup.tablespaces:
        if tablespace.oid in in_place:
            if tablespace.name in relocated:
                refusals.append(
                    f"tablespace '{tablespace.name}' lives inside the data directory and cannot be relocated"
                )
            continue
        location = relocated.get(tablespace.name, tablespace.location)
        if not posixpath.isabs(location):
            refusals.append(
                f"tablespace '{tablespace.name}' was at '{location}', which is not an absolute path: "
                f"say where it goes with --tablespace {tablespace.name}:LOCATION"
            )
            continue
        links.append(TablespaceLink(tablespace.oid, tablespace.name, posixpath.normpath(location)))
    return tuple(links)


def judge_locations(links: Sequence[TablespaceLink], destination: str, backup: BackupFacts) -> list[str]:
    """Return why tablespaces and data directory cannot lie where they are wanted."""
    refusals = []
    occupied = _occupied(backup)
    for number, link in enumerate(links):
        where = f"tablespace '{link.name}' cannot be restored to '{link.location}'"
        if is_inside(destination, link.location):
            refusals.append(f"{where}: that is, or contains, the destination directory")
            continue
        if is_inside(link.location, destination):
            relative = link.location[len(destination) :].strip("/")
            if relative in occupied or relative.split("/")[0] in occupied:
                refusals.append(f"{where}: the data directory has files there")
        for other in links[:number]:
            if is_inside(link.location, other.location) or is_inside(other.location, link.location):
                refusals.append(f"{where}: tablespace '{other.name}' goes to '{other.location}'")
    return refusals


def _occupied(backup: BackupFacts) -> set[str]:
    data = backup.data
    if data is None:
        return set()
    return {*data.files, *data.links, *data.directories}
