"""What the checks of one run share: connections, facts and the catalog, each fetched when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from barman.errors import BarmanError

if TYPE_CHECKING:
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog, CatalogView
    from barman.clock import Deadline
    from barman.config.server_config import ServerConfig
    from barman.server.server import Server


class CheckContext:
    """Facts of one server for one run of `check`, used by one thread.

    It opens the server anew: connections belong to the thread that runs the checks, and a thread that is given up keeps
    them without harm to anybody.
    """

    def __init__(self, config: ServerConfig, deadline: Deadline) -> None:
        self.config = config
        self.deadline = deadline

    @cached_property
    def server(self) -> Server:
        """The resources of the server."""
        from barman.server.server import Server

        return Server(self.config)

    @cached_property
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
        done = [info for info in self.view.backups.values() if info.is_copy_done]
        return max(done, key=lambda info: info.backup_id, default=None)

    @property
    def last_backup_size(self) -> int:
        """Performance data: bytes of the newest backup."""
        return (self.newest_backup.size or 0) if self.newest_backup else 0

    @cached_property
    def wals_size(self) -> int:
        """Performance data: bytes of WAL archived after the newest backup."""
        return 0

    def close(self) -> None:
        """Close what was opened."""
        if "server" in self.__dict__:
            try:
                self.server.close()
            except BarmanError:
                return
