"""What hook scripts of archive-wal have to be told: the seam to `barman.hooks`."""

from __future__ import annotations

from barman.typing import Protocol
from barman.wal.commit import Prepared
from barman.wal.source import Found


class ArchiveHooks(Protocol):
    """The scripts around every single WAL file. Files are archived one by one when there are any."""

    def before(self, found: Found) -> None:
        """Run `pre_archive_script` and `pre_archive_retry_script` before the file is looked at.

        Raises HookAborted to end the run over this source: this file and all later ones stay queued.
        """

    def after(self, item: Prepared, error: str) -> None:
        """Run `post_archive_retry_script` and `post_archive_script`; `error` is empty when the file was archived.

        Called for every decision. `item.final_path` is where the file is, or would be.
        """
