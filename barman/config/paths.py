"""Directories that are used twice: inside one server, or by two of them (config.md §7)."""

from __future__ import annotations

import os

from barman.config.values import is_url
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barman.config.server_config import ServerConfig

DIRECTORIES = (
    "backup_directory",
    "basebackups_directory",
    "errors_directory",
    "incoming_wals_directory",
    "streaming_wals_directory",
    "wals_directory",
)


class RealPaths:
    """`os.path.realpath`, resolving each parent directory once: fifty servers have three hundred directories."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def resolve(self, path: str) -> str:
        """The path without symbolic links; missing parts are kept."""
        parent, name = os.path.split(os.path.abspath(path))
        real_parent = self._parents.get(parent)
        if real_parent is None:
            real_parent = self._parents[parent] = os.path.realpath(parent)
        real = os.path.join(real_parent, name)
        return os.path.realpath(real) if os.path.islink(real) else real


def _uses(config: ServerConfig) -> Iterable[tuple[str, str]]:
    for option in DIRECTORIES:
        path = getattr(config, option)
        if not is_url(path):
            yield option, path


def _describe(option: str, path: str, real: str) -> str:
    plain = os.path.abspath(path)
    return f"Conflicting path: {option}={path}" + ("" if real == plain else f" (symlink to: {real})")


def own_path_conflicts(config: ServerConfig) -> list[str]:
    """The directories that the server uses for two purposes."""
    paths = RealPaths()
    owners: dict[str, str] = {}
    conflicts = []
    for option, path in _uses(config):
        real = paths.resolve(path)
        first = owners.setdefault(real, option)
        if first != option:
            conflicts.append(f"{_describe(option, path, real)} conflicts with '{first}' for server '{config.name}'")
    return conflicts


def shared_path_conflicts(configs: Iterable[ServerConfig]) -> list[str]:
    """The directories that two servers use; one line for each."""
    paths = RealPaths()
    owners: dict[str, tuple[str, str]] = {}
    conflicts = []
    for config in configs:
        for option, path in _uses(config):
            real = paths.resolve(path)
            server, first = owners.setdefault(real, (config.name, option))
            if server != config.name:
                conflicts.append(
                    f"{_describe(option, path, real)} for server '{config.name}' "
                    f"conflicts with '{first}' for server '{server}'"
                )
    return conflicts
