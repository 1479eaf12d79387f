"""View of `keep --status` (cli reference, section 5)."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.catalog.keep import KeepStatus


class KeepStatusView:
    """The target of the annotation, or `nokeep`."""

    @staticmethod
    def console(result: KeepStatus, write: Callable[[str], None]) -> None:
        """Write the server and the target."""
        write(f"Server {result.server_name}:")
        write(f"\tKeep: {result.target or 'nokeep'}")

    @staticmethod
    def json(result: KeepStatus) -> dict[str, Any]:
        """The same as description and message."""
        return {result.server_name: {"keep_status": {"description": "Keep", "message": result.target or "nokeep"}}}
