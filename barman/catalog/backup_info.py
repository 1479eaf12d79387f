"""The record of one backup. Pure.

Attributes have the key names of `backup.info`, so that a search for a key finds every use of it.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from barman.catalog.backup_id import BackupId
from barman.postgres.lsn import Lsn
from barman.postgres.version import PgVersion
from barman.typing import Any, Final
from barman.values import dataclass, field

DEFAULT_SEGMENT_SIZE: Final = 16 * 1024 * 1024


class BackupStatus:
    """The status words of a record. Plain strings: they compare and print as they are stored."""

    EMPTY: Final = "EMPTY"
    STARTED: Final = "STARTED"
    WAITING_FOR_WALS: Final = "WAITING_FOR_WALS"
    DONE: Final = "DONE"
    FAILED: Final = "FAILED"
    SYNCING: Final = "SYNCING"

    ALL: Final = frozenset((EMPTY, STARTED, WAITING_FOR_WALS, DONE, FAILED, SYNCING))
    COPY_DONE: Final = frozenset((WAITING_FOR_WALS, DONE))
    NOT_EMPTY: Final = frozenset((STARTED, WAITING_FOR_WALS, DONE, FAILED, SYNCING))
    ARCHIVING: Final = frozenset((STARTED, WAITING_FOR_WALS, DONE, SYNCING))
    """Backups whose timelines still need WAL."""


class BackupType:
    """What a backup is, derived from `mode` and `parent_backup_id`."""

    FULL: Final = "full"
    INCREMENTAL: Final = "incremental"
    RSYNC: Final = "rsync"
    SNAPSHOT: Final = "snapshot"


@dataclass(frozen=True, slots=True)
class Tablespace:
    """One tablespace of the cluster that was backed up."""

    name: str
    oid: int
    location: str


class StoredMapping(Mapping[str, Any]):
    """A dictionary of a record that is parsed when it is first looked into: then CorruptRecord is raised for damaged
    text.

    Copy statistics are the longest value of a record and hardly ever read; no restore depends on them.
    """

    __slots__ = ("_load", "_value", "text")

    def __init__(self, text: str, load: Callable[[str], dict[str, Any]]) -> None:
        self.text = text
        self._load = load
        self._value: dict[str, Any] | None = None

    def _loaded(self) -> dict[str, Any]:
        if self._value is None:
            self._value = self._load(self.text)
        return self._value

    def __getitem__(self, key: str) -> Any:
        return self._loaded()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def __repr__(self) -> str:
        return repr(self._loaded())


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """One record. Change it with `replace`, then `BackupStore.save` it.

    `extra` holds keys we do not know, verbatim. `source` holds the texts that were read, by key: a value that did not
    change is written back exactly as it was found. `comments` are the comment lines.
    """

    backup_id: BackupId
    server_name: str
    status: str = BackupStatus.EMPTY
    mode: str | None = None
    backup_name: str | None = None
    systemid: str | None = None
    version: int | None = None
    pgdata: str | None = None
    timeline: int | None = None
    xlog_segment_size: int = DEFAULT_SEGMENT_SIZE
    begin_time: datetime | None = None
    begin_wal: str | None = None
    begin_xlog: Lsn | None = None
    begin_offset: int | None = None
    end_time: datetime | None = None
    end_wal: str | None = None
    end_xlog: Lsn | None = None
    end_offset: int | None = None
    size: int | None = None
    deduplicated_size: int | None = None
    cluster_size: int | None = None
    tablespaces: tuple[Tablespace, ...] = ()
    parent_backup_id: BackupId | None = None
    children_backup_ids: tuple[BackupId, ...] = ()
    compression: str | None = None
    encryption: str | None = None
    error: str | None = None
    backup_label: str | None = None
    config_file: str | None = None
    hba_file: str | None = None
    ident_file: str | None = None
    included_files: tuple[str, ...] = ()
    data_checksums: str | None = None
    summarize_wal: str | None = None
    copy_stats: Mapping[str, Any] | None = None
    snapshots_info: Mapping[str, Any] | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    comments: tuple[str, ...] = field(default=(), repr=False)
    source: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_copy_done(self) -> bool:
        """Whether all data are here: DONE or WAITING_FOR_WALS."""
        return self.status in BackupStatus.COPY_DONE

    @property
    def is_incremental(self) -> bool:
        """Whether this backup can be restored only together with its parents."""
        return self.backup_type == BackupType.INCREMENTAL

    @property
    def counts_for_redundancy(self) -> bool:
        """Whether minimum redundancy counts this backup: DONE, and restorable alone."""
        return self.status == BackupStatus.DONE and not self.is_incremental

    @property
    def backup_type(self) -> str:
        """One of the words of BackupType."""
        mode = self.mode or ""
        if mode.startswith("snapshot"):
            return BackupType.SNAPSHOT
        if mode.startswith("rsync"):
            return BackupType.RSYNC
        return BackupType.INCREMENTAL if self.parent_backup_id else BackupType.FULL

    @property
    def pg_version(self) -> PgVersion | None:
        """Version of the server that was backed up."""
        return None if self.version is None else PgVersion(self.version)
