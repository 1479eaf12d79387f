"""Where everything of one server lives on disk: the only module that spells a path or a file name of the catalog.

Source of the names: `docs/reference/catalog.md`. A name added here must be safe for hand-back, that is, the original
must neither read it as something else nor trip over it: in `meta/` that is any name which does not match
`*-backup.info`.
"""

import os
from collections.abc import Iterable

from barman.postgres.wal_name import HistoryName, hash_directory
from barman.values import dataclass

RECORD_SUFFIX = "-backup.info"
KEEP_SUFFIX = "-keep"
UPSTREAM_DELETE_SUFFIX = "-delete_this"
DELETE_PREFIX = "."
DELETE_SUFFIX = ".deleting"
TIER_SUFFIX = ".tier"


@dataclass(frozen=True, slots=True)
class Layout:
    """The directories of one server, as configured, and every path below them.

    Only `data_directory` looks at the disk.
    """

    server_name: str
    barman_home: str
    backup_directory: str
    basebackups_directory: str
    wals_directory: str
    incoming_directory: str
    streaming_directory: str
    errors_directory: str
    xlogdb_directory: str
    lock_directory: str

    @property
    def meta_directory(self) -> str:
        """Records, annotations and markers; not configurable."""
        return os.path.join(self.backup_directory, "meta")

    def directories(self) -> tuple[str, ...]:
        """Every directory that a working server has, parents first and without repetition."""
        return tuple(
            dict.fromkeys(
                (
                    self.backup_directory,
                    self.basebackups_directory,
                    self.wals_directory,
                    self.xlogdb_directory,
                    self.incoming_directory,
                    self.streaming_directory,
                    self.errors_directory,
                    self.meta_directory,
                )
            )
        )

    # --- one backup

    def backup_directory_of(self, backup_id: str) -> str:
        """`base/ID`."""
        return os.path.join(self.basebackups_directory, backup_id)

    def is_version_1(self, backup_id: str) -> bool:
        """Whether the backup was laid out by a Barman before 1.3: `base/ID/pgdata` exists. Looks at the disk."""
        return os.path.isdir(os.path.join(self.backup_directory_of(backup_id), "pgdata"))

    def data_directory(self, backup_id: str) -> str:
        """The copy of PGDATA: `base/ID/data`, or `base/ID/pgdata` where that exists (layout version 1)."""
        name = "pgdata" if self.is_version_1(backup_id) else "data"
        return os.path.join(self.backup_directory_of(backup_id), name)

    def tablespace_directory(self, backup_id: str, oid: int) -> str:
        """`base/ID/OID`, or `base/ID/pgdata/pg_tblspc/OID` in layout version 1."""
        base = self.backup_directory_of(backup_id)
        if self.is_version_1(backup_id):
            return os.path.join(base, "pgdata", "pg_tblspc", str(oid))
        return os.path.join(base, str(oid))

    def backup_manifest(self, backup_id: str) -> str:
        """The manifest inside the data directory."""
        return os.path.join(self.data_directory(backup_id), "backup_manifest")

    def backup_info(self, backup_id: str) -> str:
        """The record, `meta/ID-backup.info`."""
        return os.path.join(self.meta_directory, backup_id + RECORD_SUFFIX)

    def legacy_backup_info(self, backup_id: str) -> str:
        """`base/ID/backup.info`: the record before 3.13.2, now a copy for repmgr and for monitoring scripts."""
        return os.path.join(self.basebackups_directory, backup_id, "backup.info")

    def keep(self, backup_id: str) -> str:
        """The keep annotation."""
        return os.path.join(self.meta_directory, backup_id + KEEP_SUFFIX)

    def legacy_keep(self, backup_id: str) -> str:
        """The keep annotation before 3.13.3."""
        return os.path.join(self.basebackups_directory, backup_id, "annotations", "keep")

    def tier_marker(self, backup_id: str) -> str:
        """Ours: a retention tier has set the keep annotation. A dot file, which the original never looks at."""
        return os.path.join(self.meta_directory, "." + backup_id + TIER_SUFFIX)

    def delete_marker(self, backup_id: str) -> str:
        """Ours: this backup is being deleted. A dot file, which the original never looks at."""
        return os.path.join(self.meta_directory, DELETE_PREFIX + backup_id + DELETE_SUFFIX)

    def upstream_delete_marker(self, backup_id: str) -> str:
        """The original's `delete_this` annotation."""
        return os.path.join(self.meta_directory, backup_id + UPSTREAM_DELETE_SUFFIX)

    # --- the server

    @property
    def identity(self) -> str:
        """System identifier and major version of the cluster that is backed up."""
        return os.path.join(self.backup_directory, "identity.json")

    @property
    def active_model(self) -> str:
        """Name of the active configuration model."""
        return os.path.join(self.backup_directory, ".active-model.auto")

    @property
    def primary_info(self) -> str:
        """Passive nodes: the last `sync-info` of the primary."""
        return os.path.join(self.backup_directory, "primary.info")

    @property
    def sync_wals_info(self) -> str:
        """Passive nodes: how far the WAL was copied."""
        return os.path.join(self.wals_directory, "sync-wals.info")

    def sync_state(self, step: str) -> str:
        """Ours, passive nodes: how one step of the sync went. May be lost at any time."""
        return os.path.join(self.meta_directory, f".sync-{step}.json")

    @property
    def sync_staging(self) -> str:
        """Ours, passive nodes: where WAL files arrive. No directory that the original looks into."""
        return os.path.join(self.backup_directory, ".sync-wals")

    # --- WAL

    def hash_directory(self, name: str) -> str:
        """The directory in which a WAL file belongs; the WAL root for history files. InvalidWalName if it is none."""
        part = hash_directory(name)
        return os.path.join(self.wals_directory, part) if part else self.wals_directory

    def wal_path(self, name: str) -> str:
        """Where the WAL file of that name is archived.

        InvalidWalName if it is none, so no name becomes a foreign path.
        """
        return os.path.join(self.hash_directory(name), name)

    def history(self, timeline: int) -> str:
        """The archived history file of a timeline."""
        return os.path.join(self.wals_directory, HistoryName(timeline).name)

    @property
    def xlogdb(self) -> str:
        """The WAL index, `S-xlog.db`."""
        return os.path.join(self.xlogdb_directory, f"{self.server_name}-xlog.db")

    @property
    def legacy_xlogdb(self) -> str:
        """The name of the WAL index before 3.13; always in the WAL directory."""
        return os.path.join(self.wals_directory, "xlog.db")

    @property
    def wal_index(self) -> str:
        """A cache derived from the WAL index; may be deleted at any time.

        A dot file in `meta/`: the original ignores it.
        """
        return os.path.join(self.meta_directory, ".wal-index")

    @property
    def wal_index_sorted(self) -> str:
        """The segments of a WAL index that is hopelessly out of order, sorted; as disposable as the cache."""
        return os.path.join(self.meta_directory, ".wal-index-sorted")

    @property
    def wal_digests(self) -> str:
        """Digests of encrypted WAL files, by which duplicates are known."""
        return os.path.join(self.meta_directory, ".wal-digests")

    @property
    def wal_runs(self) -> str:
        """What the directories of the WAL archive held when they last changed; as disposable as the cache."""
        return os.path.join(self.meta_directory, ".wal-runs")

    @property
    def receiver_state(self) -> str:
        """Ours: what a running receiver was started with. May be lost at any time."""
        return os.path.join(self.meta_directory, ".receive-wal")

    # --- locks

    def lock(self, name: str) -> str:
        """The lock file `.S-NAME.lock`."""
        return os.path.join(self.lock_directory, f".{self.server_name}-{name}.lock")

    def global_lock(self, name: str) -> str:
        """The lock file `.NAME.lock`, which belongs to no server."""
        return os.path.join(self.lock_directory, f".{name}.lock")

    def record_ids(self, names: Iterable[str]) -> list[str]:
        """What precedes `-backup.info` in those file names of `meta/` that are records, as the original reads them."""
        return [
            name.split(RECORD_SUFFIX, 1)[0]
            for name in names
            if name.endswith(RECORD_SUFFIX) and not name.startswith(".")
        ]
