"""Is the copy of a backup what the primary has? Told by its content, before anybody may count on it.

What the manifest of the backup speaks of is read here and compared with it: no byte travels, and the primary reads
nothing. Everything else (backups without a manifest, encrypted ones, WAL inside a backup, files that no manifest
covers) is compared with the primary by checksums that rsync computes on both hosts.
"""

from __future__ import annotations

import os

from barman.backup.tar_files import find_archives
from barman.backup.verify import verify_backup
from barman.errors import BarmanError
from barman.logs import Log
from barman.postgres.backup_manifest import read
from barman.postgres.data_directory import TABLESPACE_LINKS
from barman.report import MemoryReporter
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.layout import Layout
    from barman.server.server import Server

_LOG = Log(__name__)
# pg_verifybackup passes over these whatever the manifest says of them.
_PASSED_OVER = ("pg_wal", "postgresql.auto.conf", "recovery.signal", "standby.signal")


@dataclass(frozen=True, slots=True)
class ManifestVerdict:
    """What comparing with the manifest gave: `covered` paths (relative to `base/ID`) are sound unless `problem`."""

    covered: frozenset[str] = frozenset()
    problem: str = ""


def verify_by_manifest(server: Server, info: BackupInfo) -> ManifestVerdict:
    """Read what the manifest of a copied backup speaks of and compare it; nothing is covered where that cannot be done.

    The caller holds no exclusive lock of the backup.
    """
    covered = _covered(server.catalog.layout, info)
    if not covered:
        return ManifestVerdict()
    said = MemoryReporter()
    try:
        verify_backup(server, info, said)
    except BarmanError as error:
        # No pg_verifybackup here, or nothing that reads these archives: the primary is asked for everything.
        _LOG.info("backup %s is compared with the primary: %s", info.backup_id, error.message)
        return ManifestVerdict()
    if said.failed:
        return ManifestVerdict(problem=" ".join(said.texts("error")[-1].split())[:500])
    return ManifestVerdict(covered)


def _covered(layout: Layout, info: BackupInfo) -> frozenset[str]:
    """What the manifest has a checksum for, as paths below `base/ID`."""
    if info.encryption is not None:
        return frozenset()
    data = layout.data_directory(info.backup_id)
    top = os.path.basename(data)
    try:
        files = read(layout.backup_manifest(info.backup_id)).files
        if any(file.checksum is None for file in files):
            return frozenset()
        if info.compression is not None:
            return frozenset(f"{top}/{os.path.basename(archive.path)}" for archive in find_archives(data).values())
    except (OSError, BarmanError):
        return frozenset()
    oids = {str(space.oid) for space in info.tablespaces}
    return frozenset(_place(file.path, top, oids) for file in files if file.path.split("/")[0] not in _PASSED_OVER)


def _place(path: str, top: str, oids: set[str]) -> str:
    parts = path.split("/")
    if len(parts) > 2 and parts[0] == TABLESPACE_LINKS and parts[1] in oids and top == "data":
        return "/".join(parts[1:])
    return f"{top}/{path}"
