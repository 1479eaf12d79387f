"""The queue that pg_receivewal fills.

pg_receivewal writes `NAME.partial` and renames it when the segment is complete. When it starts it looks here for the
newest file, complete or partial, and goes on from there; with an empty directory it may start later than where it
ended, and leave a hole. So the newest file always stays.
"""

from __future__ import annotations

from collections.abc import Callable

from barman.postgres.wal_name import is_segment_name, is_wal_name
from barman.values import dataclass, replace
from barman.wal.source import Batch, Found, cut, scan


@dataclass(frozen=True, slots=True)
class StreamingSource:
    """Complete files, then the partial ones that a later partial file left behind.

    While there is no partial file, the newest segment is archived but stays in the queue until a later file replaces
    it; `is_archived` tells whether that was done in an earlier run. The newest partial file is never touched.
    """

    directory: str
    is_archived: Callable[[str], bool]
    title: str = "streaming"

    def batch(self, limit: int) -> Batch:
        """See `WalSource`. The file that stays does not count once it is archived."""
        complete: list[Found] = []
        partial: list[Found] = []
        foreign: list[Found] = []
        for found in scan(self.directory):
            if not found.regular or not is_wal_name(found.name):
                foreign.append(found)
            else:
                (partial if found.name.endswith(".partial") else complete).append(found)
        if partial:
            partial.pop()
        else:
            complete = self._retain_newest(complete)
        return cut(complete + partial, foreign, limit)

    def _retain_newest(self, complete: list[Found]) -> list[Found]:
        newest = max((file.name for file in complete if is_segment_name(file.name)), default=None)
        return [
            replace(file, keep=True) if file.name == newest else file
            for file in complete
            if file.name != newest or not self.is_archived(file.name)
        ]
