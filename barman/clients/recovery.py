"""Who is asking for WAL, and what an exit code makes it do.

PostgreSQL takes an exit code up to 125 for "there is no such file": a server in archive recovery then ends recovery and
promotes itself, a standby looks elsewhere and asks again. A code above 125 stops the server without promoting it
(`RestoreArchivedFile` in PostgreSQL's manual: "Recovering Using a Continuous Archive Backup").
"""

from __future__ import annotations

import os
import sys

STOP = 192
"""Added to the exit code of a failure in archive recovery."""

_LARGEST = 62

ARCHIVE_RECOVERY, STANDBY, NO_RECOVERY = "archive recovery", "standby", "no recovery"


class Asker:
    """The server that runs us, as far as its data directory tells."""

    __slots__ = ("data_directory", "mode")

    def __init__(self, destination: str = "") -> None:
        self.mode, self.data_directory = _look_around(destination)

    def exit_code(self, failure: int) -> int:
        """Return the code for a failure that says nothing about the archive: it must never end a recovery."""
        if self.mode == ARCHIVE_RECOVERY:
            # An exit code has eight bits: 192 + 127, of a program that is not installed there, would come out as 63.
            return STOP + min(failure, _LARGEST)
        return 1 if self.mode == STANDBY else failure

    def system_id(self) -> int | None:
        """Return the system identifier of the data directory, the first eight bytes of pg_control."""
        if not self.data_directory:
            return None
        try:
            with open(os.path.join(self.data_directory, "global", "pg_control"), "rb") as file:
                data = file.read(8)
        except OSError:
            return None
        return int.from_bytes(data, sys.byteorder) if len(data) == 8 else None


def _look_around(destination: str) -> tuple[str, str]:
    """PostgreSQL runs restore_command in its data directory, with a path below it; wrappers may do otherwise."""
    places = [os.getcwd()]
    if destination:
        below = os.path.dirname(os.path.abspath(destination))
        places = [os.path.dirname(below), *places, below]
    for place in places:
        if os.path.exists(os.path.join(place, "standby.signal")):
            return STANDBY, place
        if os.path.exists(os.path.join(place, "recovery.signal")):
            return ARCHIVE_RECOVERY, place
        if os.path.exists(os.path.join(place, "recovery.conf")):
            return _old_mode(place), place
    data = [place for place in places if os.path.exists(os.path.join(place, "global", "pg_control"))]
    return NO_RECOVERY, data[0] if data else ""


def _old_mode(place: str) -> str:
    """PostgreSQL 11 and earlier: one file for both, with a setting for standbys."""
    try:
        with open(os.path.join(place, "recovery.conf"), encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 20)
    except OSError:
        return ARCHIVE_RECOVERY
    mode = ARCHIVE_RECOVERY
    for line in text.splitlines():
        words = line.split("#", 1)[0].replace("=", " ").replace("'", " ").split()
        if len(words) == 2 and words[0].lower() == "standby_mode":
            mode = STANDBY if words[1].lower() in ("on", "true", "yes", "1", "t", "y") else ARCHIVE_RECOVERY
    return mode
