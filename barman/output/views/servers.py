"""View of `list-servers` (cli.md §4)."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.status.servers import ServerList, ServerRow


def _description(row: ServerRow) -> str:
    text = row.description
    if not row.active:
        text += " (inactive)"
    elif row.disabled:
        text += " (WARNING: disabled)"
    return text + (" (Passive)" if row.passive else "")


class ServerListView:
    """`NAME - DESCRIPTION` lines; scripts take the first word."""

    @staticmethod
    def console(result: ServerList, write: Callable[[str], None]) -> None:
        """Write one line for each server."""
        for row in result.rows:
            description = "" if result.minimal else _description(row)
            write(f"{row.name} - {description}" if description else row.name)

    @staticmethod
    def json(result: ServerList) -> dict[str, Any]:
        """Return the description of each server, with or without --minimal."""
        return {row.name: {"description": _description(row)} for row in result.rows}
