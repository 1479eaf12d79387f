"""export-backup: one backup with the WAL that it needs, in one file that can be kept anywhere and imported again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

from barman import clock
from barman.backup.bundle import ABOUT, DATA, IDENTITY, INDEX, RECORD, WALS, BundleName, check_level, stem
from barman.backup.complete import judge_archive, required_segments
from barman.catalog.backup_info import BackupStatus, BackupType
from barman.errors import BackupError, CatalogError, LockBusy
from barman.fs import durable
from barman.fs.tree import walk
from barman.server.filters import configured_filters
from barman.typing import IO, TYPE_CHECKING, Any, cast
from barman.wal.commit import describe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from barman.catalog.backup_info import BackupInfo
    from barman.server.server import Server

_CHUNK = 1 << 20
_LINKS = "/pg_tblspc/"


def export_backup(
    server: Server,
    info: BackupInfo,
    directory: str,
    about: Mapping[str, Any],
    compression: str | None = None,
    level: int | None = None,
) -> str:
    """Write the file and return its path; it has that name when it is complete and durable, never before.

    `about` tells where it was written. Holds the lock of the backup shared: it is not deleted meanwhile. Raises
    BackupError when the backup cannot be restored from what would be in the file, or the file cannot be written.
    """
    check_level(compression, level)
    _require_exportable(server, info)
    if not os.path.isdir(directory):
        raise BackupError(f"cannot export to '{directory}': it is not a directory")
    try:
        with server.catalog.locks.backup_id(info.backup_id, shared=True):
            return _write(server, info, directory, about, compression, level)
    except LockBusy as error:
        raise BackupError(f"Another action is in progress for the backup {info.backup_id}") from error
    except OSError as error:
        raise BackupError(f"cannot export backup {info.backup_id} to '{directory}': {error}") from error


def _require_exportable(server: Server, info: BackupInfo) -> None:
    identity = server.catalog.identity.read()
    if identity is None:
        raise BackupError(
            f"server {server.name} has no identity.json: nobody could tell which cluster the export belongs to",
            hint="the next backup writes it",
        )
    for reason, applies in (
        (f"its status is {info.status}, only DONE backups can be exported", info.status != BackupStatus.DONE),
        ("it is an incremental backup, which cannot be restored alone", info.parent_backup_id is not None),
        ("it is a snapshot", info.backup_type == BackupType.SNAPSHOT),
    ):
        if applies:
            raise BackupError(f"backup {info.backup_id} cannot be exported: {reason}")
    verdict = judge_archive(server, info)
    if verdict.status != BackupStatus.DONE:
        raise BackupError(f"backup {info.backup_id} cannot be exported, since it cannot be restored: {verdict.error}")


def _write(
    server: Server,
    info: BackupInfo,
    directory: str,
    about: Mapping[str, Any],
    compression: str | None,
    level: int | None,
) -> str:
    now = clock.now()
    stamp = _utc(now)
    target = os.path.join(directory, stem(server.name, info.backup_id, stamp))
    with durable.Temporary(target, 0o600) as temporary:
        hashing = _HashingFile(temporary.file)
        with (
            _compressor(hashing, compression, level) as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            _fill(_Writer(tar, now.timestamp()), server, info, about)
        temporary.commit_data()
        name = BundleName(info.backup_id, stamp, hashing.digest.hexdigest()[:8], compression)
        final = os.path.join(directory, name.text(server.name))
        durable.publish([(temporary.path, final)])
        temporary.keep()
    return final


def _fill(tar: _Writer, server: Server, info: BackupInfo, about: Mapping[str, Any]) -> None:
    layout, catalog = server.catalog.layout, server.catalog
    tar.file(layout.identity, IDENTITY)
    record = layout.backup_info(info.backup_id)
    tar.file(record if os.path.exists(record) else layout.legacy_backup_info(info.backup_id), RECORD)
    tar.content(json.dumps(about, indent=4, sort_keys=True).encode(), ABOUT)
    tar.tree(layout.backup_directory_of(info.backup_id), DATA)
    lines = []
    for name in required_segments(info):
        path = layout.wal_path(name)
        tar.file(path, f"{WALS}/{os.path.basename(layout.hash_directory(name))}/{name}")
        lines.append(describe(name, path, configured_filters(server.config)).line())
    tar.content(b"".join(lines), INDEX)
    if info.backup_id in catalog.backups.find_deleting()[0]:
        raise CatalogError(f"backup {info.backup_id} is being deleted")


class _Writer:
    """Adds members one after another; owners are left out, they mean nothing elsewhere."""

    def __init__(self, tar: tarfile.TarFile, now: float) -> None:
        self._tar = tar
        self._now = now

    def content(self, data: bytes, name: str) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = len(data), self._now, 0o600
        self._tar.addfile(member, io.BytesIO(data))

    def file(self, path: str, name: str) -> None:
        with open(path, "rb") as file:
            facts = os.fstat(file.fileno())
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = facts.st_size, facts.st_mtime, facts.st_mode & 0o777
            self._tar.addfile(member, file)

    def tree(self, root: str, name: str) -> None:
        self._directory(root, name)
        for entry in walk(root):
            inside = f"{name}/{entry.relative}"
            if entry.is_file:
                self.file(entry.path, inside)
            elif entry.is_directory:
                self._directory(entry.path, inside)
            elif entry.is_link and _LINKS in inside:
                member = tarfile.TarInfo(inside)
                member.type, member.linkname = tarfile.SYMTYPE, os.readlink(entry.path)
                self._tar.addfile(member)
            else:
                raise BackupError(f"'{entry.path}' is neither a file nor a directory: no import would take it")

    def _directory(self, path: str, name: str) -> None:
        facts = os.stat(path)
        member = tarfile.TarInfo(name)
        member.type, member.mtime, member.mode = tarfile.DIRTYPE, facts.st_mtime, facts.st_mode & 0o777
        self._tar.addfile(member)


class _HashingFile(io.RawIOBase):
    """Passes on what is written and digests it: the file is read once, not twice."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self._file.write(data)
        return len(data)


def _compressor(file: _HashingFile, compression: str | None, level: int | None) -> Any:
    if compression == "gzip":
        import gzip

        return gzip.GzipFile("", "wb", 9 if level is None else level, fileobj=file, mtime=0)
    if compression == "bzip2":
        import bz2

        return bz2.BZ2File(file, "wb", compresslevel=9 if level is None else level)
    if compression == "xz":
        import lzma

        return lzma.LZMAFile(cast("IO[bytes]", file), "wb", preset=level)
    return file


def _utc(moment: datetime) -> str:
    from datetime import timezone

    return moment.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%S")
