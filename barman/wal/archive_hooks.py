"""The scripts around every WAL file that archive-wal takes in: what the archiver calls, and what runs them."""

from __future__ import annotations

from barman.catalog.wal_content import recognise_file
from barman.errors import HookAborted
from barman.hooks.hooks import Hooks
from barman.typing import TYPE_CHECKING, Protocol
from barman.wal.admission import Decision
from barman.wal.commit import Prepared
from barman.wal.source import Found

if TYPE_CHECKING:
    from barman.report import Reporter
    from barman.server.server import Server


class ArchiveHooks(Protocol):
    """The scripts around every single WAL file. Files are archived one by one when there are any."""

    def before(self, found: Found) -> None:
        """Run `pre_archive_script` and `pre_archive_retry_script` before the file is looked at.

        Raises HookAborted to end the run over this source: this file and all later ones stay queued.
        """

    def after(self, item: Prepared, error: str) -> None:
        """Run `post_archive_retry_script` and `post_archive_script`; `error` says why the decision was not carried out.

        Called for every decision, which `item` tells. `item.final_path` is where the file is, or would be.
        """

    def failed(self, found: Found, error: str) -> None:
        """The same for a file that could not even be judged, or that a script forbade to archive."""


def archive_hooks_of(server: Server, reporter: Reporter) -> ArchiveHooks | None:
    """Return what runs the configured scripts; None without one, which lets files be archived in groups."""
    hooks = Hooks(server, reporter)
    return _Scripts(server, hooks) if hooks.present("archive") else None


class _Scripts:
    def __init__(self, server: Server, hooks: Hooks) -> None:
        self._layout = server.catalog.layout
        self._hooks = hooks

    def before(self, found: Found) -> None:
        try:
            self._hooks.before("archive", self._arrived(found, found.path))
        except HookAborted as abortion:
            self.failed(found, abortion.message)
            raise

    def after(self, item: Prepared, error: str) -> None:
        from barman.hooks.environment import wal_variables

        wal, found = item.wal, item.found
        if wal is not None:
            told = wal_variables(wal.name, item.final_path, wal.size, wal.time, wal.compression, error)
        else:
            told = self._arrived(found, item.final_path, error or _what_became_of(item))
        self._hooks.after("archive", told)

    def failed(self, found: Found, error: str) -> None:
        self._hooks.after("archive", self._arrived(found, self._layout.wal_path(found.name), error))

    def _arrived(self, found: Found, path: str, error: str = "") -> dict[str, str]:
        """What a script is told of a file as it arrived; `path` is where it is, or would be."""
        from barman.hooks.environment import wal_variables

        try:
            compression = recognise_file(found.path)[0]
        except OSError:
            compression = None
        return wal_variables(found.name, path, found.size, found.time, compression, error)


def _what_became_of(item: Prepared) -> str:
    """Why a file was not archived. Scripts know the two words for duplicates."""
    found = item.found
    details = (
        f"WalFileInfo(compression=None, encryption=None, name={found.name!r}, size={found.size}, time={found.time})"
    )
    if item.decision is Decision.IDENTICAL:
        return f"MatchingDuplicateWalFile:{details}"
    if item.decision is Decision.CONFLICTING:
        return f"DuplicateWalFile:{details}"
    return "; ".join(item.reasons) or "the file is no longer in its queue"
