"""verify-backup and generate-manifest: is every byte of a backup what it was?"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from barman.errors import BackupError
from barman.fs import durable
from barman.fs.tree import Entry, walk
from barman.postgres.programs import find_pg_verifybackup, verifybackup_argv
from barman.postgres.version import PgVersion
from barman.process import last_line, run
from barman.workers import cpu_count, ordered_map

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barman.catalog.backup_info import BackupInfo
    from barman.report import Reporter
    from barman.server.server import Server

_MANIFEST = "backup_manifest"
_CHUNK = 1024 * 1024
_READS_TAR_SINCE = 18


def verify_backup(server: Server, info: BackupInfo, reporter: Reporter) -> None:
    """Let pg_verifybackup read the whole backup and compare it with its manifest; WAL is not looked at.

    Holds the lock of the backup shared: it is not deleted meanwhile. A backup that is not what it was is reported.

    Raises BackupError when the backup cannot be verified at all.
    """
    if info.encryption is not None:
        raise BackupError(f"backup {info.backup_id} is encrypted: pg_verifybackup cannot read it")
    reporter.info("Calling pg_verifybackup")
    program = find_pg_verifybackup(server.search_path, info.pg_version)
    if program is None:
        raise BackupError(
            "pg_verifybackup not found",
            hint="Install the server package of PostgreSQL 13 or later, or set 'path_prefix' to its directory.",
        )
    directory = server.catalog.layout.data_directory(info.backup_id)
    argv = verifybackup_argv(program, directory)
    if info.compression is not None:
        if program.version < PgVersion(_READS_TAR_SINCE * 10000):
            raise BackupError(
                f"backup {info.backup_id} is in tar format: pg_verifybackup {program.version} cannot read it, "
                f"version {_READS_TAR_SINCE} can"
            )
        argv += ["-F", "tar"]
    with server.catalog.locks.backup_id(info.backup_id, shared=True):
        done = run(argv, env=server.environment, check=False)
    if done.returncode != 0:
        reporter.error(f"verify backup failure on directory '{directory}'")
        reporter.error(done.error_text.strip() or last_line(done.text))
        return
    reporter.info(done.text.strip() or "backup successfully verified")


def generate_manifest(server: Server, info: BackupInfo) -> str:
    """Write a manifest with SHA-256 checksums into the data directory of a backup that has none; return its path.

    Tablespaces are not covered: in the copies of the rsync methods nothing leads to them from the data directory.
    Holds the lock of the backup shared. Raises BackupError when there is a manifest already, or a file cannot be read.
    """
    directory = server.catalog.layout.data_directory(info.backup_id)
    path = os.path.join(directory, _MANIFEST)
    with server.catalog.locks.backup_id(info.backup_id, shared=True):
        if os.path.lexists(path):
            raise BackupError(f"File {path} already exists.")
        try:
            files = [entry for entry in walk(directory) if entry.is_file]
            content = format_manifest(ordered_map(_describe, files, cpu_count()))
            durable.write_atomic(path, content, 0o600)
        except OSError as error:
            raise BackupError(f"cannot write the manifest of backup {info.backup_id}: {error}") from error
    return path


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


def _describe(entry: Entry) -> ManifestEntry:
    digest = hashlib.sha256()
    size = 0
    with open(entry.path, "rb", buffering=0) as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
    return ManifestEntry(entry.relative, size, datetime.fromtimestamp(entry.mtime, timezone.utc), digest.hexdigest())
