"""The marker of a restore that has not finished: whose files are in a destination that cannot be started yet. Pure."""

from __future__ import annotations

import json

from barman.values import dataclass

MARKER_NAME = ".barman-restore.unfinished"


@dataclass(frozen=True, slots=True)
class Marker:
    """Which backup was being restored, and which directories besides the destination belong to the restore."""

    server_name: str
    backup_id: str
    directories: tuple[str, ...] = ()

    def text(self, run: str = "") -> str:
        """Return the content of the marker file; `run` tells it from that of any other run."""
        content = {"server": self.server_name, "backup_id": self.backup_id, "directories": list(self.directories)}
        if run:
            content["run"] = run
        return json.dumps(content, sort_keys=True) + "\n"


def parse_marker(text: str) -> Marker | None:
    """Return the marker in a text; None when it is not one of ours."""
    try:
        content = json.loads(text)
        directories = tuple(str(item) for item in content["directories"])
        return Marker(str(content["server"]), str(content["backup_id"]), directories)
    except (ValueError, KeyError, TypeError):
        return None
