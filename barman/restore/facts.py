"""Everything a restore plan is made from, as values; `gather` reads them. Nothing is changed here."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING
from barman.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.catalog.backup_info import BackupInfo
    from barman.postgres.wal_name import WalSegment
    from barman.restore.combine import ChainFacts
    from barman.restore.marker import Marker
    from barman.restore.partial import PartialFacts
    from barman.restore.wals import WalArchive

_NAMES_SHOWN = 5
DIRECTORY, LINK, FILE = "directory", "link", "file"
"""What an entry of a place is."""


@dataclass(frozen=True, slots=True)
class PlaceFacts:
    """What is at a path that a restore wants to fill, and around it.

    `names` are the entries, dot files included, but not `lost+found` of a mount point; `problem` is why the path cannot
    be looked at or written to; `real` is the path without symbolic links; `foreign` are files in it that a restore of
    this backup would not have made (looked for only where an unfinished restore was found); `used` the bytes that it
    holds already. Looked at only before a delta restore: `content`, what every relative path in it is; `system_id`, the
    cluster that its control file is of; `tablespace_links`, where `pg_tblspc/OID` really leads.
    """

    path: str
    real: str = ""
    exists: bool = False
    is_directory: bool = False
    names: tuple[str, ...] = ()
    problem: str = ""
    marker: Marker | None = None
    has_control_file: bool = False
    server_pid: int | None = None
    enclosing_cluster: str | None = None
    enclosing_repository: str | None = None
    device: int = 0
    free: int | None = None
    used: int = 0
    foreign: tuple[str, ...] = ()
    marker_text: str = ""
    content: Mapping[str, str] = field(default_factory=dict)
    system_id: str = ""
    tablespace_links: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_cluster(self) -> bool:
        """Tell whether its content is that of a data directory."""
        return self.content.get("PG_VERSION") == FILE and self.content.get("global") == DIRECTORY

    @property
    def is_free(self) -> bool:
        """Tell whether nothing is there: the path is missing, or an empty directory."""
        return not self.exists or (self.is_directory and not self.names)


@dataclass(frozen=True, slots=True)
class SourceTree:
    """One directory of the backup: `files` are relative paths with sizes, `links` and `directories` relative paths.

    With an `archive` they are in that file; of its directories only those are known that hold files.
    """

    root: str
    files: Mapping[str, int] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    archive: str = ""

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(self.files.values())


@dataclass(frozen=True, slots=True)
class Damage:
    """What the manifest lists and the backup does not have; `example` is the first such file."""

    missing: int = 0
    resized: int = 0
    example: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class WalFacts:
    """What a look at the chosen WAL files showed: those that cannot be delivered, and why; and their decoded size."""

    refusals: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """The WAL archive as far as a restore of one backup looks at it, and the unfinished segments it may end with."""

    archive: WalArchive
    partials: Mapping[WalSegment, PartialFacts] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    history_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """One backup on disk; `tablespaces` by oid, None when the directory is missing.

    Of an incremental one the trees list what will be there when its `chain` is combined.
    """

    info: BackupInfo
    record: str
    being_deleted: bool
    data: SourceTree | None
    tablespaces: Mapping[int, SourceTree | None] = field(default_factory=dict)
    damage: Damage = field(default_factory=Damage)
    chain: ChainFacts | None = None

    @property
    def is_archived(self) -> bool:
        """Tell whether the files are in archives."""
        return self.data is not None and bool(self.data.archive)

    @property
    def in_place(self) -> frozenset[int]:
        """Return the tablespaces that live inside the data directory (PostgreSQL's in-place tablespaces)."""
        if self.data is None:
            return frozenset()
        inside = set(self.data.directories)
        return frozenset(item.oid for item in self.info.tablespaces if f"pg_tblspc/{item.oid}" in inside)


def shown_names(names: tuple[str, ...]) -> str:
    """Return a few names for a message."""
    shown = ", ".join(f"'{name}'" for name in names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"


def is_inside(path: str, directory: str) -> bool:
    """Tell whether a path is a directory or lies below it; both are absolute and normal."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")
