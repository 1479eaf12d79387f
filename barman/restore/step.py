"""The steps of a restore as values. Their performers live in `restore.steps` and are found by type. Pure."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.postgres.programs import Program
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
    into, unless the file that is there is of this restore too (`in_place`). With `made` the trees were made by a step
    before, and only then it is known what exactly they hold.
    """

    trees: tuple[TreeCopy, ...]
    jobs: int
    compare: bool = False
    in_place: bool = True
    made: bool = False

    def describe(self) -> str:
        """Say what the step does."""
        return "copy " + ", ".join(f"'{tree.source.root}' to '{tree.target}'" for tree in self.trees)


@dataclass(frozen=True, slots=True)
class UnpackTrees:
    """Unpack the archives of the backup, the control file to where it waits as `control`; the data directory is last.

    For another host they are unpacked into the `stage` on this one, and its content is sent; with `compare` only files
    that differ from what is there.
    """

    trees: tuple[TreeCopy, ...]
    jobs: int
    control: str
    stage: str | None = None
    compare: bool = False

    def describe(self) -> str:
        """Say what the step does."""
        return "unpack " + ", ".join(f"'{tree.source.archive}' to '{tree.target}'" for tree in self.trees)


@dataclass(frozen=True, slots=True)
class ChainMember:
    """One backup of a chain as pg_combinebackup reads it: its data directory, and those of its tablespaces by oid."""

    backup_id: str
    data: str
    tablespaces: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class CombineBackups:
    """Let pg_combinebackup make one backup of a chain, root first; `tablespaces` pairs those of the last with results.

    Members that are archives are unpacked before, on this host, whichever the destination is on.
    `leftovers` are what an unfinished restore may have left where the result goes, and so do the results themselves.
    """

    backup_id: str
    program: Program
    unpacking: tuple[UnpackTrees, ...]
    members: tuple[ChainMember, ...]
    output: str
    tablespaces: tuple[tuple[str, str], ...]
    mode: str
    leftovers: tuple[str, ...]

    def describe(self) -> str:
        """Say what the step does."""
        names = ", ".join(member.backup_id for member in self.members)
        return f"combine backups {names} in '{self.output}'"


@dataclass(frozen=True, slots=True)
class MoveTrees:
    """Move what was combined inside the destination to its places; the control file waits as `control`."""

    trees: tuple[TreeCopy, ...]
    control: str

    def describe(self) -> str:
        """Say what the step does."""
        return "move " + ", ".join(f"'{tree.source.root}' to '{tree.target}'" for tree in self.trees)


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
    """One archived file and the name it is delivered under; `size` is what it must have when decoded, None if any.

    Of an unfinished segment at least `content` bytes must be there, and `later_paths` are where it is once it is
    finished.
    """

    source: str
    name: str
    size: int | None
    content: int = 0
    later_paths: tuple[str, ...] = ()


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
    """Copy the control file: from here on the cluster can be started. Then drop the marker.

    With `moves` the source is a file of the destination that only waits there.
    """

    source: str
    destination: str
    moves: bool = False

    def describe(self) -> str:
        """Say what the step does."""
        return f"copy the control file into '{self.destination}'"


Step = (
    PrepareDestination
    | RemoveStale
    | CombineBackups
    | MoveTrees
    | CopyTrees
    | UnpackTrees
    | LinkTablespaces
    | RecordOrigin
    | DeliverWal
    | WriteSettings
    | SyncPlaces
    | LandControlFile
)
