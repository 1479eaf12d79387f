"""Result of `list-servers`. Plain classes: this is on the path of the fastest command."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barman.config.server_config import ServerConfig


class ServerRow:
    """One configured server."""

    __slots__ = ("active", "description", "disabled", "name", "passive")

    def __init__(self, name: str, description: str, *, active: bool, disabled: bool, passive: bool) -> None:
        self.name = name
        self.description = description
        self.active = active
        self.disabled = disabled
        self.passive = passive


class ServerList:
    """The configured servers, sorted by name; `minimal` asks for the names alone."""

    __slots__ = ("minimal", "rows")

    def __init__(self, rows: Iterable[ServerRow], *, minimal: bool = False) -> None:
        self.rows = tuple(rows)
        self.minimal = minimal


def list_servers(configs: Iterable[ServerConfig], *, minimal: bool = False) -> ServerList:
    """Return the rows of all servers: what the configuration alone says, nothing is opened."""
    rows = [
        ServerRow(
            config.name,
            config.description or "",
            active=config.active,
            disabled=config.disabled,
            passive=config.passive_node,
        )
        for config in configs
    ]
    rows.sort(key=lambda row: row.name)
    return ServerList(rows, minimal=minimal)
