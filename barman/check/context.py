"""What the checks of one run share: connections, facts and the catalog, each fetched when it is first asked for."""

from __future__ import annotations

from functools import cached_property

from barman.errors import BarmanError
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog, CatalogView
    from barman.catalog.wal_index import RangeStats, WalIndex
    from barman.clock import Deadline
    from barman.config.server_config import ServerConfig
    from barman.errors import TransportError
    from barman.postgres.facts import ServerFacts
    from barman.process import Completed
    from barman.server.server import Server
    from barman.sync.standing import SyncStanding


class CheckContext:
    """Facts of one server for one run of `check`, used by one thread.

    It opens the server anew: connections belong to the thread that runs the checks, and a thread that is given up
    keeps them without harm to anybody.
    """

    def __init__(self, config: ServerConfig, deadline: Deadline) -> None:
        self.config = config
        self.deadline = deadline
        self.answers: dict[str, Completed | TransportError] = {}
        """What commands on the host of PostgreSQL answered, by command."""

    @cached_property
    def server(self) -> Server:
        """The resources of the server."""
        from barman.server.server import Server

        return Server(self.config)

    @property
    def catalog(self) -> Catalog:
        """The catalog of the server."""
        return self.server.catalog

    @cached_property
    def view(self) -> CatalogView:
        """The backups as they are now."""
        return self.catalog.snapshot()

    @cached_property
    def newest_backup(self) -> BackupInfo | None:
        """The newest backup whose copy is done."""
        return self.view.latest()

    @cached_property
    def standing(self) -> SyncStanding:
        """Passive nodes: how far the primary was followed."""
        from barman.sync.standing import read_standing

        return read_standing(self.config, self.catalog, self.view)

    @property
    def uses_streaming(self) -> bool:
        """Whether backups or WAL come over a replication connection."""
        return self.config.backup_method == "postgres" or self.config.streaming_archiver

    @cached_property
    def facts(self) -> ServerFacts | None:
        """What PostgreSQL says of itself; None when it cannot be asked, for the reason in `facts_error`."""
        try:
            self.server.ask_programs_ahead()
            self.server.postgres.limit_statements(self.deadline)
            return self._read_facts()
        except BarmanError as error:
            self.facts_error = error.message
            return None

    facts_error = ""

    def _read_facts(self) -> ServerFacts:
        from barman.postgres.facts import read_facts

        streaming = self.server.streaming if self.uses_streaming else None
        return read_facts(self.server.postgres, streaming, slot_name=self.config.slot_name)

    @cached_property
    def wal_facts(self) -> ServerFacts | None:
        """What the host that WAL is received from says; the same as `facts` unless one is configured."""
        if not self.server.has_wal_conninfo:
            return self.facts
        from barman.postgres.facts import read_facts

        try:
            self.server.wal_postgres.limit_statements(self.deadline)
            return read_facts(self.server.wal_postgres, self.server.wal_streaming, slot_name=self.config.slot_name)
        except BarmanError as error:
            self.wal_facts_error = error.message
            return None

    wal_facts_error = ""

    @cached_property
    def primary_facts(self) -> ServerFacts | None:
        """What the server of `primary_conninfo` says; None when it cannot be asked, for the reason in the error."""
        from barman.postgres.facts import read_facts

        try:
            self.server.primary.limit_statements(self.deadline)
            return read_facts(self.server.primary)
        except BarmanError as error:
            self.primary_facts_error = f"{error.message}. {error.hint}" if error.hint else error.message
            return None

    primary_facts_error = ""

    @property
    def archiving_facts(self) -> ServerFacts | None:
        """What the server says whose archiver sends WAL: the primary of a standby that does not archive itself.

        None when it cannot be asked.
        """
        facts = self.facts
        if facts is None or not facts.in_recovery or facts.archive_mode == "always" or not self.config.primary_conninfo:
            return facts
        return self.primary_facts

    @cached_property
    def index(self) -> WalIndex:
        """The fast view of the WAL index."""
        return self.catalog.index()

    @cached_property
    def following_wals(self) -> RangeStats | None:
        """The archived segments after the end of the newest backup; None without a backup."""
        info = self.newest_backup
        if info is None or not info.end_wal:
            return None
        return self.index.range_stats(info.end_wal, None, after=True)

    @property
    def last_backup_size(self) -> int:
        """Performance data: bytes of the newest backup."""
        return (self.newest_backup.size or 0) if self.newest_backup else 0

    @property
    def wals_size(self) -> int:
        """Performance data: bytes of WAL archived after the newest backup."""
        return self.following_wals.size if self.following_wals else 0

    def close(self) -> None:
        """Close what was opened."""
        if "server" in self.__dict__:
            try:
                self.server.close()
            except BarmanError:
                return
