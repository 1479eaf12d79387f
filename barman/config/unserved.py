"""Hook scripts that are configured and that this version does not run: said aloud, never skipped in silence. Pure."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.config.server_config import ServerConfig

HOOK_POINTS = ("backup", "archive", "delete", "wal_delete", "recovery")


def configured_hooks(config: ServerConfig, points: tuple[str, ...] = HOOK_POINTS) -> tuple[str, ...]:
    """Return the names of the hook options that are set for these points, in the order in which they would run."""
    names = (
        f"{phase}_{point}_{kind}"
        for point in points
        for phase in ("pre", "post")
        for kind in ("script", "retry_script")
    )
    return tuple(name for name in names if getattr(config, name))


def hook_warning(config: ServerConfig, points: tuple[str, ...]) -> str:
    """Return what to tell when a command passes these points; "" without a script."""
    names = configured_hooks(config, points)
    return f"hook scripts of server {config.name} are not run by this version: {', '.join(names)}" if names else ""
