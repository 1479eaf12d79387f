"""The file that `export-backup` writes and `import-backup` reads: its name and the order of its members. Pure.

The format is the original's, so that a backup travels between both programs: `identity.json`, `backup.info`,
`barman.json`, the directory of the backup below `backup/`, the WAL from begin to end below `wals/`, and `xlog.db` with
the lines of that WAL.
"""

from __future__ import annotations

import re

from barman.errors import BackupError
from barman.typing import Final
from barman.values import dataclass

IDENTITY: Final = "identity.json"
RECORD: Final = "backup.info"
ABOUT: Final = "barman.json"
INDEX: Final = "xlog.db"
DATA: Final = "backup"
WALS: Final = "wals"

SUFFIXES: Final = {None: "", "gzip": ".gz", "bzip2": ".bz2", "xz": ".xz"}
LEVELS: Final = {"gzip": (1, 9), "bzip2": (1, 9), "xz": (0, 9)}
_TAIL = re.compile(r"(\d{8}T\d{6})-(\d{8}T\d{6})-([0-9a-f]{8})\.tar(\.gz|\.bz2|\.xz)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class BundleName:
    """What the name of an exported backup says. `digest`: the first digits of the SHA-256 of the file."""

    backup_id: str
    stamp: str
    digest: str
    compression: str | None = None

    def text(self, server_name: str) -> str:
        """The name of the file."""
        return f"{stem(server_name, self.backup_id, self.stamp)}-{self.digest}.tar{SUFFIXES[self.compression]}"


def stem(server_name: str, backup_id: str, stamp: str) -> str:
    """The name up to the digest, which is known last."""
    return f"backup-export-{server_name}-{backup_id}-{stamp}"


def parse_name(name: str, server_name: str) -> BundleName:
    """Read the name of a file that is to be imported into a server. Raises BackupError for any other name."""
    prefix = f"backup-export-{server_name}-"
    found = _TAIL.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
    if found is None:
        raise BackupError(
            f"'{name}' is not the name of an exported backup of server {server_name}",
            hint="exported files are named backup-export-SERVER-ID-TIME-CHECKSUM.tar, and must keep their names",
        )
    backup_id, stamp, digest, suffix = found.groups()
    compression = next(key for key, value in SUFFIXES.items() if value == (suffix or ""))
    return BundleName(backup_id, stamp, digest, compression)


def check_level(compression: str | None, level: int | None) -> None:
    """Raise BackupError unless the level makes sense."""
    if level is None:
        return
    if compression is None:
        raise BackupError("--compression-level needs --compression")
    low, high = LEVELS[compression]
    if not low <= level <= high:
        raise BackupError(f"compression level {level} of {compression} is not between {low} and {high}")
