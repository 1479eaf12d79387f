"""What a passive node takes over from its primary besides backups and WAL: whose cluster it is, and what is kept.

Primaries of ours tell both in their answer; of others the files are read.
"""

from __future__ import annotations

import json
import posixpath

from barman.catalog.identity import Identity
from barman.catalog.keep import FULL, STANDALONE
from barman.clock import Deadline
from barman.errors import FileMissing, LockBusy, SyncError, TransportError
from barman.logs import Log
from barman.transport.files import RemoteFiles
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.catalog.backup_id import BackupId
    from barman.report import Reporter
    from barman.server.server import Server
    from barman.sync.protocol import SyncInfo

_LOG = Log(__name__)
_SMALL = 1 << 16
_SECONDS = 60.0


def primary_files(server: Server) -> RemoteFiles:
    """Return the files of the primary's host; questions about them that nobody answers end after a minute."""
    return RemoteFiles(server.primary_host.runner, Deadline(_SECONDS))


def adopt_identity(server: Server, primary: SyncInfo) -> None:
    """Record the cluster of the primary as that of this repository. Raises SyncError when it is another one."""
    systemid, version = primary.systemid, primary.pg_version
    if systemid is None:
        systemid, version = _read_identity(server, primary)
    recorded = server.catalog.identity.read()
    if systemid is None:
        return
    if recorded is None:
        server.catalog.identity.write(Identity(systemid, version))
    elif recorded.systemid != systemid:
        raise another_cluster(server, recorded.systemid, f"the primary of server {server.name}", systemid)


def adopt_keeps(server: Server, primary: SyncInfo, reporter: Reporter) -> None:
    """Keep here what is kept on the primary.

    A mark is added, never removed: to delete is the unsafe direction. So a backup that is released here is kept again
    as long as the primary keeps it; what a retention tier keeps there is left to the tiers here.
    """
    catalog = server.catalog
    view = catalog.snapshot()
    wanted = [
        i for i, info in view.backups.items() if info.is_copy_done and i in primary.backups and i not in view.keep
    ]
    if not wanted:
        return
    for backup_id, target in kept_there(server, primary, wanted):
        try:
            with catalog.locks.backup_id(backup_id, shared=True):
                catalog.keep.set(backup_id, target)
        except LockBusy:
            continue  # it may be deleted just now; if not, the next run comes
        reporter.info(f"Backup {backup_id} of server {server.name} is kept ({target}) as on its primary")


def kept_there(server: Server, primary: SyncInfo, backup_ids: list[BackupId]) -> Iterator[tuple[BackupId, str]]:
    """Those of the backups that somebody keeps on the primary, with the target."""
    files = primary_files(server)
    meta = posixpath.join(primary.backup_directory, "meta")
    try:
        names = frozenset(files.names(meta))
    except TransportError as error:
        _LOG.warning("cannot see which backups of server %s its primary keeps: %s", server.name, error.message)
        names = frozenset(f"{backup_id}-keep" for backup_id in primary.keep)
    for backup_id in backup_ids:
        if f"{backup_id}-keep" not in names or f".{backup_id}.tier" in names:
            continue
        target = primary.keep.get(backup_id)
        if target is None:
            try:
                text = files.read(posixpath.join(meta, f"{backup_id}-keep"), _SMALL)
            except FileMissing:
                continue
            target = STANDALONE if text.strip() == STANDALONE.encode() else FULL
        yield backup_id, target


def _read_identity(server: Server, primary: SyncInfo) -> tuple[str | None, str]:
    """System identifier and version in `identity.json` of a primary that does not tell them in its answer."""
    path = posixpath.join(primary.backup_directory, "identity.json")
    try:
        content: Any = json.loads(primary_files(server).read(path, _SMALL))
    except FileMissing:
        return None, ""
    except (TransportError, ValueError, RecursionError) as error:
        _LOG.warning("cannot tell which cluster the primary of server %s has: %s", server.name, error)
        return None, ""
    systemid = content.get("systemid") if isinstance(content, dict) else None
    if not (isinstance(systemid, str) and systemid.isascii() and systemid.isdecimal()):
        return None, ""
    version = content.get("version")
    return systemid, version if isinstance(version, str) and len(version) < 16 else ""


def another_cluster(server: Server, here: str, what: str, systemid: str) -> SyncError:
    """Return the refusal of what comes from another cluster than the one `here`."""
    return SyncError(
        f"{what} is of the cluster with the system identifier {systemid}, "
        f"'{server.catalog.layout.identity}' says {here}: nothing is copied",
        hint="Look at primary_ssh_command; if the cluster was made anew, move the old repository away.",
    )
