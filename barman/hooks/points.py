"""Which hook scripts exist, in which order they run, and what their exit codes mean. Pure.

Twenty options: five points, before and after, plain and retry. The order is mirrored around the operation: the retry
script is the inner one.
"""

from __future__ import annotations

from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.config.server_config import ServerConfig

POINTS = ("backup", "archive", "delete", "wal_delete", "recovery")
BEFORE = "pre"
AFTER = "post"

GIVE_UP = 62
"""Exit code of a retry script: do not try again, the operation goes on."""
FORBID = 63
"""Exit code of a retry script: do not try again; before the operation: it must not happen."""

_WAL_POINTS = ("archive", "wal_delete")
_KINDS = {BEFORE: ("script", "retry_script"), AFTER: ("retry_script", "script")}


@dataclass(frozen=True, slots=True)
class Script:
    """A configured script: `command` is what the shell is given, `seconds` its time limit (0: none)."""

    point: str
    phase: str
    kind: str
    command: str
    seconds: int = 0

    @property
    def option(self) -> str:
        """Return the name of the option that it comes from."""
        return f"{self.phase}_{self.point}_{self.kind}"

    @property
    def hook(self) -> str:
        """Return what `BARMAN_HOOK` says."""
        return f"{self.point}_{self.kind}"

    @property
    def is_retry(self) -> bool:
        """Tell whether it is run until it succeeds."""
        return self.kind == "retry_script"


def option_names(point: str, phase: str) -> tuple[str, ...]:
    """Return the options of one point and phase, in the order in which their scripts run."""
    return tuple(f"{phase}_{point}_{kind}" for kind in _KINDS[phase])


def scripts_at(config: ServerConfig, point: str, phase: str) -> tuple[Script, ...]:
    """Return the scripts that are configured there, in the order in which they run."""
    seconds = config.wal_hook_script_timeout if point in _WAL_POINTS else config.hook_script_timeout
    found = ((kind, getattr(config, f"{phase}_{point}_{kind}")) for kind in _KINDS[phase])
    return tuple(Script(point, phase, kind, command, seconds) for kind, command in found if command)


def has_scripts(config: ServerConfig, point: str) -> bool:
    """Tell whether any script is configured there, before or after."""
    return any(getattr(config, name) for phase in (BEFORE, AFTER) for name in option_names(point, phase))
