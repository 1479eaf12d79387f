"""CatalogView: the catalog of one server at one moment, as plain values. Pure; the input of every plan."""

from collections.abc import Callable, Iterable, Mapping

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.errors import CorruptRecord
from barman.values import dataclass, field


@dataclass(frozen=True, slots=True)
class CatalogView:
    """`backups` has ascending ids. `keep` holds the targets of kept backups, `corrupt` the errors of unreadable
    records.

    `deleting` are the ids whose data are being removed (our marker, record or not); `upstream_deleting` those which
    the original meant to delete: its marker is also left by a deletion that a hook vetoed.

    What the records do not tell is empty in a plain snapshot: `unrestorable` says why backups whose record is DONE
    cannot be restored (`wal.restorable` looks), `tiered` are those that are kept because a retention tier wanted them.
    """

    backups: Mapping[BackupId, BackupInfo]
    keep: Mapping[BackupId, str] = field(default_factory=dict)
    corrupt: Mapping[BackupId, CorruptRecord] = field(default_factory=dict)
    server_name: str = ""
    deleting: frozenset[BackupId] = frozenset()
    upstream_deleting: frozenset[BackupId] = frozenset()
    unrestorable: Mapping[BackupId, str] = field(default_factory=dict)
    tiered: frozenset[BackupId] = frozenset()

    @property
    def ids(self) -> list[BackupId]:
        """All readable ids, oldest first."""
        return sorted(self.backups)

    def with_status(self, statuses: Iterable[str]) -> list[BackupInfo]:
        """The backups in one of those states, oldest first."""
        wanted = frozenset(statuses)
        return [self.backups[i] for i in self.ids if self.backups[i].status in wanted]

    @property
    def copy_done(self) -> list[BackupInfo]:
        """DONE and WAITING_FOR_WALS, oldest first."""
        return self.with_status(BackupStatus.COPY_DONE)

    @property
    def done(self) -> list[BackupInfo]:
        """DONE, oldest first."""
        return self.with_status((BackupStatus.DONE,))

    def latest(self) -> BackupInfo | None:
        """The newest backup whose data are complete."""
        return max(self.copy_done, key=_backup_id, default=None)

    def oldest(self) -> BackupInfo | None:
        """The oldest backup whose data are complete."""
        return min(self.copy_done, key=_backup_id, default=None)

    def previous(self, backup_id: str, statuses: Iterable[str] = BackupStatus.COPY_DONE) -> BackupInfo | None:
        """The nearest older backup in one of those states; the id itself need not exist."""
        return self._nearest(statuses, lambda other: other < backup_id, newest=True)

    def next(self, backup_id: str, statuses: Iterable[str] = BackupStatus.COPY_DONE) -> BackupInfo | None:
        """The nearest newer backup in one of those states; the id itself need not exist."""
        return self._nearest(statuses, lambda other: other > backup_id, newest=False)

    def redundancy(self) -> int:
        """How many backups count for minimum redundancy: DONE, and restorable alone."""
        return sum(self.counts(info) for info in self.backups.values())

    def counts(self, info: BackupInfo) -> bool:
        """Whether minimum redundancy counts a backup, as far as this view can tell."""
        return info.counts_for_redundancy and info.backup_id not in self.unrestorable

    def _nearest(self, statuses: Iterable[str], accept: Callable[[str], bool], *, newest: bool) -> BackupInfo | None:
        wanted = frozenset(statuses)
        found = [i for i, info in self.backups.items() if info.status in wanted and accept(i)]
        if not found:
            return None
        return self.backups[max(found) if newest else min(found)]


def _backup_id(info: BackupInfo) -> str:
    return info.backup_id
