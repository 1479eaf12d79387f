"""Catalog: everything on disk of one server, opened for use."""

from functools import cached_property

from barman.catalog.layout import Layout
from barman.catalog.locks import Locks
from barman.errors import CatalogError
from barman.fs import durable
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.catalog.backups import BackupStore
    from barman.catalog.identity import IdentityStore
    from barman.catalog.keep import KeepStore
    from barman.catalog.view import CatalogView
    from barman.catalog.wal_digests import WalDigests
    from barman.catalog.wal_index import WalIndex
    from barman.catalog.wal_store import WalStore
    from barman.catalog.xlogdb import XlogDb
    from barman.compression.codec import CustomFilters

__all__ = ["Catalog", "CatalogView"]


class Catalog:
    """The stores of one server. Opening it touches nothing; each part reads the disk when it is asked.

    Parts are imported when they are used: put-wal and get-wal run once a segment and need few of them.
    """

    def __init__(
        self, layout: Layout, mode: str | None = None, filters: "Callable[[], CustomFilters] | None" = None
    ) -> None:
        """`filters` tells how files are read whose format is not built in; it is asked for when there is one."""
        self.layout = layout
        self.locks = Locks(layout)
        self._mode = mode
        self._filters = filters

    def filters(self) -> "CustomFilters | None":
        """What reads the formats that are not built in, encrypted files among them; None where nobody has told."""
        return self._filters() if self._filters is not None else None

    @cached_property
    def backups(self) -> "BackupStore":
        """The records of the backups."""
        from barman.catalog.backups import BackupStore

        return BackupStore(self.layout, self._mode)

    @cached_property
    def keep(self) -> "KeepStore":
        """Which backups are kept beyond the retention policy."""
        from barman.catalog.keep import KeepStore

        return KeepStore(self.layout)

    @cached_property
    def identity(self) -> "IdentityStore":
        """Which cluster this is."""
        from barman.catalog.identity import IdentityStore

        return IdentityStore(self.layout)

    @cached_property
    def xlogdb(self) -> "XlogDb":
        """The WAL index file."""
        from barman.catalog.xlogdb import XlogDb

        return XlogDb(self.layout, self.locks, self._filters)

    @cached_property
    def wal_digests(self) -> "WalDigests":
        """What encrypted WAL files contain."""
        from barman.catalog.wal_digests import WalDigests

        return WalDigests(self.layout.wal_digests)

    @cached_property
    def wals(self) -> "WalStore":
        """The archived WAL files."""
        from barman.catalog.wal_store import WalStore

        return WalStore(self.layout, self._filters)

    def index(self) -> "WalIndex":
        """The fast view of the WAL index, brought up to date by this call."""
        from barman.catalog.wal_index import WalIndex

        return WalIndex.open(self)

    def snapshot(self) -> "CatalogView":
        """The catalog as it is now. A record that cannot be read is in `corrupt` and stops nothing."""
        from barman.catalog.view import CatalogView

        records, corrupt = self.backups.list()
        ours, theirs = self.backups.find_deleting()
        return CatalogView(
            backups=records,
            keep=self.keep.list([*records, *corrupt]),
            corrupt=corrupt,
            server_name=self.layout.server_name,
            deleting=ours,
            upstream_deleting=theirs,
        )

    def ensure_directories(self) -> None:
        """Create, durably, the directories that a working server has.

        Raises CatalogError naming the one that it cannot.
        """
        for path in self.layout.directories():
            try:
                durable.make_directory(path)
            except OSError as error:
                raise CatalogError(f"{path}: {error.strerror}") from error
