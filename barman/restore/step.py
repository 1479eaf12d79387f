"""The steps of a restore as values. Their performers live in `restore.steps` and are found by type. Pure."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.postgres.recovery_settings import RecoverySettings
    from barman.postgres.version import PgVersion
    from barman.restore.facts import SourceTree
    from barman.restore.marker import Marker


@dataclass(frozen=True, slots=True)
class PrepareDestination:
    """Make the directories, mark them as unfinished, make sure that nothing in them can be started.

    `seen` is the text of the marker that was found when the destination was judged, `had_control_file` whether it could
    be started: on another host nothing else tells that nobody came in between.
    """

    destination: str
    directories: tuple[str, ...]
    marker: Marker
    seen: str = ""
    had_control_file: bool = False

    def describe(self) -> str:
        """Say what the step does."""
        return f"prepare '{self.destination}'" + "".join(f" and '{path}'" for path in self.directories)


@dataclass(frozen=True, slots=True)
class StaleTree:
    """Files, links and directories below `root` that the backup does not have, directories from the inside out."""

    root: str
    files: tuple[str, ...]
    directories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveStale:
    """Remove from a cluster that is overwritten what the backup does not have: exactly these paths."""

    trees: tuple[StaleTree, ...]

    def describe(self) -> str:
        """Say what the step does."""
        return "remove what the backup does not have from " + ", ".join(f"'{tree.root}'" for tree in self.trees)


@dataclass(frozen=True, slots=True)
class TreeCopy:
    """One source directory and where it goes; `bandwidth_limit` in kB/s, for another host."""

    source: SourceTree
    target: str
    bandwidth_limit: int | None = None


@dataclass(frozen=True, slots=True)
class CopyTrees:
    """Copy the files of the backup, all but the control file.

    With `compare` only those whose content differs from what is there. A file that differs is replaced, not written
    into, unless the file that is there is of this restore too (`in_place`).
    """

    trees: tuple[TreeCopy, ...]
    jobs: int
    compare: bool = False
    in_place: bool = True

    def describe(self) -> str:
        """Say what the step does."""
        return "copy " + ", ".join(f"'{tree.source.root}' to '{tree.target}'" for tree in self.trees)


@dataclass(frozen=True, slots=True)
class TablespaceLink:
    """A tablespace and where it lives now."""

    oid: int
    name: str
    location: str


@dataclass(frozen=True, slots=True)
class LinkTablespaces:
    """Point the links in `pg_tblspc` to the restored tablespaces."""

    destination: str
    links: tuple[TablespaceLink, ...]

    def describe(self) -> str:
        """Say what the step does."""
        return "link tablespaces " + ", ".join(f"{link.oid} to '{link.location}'" for link in self.links)


@dataclass(frozen=True, slots=True)
class RecordOrigin:
    """Leave the record of the backup in the destination and put its manifest aside."""

    destination: str
    backup_id: str
    record: str

    def describe(self) -> str:
        """Say what the step does."""
        return f"record that '{self.destination}' comes from backup '{self.backup_id}'"


@dataclass(frozen=True, slots=True)
class WalDelivery:
    """One archived file and the name it is delivered under; `size` is what it must have when decoded, None if any."""

    source: str
    name: str
    size: int | None


@dataclass(frozen=True, slots=True)
class DeliverWal:
    """Decode archived files into a WAL directory; with `mark_archived` the server will not archive them again."""

    directory: str
    files: tuple[WalDelivery, ...]
    mark_archived: bool
    partial: bool
    jobs: int

    def describe(self) -> str:
        """Say what the step does."""
        return f"deliver {len(self.files)} WAL files to '{self.directory}'"


@dataclass(frozen=True, slots=True)
class WriteSettings:
    """Disable what would make the copy act as the old cluster, then write the settings of the recovery.

    `source` is the data directory of the backup: what the destination, on another host, has by now.
    """

    source: str
    destination: str
    version: PgVersion
    settings_file: str
    recovery: RecoverySettings | None

    def describe(self) -> str:
        """Say what the step does."""
        return f"write recovery settings to '{self.settings_file}' in '{self.destination}'"


@dataclass(frozen=True, slots=True)
class SyncPlaces:
    """Make everything in these directories durable."""

    directories: tuple[str, ...]
    jobs: int

    def describe(self) -> str:
        """Say what the step does."""
        return "sync " + ", ".join(f"'{path}'" for path in self.directories)


@dataclass(frozen=True, slots=True)
class LandControlFile:
    """Copy the control file: from here on the cluster can be started. Then drop the marker."""

    source: str
    destination: str

    def describe(self) -> str:
        """Say what the step does."""
        return f"copy the control file into '{self.destination}'"


Step = (
    PrepareDestination
    | RemoveStale
    | CopyTrees
    | LinkTablespaces
    | RecordOrigin
    | DeliverWal
    | WriteSettings
    | SyncPlaces
    | LandControlFile
)
