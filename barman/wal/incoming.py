"""The queue that `archive_command` and `put-wal` fill."""

from __future__ import annotations

from barman.postgres.wal_name import is_wal_name
from barman.values import dataclass
from barman.wal.source import Batch, Found, cut, scan


@dataclass(frozen=True, slots=True)
class IncomingSource:
    """Every regular file with the name of a WAL file is archived; everything else is foreign."""

    directory: str
    title: str = "file archival"

    def batch(self, limit: int) -> Batch:
        """See `WalSource`."""
        files: list[Found] = []
        foreign: list[Found] = []
        for found in scan(self.directory):
            (files if found.regular and is_wal_name(found.name) else foreign).append(found)
        return cut(files, foreign, limit)
