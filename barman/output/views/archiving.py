"""How the result of archive-wal looks."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.wal.archiver import ArchiveResult


class ArchiveResultView:
    """Every file was reported when it was archived: on a terminal there is nothing to add."""

    @staticmethod
    def console(result: ArchiveResult, write: Callable[[str], None]) -> None:
        """Write nothing."""

    @staticmethod
    def json(result: ArchiveResult) -> dict[str, Any]:
        """Nothing beyond the messages, as in the original."""
        return {}
