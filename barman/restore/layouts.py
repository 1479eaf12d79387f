"""Where the parts of a restored cluster go. Pure."""

from __future__ import annotations

import posixpath

from barman.postgres import data_directory
from barman.postgres.version import PgVersion
from barman.restore.combine import is_of_stage
from barman.restore.facts import is_inside
from barman.restore.marker import MARKER_NAME
from barman.restore.tablespaces import judge_locations, place_tablespaces
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from barman.restore.facts import BackupFacts
    from barman.restore.request import RestoreRequest
    from barman.restore.step import TablespaceLink
    from barman.restore.target import RecoveryTarget

STAGING_NAME = "barman_wal"
RECORD_NAME = ".barman-recover.info"
HELD_CONTROL_FILE = ".barman-unpack-control"
"""Where the control file of an archive waits in the destination until everything else is in place."""


@dataclass(frozen=True, slots=True)
class Layouts:
    """Where the parts of a restored cluster go."""

    destination: str
    wal_directory: str
    delivers: bool
    links: tuple[TablespaceLink, ...]

    @property
    def directories(self) -> tuple[str, ...]:
        """Return the directories of the tablespaces, and the WAL directory if it lies outside the destination."""
        found = [link.location for link in self.links]
        if self.delivers and not is_inside(self.wal_directory, self.destination):
            found.append(self.wal_directory)
        return tuple(found)

    def name_of(self, path: str) -> str:
        """Return what a directory is for, in words for messages."""
        if path == self.destination:
            return "destination folder"
        for link in self.links:
            if link.location == path:
                return f"directory of tablespace '{link.name}'"
        return "staging WAL directory"


def is_recovery_steered(request: RestoreRequest, target: RecoveryTarget) -> bool:
    """Tell whether WAL goes to a directory of its own: the recovery has a target and WAL is not fetched."""
    return target.is_point_in_time and not request.get_wal


def lay_out(request: RestoreRequest, backup: BackupFacts, target: RecoveryTarget, refusals: list[str]) -> Layouts:
    """Return where everything goes; what cannot be goes to `refusals`."""
    destination = request.destination
    if ":" in destination:
        refusals.append(f"The destination directory parameter cannot contain the ':' character ('{destination}')")
    if any(mark in destination for mark in "\n\r"):
        refusals.append(f"the destination directory cannot contain a line end: {destination!r}")
    if posixpath.dirname(destination) == destination:
        refusals.append(f"the destination cannot be the root directory '{destination}'")
    steered = is_recovery_steered(request, target)
    version = backup.info.pg_version or PgVersion(0)
    if steered:
        wal_directory = request.staging_wal_directory or posixpath.join(destination, STAGING_NAME)
    else:
        wal_directory = posixpath.join(destination, version.wal_directory)
    links = place_tablespaces(request.tablespaces, backup.info, backup.in_place, refusals)
    refusals += judge_locations(links, destination, backup)
    if steered and request.staging_wal_directory:
        refusals += _judge_staging(wal_directory, destination, links, backup)
    name = request.recovery_conf_filename
    if name is not None and (posixpath.basename(name) != name or name in ("", ".", "..") or not name.isprintable()):
        refusals.append(f"the recovery configuration file must be a bare file name, not {name!r}")
    return Layouts(destination, wal_directory, not request.get_wal, links)


def _judge_staging(path: str, destination: str, links: Sequence[TablespaceLink], backup: BackupFacts) -> list[str]:
    """Refuse a WAL directory whose removal at the end of recovery would take something else along."""
    what = f"the staging WAL directory '{path}'"
    if any(mark in path for mark in "\n\r"):
        return [f"{what} cannot contain a line end"]
    if is_inside(destination, path):
        return [f"{what} is, or contains, the destination: it is removed when the recovery ends"]
    taken = [link for link in links if is_inside(path, link.location) or is_inside(link.location, path)]
    if taken:
        return [f"{what} and tablespace '{taken[0].name}' cannot lie in one another"]
    if is_inside(path, destination) and backup.data is not None:
        first = path[len(destination) :].strip("/").split("/")[0]
        names = {name.split("/")[0] for name in (*backup.data.directories, *backup.data.files)}
        if first in names:
            return [f"{what} is a part of the data directory: it is removed when the recovery ends"]
    return []


def known_paths(backup: BackupFacts, layouts: Layouts, tree: str) -> Callable[[str], bool]:
    """Return a test for relative paths in `tree`: whether a restore of this backup makes such a file."""
    if tree == layouts.wal_directory:
        return _is_wal_file
    trees = {link.location: backup.tablespaces.get(link.oid) for link in layouts.links}
    source = trees.get(tree) if tree != layouts.destination else backup.data
    if source is None:
        return lambda _: False
    ours = {*source.files, *source.links, *source.directories}
    combined = backup.chain is not None
    if tree != layouts.destination:
        return lambda relative: relative in ours or (combined and is_of_stage(relative))
    inner = [path[len(tree) :].strip("/") for path in (layouts.wal_directory, *layouts.directories)]

    def known(relative: str) -> bool:
        if relative in ours or relative in _MADE_BY_US or relative.endswith(".origin"):
            return True
        if combined and is_of_stage(relative):
            return True
        if relative.startswith((data_directory.TABLESPACE_LINKS + "/", data_directory.MANIFEST)):
            return True
        return any(is_inside(relative, path) or is_inside(path, relative) for path in inner if path)

    return known


_MADE_BY_US = frozenset(
    (
        RECORD_NAME,
        MARKER_NAME,
        HELD_CONTROL_FILE,
        "recovery.signal",
        "standby.signal",
        "recovery.conf",
        "postgresql.auto.conf",
        "lost+found",
    )
)


def _is_wal_file(relative: str) -> bool:
    return relative == "archive_status" or "/" not in relative.replace("archive_status/", "", 1)
