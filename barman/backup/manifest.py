"""Write the manifest of a backup that PostgreSQL sent none with: those of rsync, and whatever lost its own.

The format is PostgreSQL's, version 1, so that pg_verifybackup reads it. Unlike the original's it has the tablespaces,
as `pg_tblspc/OID/...`; pg_verifybackup finds them by links that are made beside it, as in copies of pg_basebackup.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime, timezone

from barman.errors import BackupError, CorruptRecord
from barman.fs import durable
from barman.fs.tree import Entry, walk
from barman.postgres.backup_manifest import read
from barman.postgres.data_directory import MANIFEST, TABLESPACE_LINKS
from barman.typing import TYPE_CHECKING, Any
from barman.values import dataclass
from barman.workers import cpu_count, ordered_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from barman.catalog.backup_id import BackupId
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.layout import Layout
    from barman.server.server import Server

_CHUNK = 1024 * 1024


def generate_manifest(server: Server, info: BackupInfo) -> str:
    """Write a manifest with SHA-256 checksums into the data directory of a backup that has none; return its path.

    Holds the lock of the backup shared. Raises BackupError when there is a manifest already, when the backup is no
    tree of files, or when a file cannot be read.
    """
    for reason, applies in (
        ("it is a snapshot", (info.mode or "").startswith("snapshot")),
        (f"it is encrypted ({info.encryption})", info.encryption is not None),
        (f"it is a tar archive (compression {info.compression})", info.compression is not None),
    ):
        if applies:
            raise BackupError(f"no manifest can be made for backup {info.backup_id}: {reason}")
    with server.catalog.locks.backup_id(info.backup_id, shared=True):
        return write_manifest(server.catalog.layout, info)


def write_manifest(layout: Layout, info: BackupInfo, reference: BackupId | None = None) -> str:
    """As `generate_manifest`, for a caller that owns the backup.

    A file that is linked to the `reference` keeps the checksum that the manifest there has: reading it again could only
    bless what has happened to it since.
    """
    path = layout.backup_manifest(info.backup_id)
    if os.path.lexists(path):
        raise BackupError(f"File {path} already exists.")
    try:
        known = _known_checksums(layout, reference) if reference is not None else {}
        files = list(_files(layout, info))

        def describe(item: tuple[str, Entry]) -> ManifestEntry:
            return _describe(*item, known)

        content = format_manifest(ordered_map(describe, files, cpu_count(), window=64))
        link_tablespaces(layout, info)
        durable.write_atomic(path, content, 0o600)
    except OSError as error:
        raise BackupError(f"cannot write the manifest of backup {info.backup_id}: {error}") from error
    return path


def link_tablespaces(layout: Layout, info: BackupInfo) -> None:
    """Let `pg_tblspc/OID` lead to the tablespaces of the backup, as far as nothing has that name.

    The links are relative: a repository that is moved keeps them. A restore, ours and the original's, makes its own.
    """
    links = os.path.join(layout.data_directory(info.backup_id), TABLESPACE_LINKS)
    for space in info.tablespaces:
        path = os.path.join(links, str(space.oid))
        directory = layout.tablespace_directory(info.backup_id, space.oid)
        if os.path.isdir(directory) and not os.path.lexists(path):
            durable.make_directory(links, 0o700)
            durable.symlink(os.path.relpath(directory, links), path)


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One file of a manifest; `path` is relative to the data directory."""

    path: str
    size: int
    modified: datetime
    sha256: str


def format_manifest(entries: Iterable[ManifestEntry]) -> bytes:
    """Return a manifest, version 1, in the layout of the original: one file a line, keys sorted, no WAL ranges."""
    lines = ",\n".join(json.dumps(_fields(entry), sort_keys=True) for entry in entries)
    body = '{"PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n' + lines + ("\n" if lines else "") + "],\n"
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f'{body}"Manifest-Checksum": "{digest}"}}\n'.encode()


def _fields(entry: ManifestEntry) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "Checksum": entry.sha256,
        "Checksum-Algorithm": "SHA256",
        "Last-Modified": entry.modified.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S"),
        "Size": entry.size,
    }
    raw = os.fsencode(entry.path)
    try:
        fields["Path"] = raw.decode("utf-8")
    except UnicodeDecodeError:
        # As PostgreSQL does for names that are not UTF-8.
        fields["Encoded-Path"] = raw.hex()
    return fields


def _files(layout: Layout, info: BackupInfo) -> Iterator[tuple[str, Entry]]:
    """Yield the files of a backup with the paths that they have below a running data directory."""
    for entry in walk(layout.data_directory(info.backup_id)):
        if entry.is_file and entry.relative != MANIFEST:
            yield entry.relative, entry
    for space in info.tablespaces:
        directory = layout.tablespace_directory(info.backup_id, space.oid)
        if os.path.isdir(directory):
            for entry in walk(directory):
                if entry.is_file:
                    yield f"{TABLESPACE_LINKS}/{space.oid}/{entry.relative}", entry


def _describe(path: str, entry: Entry, known: Mapping[tuple[int, int], str]) -> ManifestEntry:
    digest = hashlib.sha256()
    size = 0
    modified = datetime.fromtimestamp(entry.mtime, timezone.utc)
    with open(entry.path, "rb", buffering=0) as file:
        if known and entry.links > 1:
            status = os.fstat(file.fileno())
            checksum = known.get((status.st_dev, status.st_ino))
            if checksum is not None:
                return ManifestEntry(path, status.st_size, modified, checksum)
        while piece := file.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
    return ManifestEntry(path, size, modified, digest.hexdigest())


def _known_checksums(layout: Layout, backup_id: BackupId) -> dict[tuple[int, int], str]:
    """Return the checksums that a backup's manifest has, by the identity of the file on this disk."""
    try:
        manifest = read(layout.backup_manifest(backup_id))
    except (OSError, CorruptRecord):
        return {}
    known: dict[tuple[int, int], str] = {}
    links = TABLESPACE_LINKS + "/"
    for file in manifest.files:
        if file.algorithm != "SHA256" or file.checksum is None:
            continue
        path = os.path.join(layout.data_directory(backup_id), file.path)
        oid, _, rest = file.path[len(links) :].partition("/") if file.path.startswith(links) else ("", "", "")
        if oid.isdigit() and not os.path.exists(path):
            path = os.path.join(layout.tablespace_directory(backup_id, int(oid)), rest)
        try:
            status = os.stat(path)
        except OSError:
            continue
        if status.st_size == file.size:
            known[status.st_dev, status.st_ino] = file.checksum
    return known
