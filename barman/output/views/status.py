"""View of `status` (cli reference, section 4)."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.status.server import ServerStatus


class ServerStatusView:
    """One line a fact."""

    @staticmethod
    def console(result: ServerStatus, write: Callable[[str], None]) -> None:
        """Write the lines in their order."""
        write(f"Server {result.server_name}:")
        for line in result.lines:
            write(f"\t{line.description}: {line.message}")

    @staticmethod
    def json(result: ServerStatus) -> dict[str, Any]:
        """Description and message, which is always text, under the key of each fact."""
        found: dict[str, Any] = {
            line.key: {"description": line.description, "message": line.message} for line in result.lines
        }
        if result.recovery is not None:
            from barman.output.views.recovery_window import window_object

            found["recovery_window"] |= window_object(result.recovery)
        if result.standing is not None:
            from barman.output.views.passive import standing_objects

            for key, numbers in standing_objects(result.standing).items():
                found[key] |= numbers
        return {result.server_name: found}
