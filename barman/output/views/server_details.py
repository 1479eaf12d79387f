"""View of `show-servers` (cli reference, section 4; repmgr and monitoring scripts parse the lines)."""

from __future__ import annotations

from barman.output.views.checks import server_title
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.status.remote import ServerDetails


class ServerDetailsView:
    """One `key: value` a line, sorted."""

    @staticmethod
    def console(result: ServerDetails, write: Callable[[str], None]) -> None:
        """Write the lines."""
        write(f"Server {server_title(result.server_name, active=result.active, disabled=result.disabled)}:")
        for key, value in sorted(result.items.items()):
            write(f"\t{key}: {value}")

    @staticmethod
    def json(result: ServerDetails) -> dict[str, Any]:
        """Numbers, texts, lists and switches as they are; everything else as its text."""
        items = {key: plain(value) for key, value in result.items.items()}
        items["description"] = result.description or None
        items["last_backup_maximum_age"] = str(items.get("last_backup_maximum_age"))
        if items.get("current_size") is not None:
            items["current_size"] = str(items["current_size"])
        return {result.server_name: items}


def plain(value: object) -> object:
    """The value as JSON knows it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)
