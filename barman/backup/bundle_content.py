"""What must be true of the data and the WAL of an exported backup before it counts."""

from __future__ import annotations

import hashlib
import os

from barman.backup.bundle import WALS
from barman.catalog.wal_content import recognise_file
from barman.compression.codec import CodecError, same_content
from barman.errors import BackupError, CorruptRecord
from barman.fs.comparing import has_same_content
from barman.fs.tree import walk
from barman.postgres.backup_manifest import read
from barman.postgres.crc32c import Crc32c
from barman.postgres.data_directory import TABLESPACE_LINKS
from barman.postgres.wal_name import hash_directory
from barman.server.filters import configured_filters
from barman.typing import TYPE_CHECKING
from barman.wal.cluster import Cluster
from barman.wal.inspection import inspect
from barman.wal.source import Found
from barman.workers import cpu_count, ordered_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.layout import Layout
    from barman.catalog.wal_store import StoredWal
    from barman.compression.codec import CustomFilters
    from barman.fs.tree import Entry
    from barman.fs.unpacking import UnpackingDirectory
    from barman.postgres.backup_manifest import ManifestFile
    from barman.server.server import Server

_CHUNK = 1 << 20
_ALGORITHMS = ("crc32c", "sha224", "sha256", "sha384", "sha512")
_LINKS = TABLESPACE_LINKS + "/"


def verify_data(layout: Layout, info: BackupInfo) -> None:
    """Compare the files of a plain backup with its manifest; without one its main parts must be there.

    Raises BackupError naming the first file that is not what it was.
    """
    data = layout.data_directory(info.backup_id)
    for space in info.tablespaces:
        if info.compression is None and not _has_tablespace(layout, info, space.oid):
            raise BackupError(f"the data of tablespace {space.name} ({space.oid}) are missing")
    if info.compression is not None or info.encryption is not None:
        if not any(entry.is_file for entry in walk(layout.backup_directory_of(info.backup_id))):
            raise BackupError("the exported backup has no data")
        return
    manifest = layout.backup_manifest(info.backup_id)
    if not os.path.exists(manifest):
        _require_main_parts(data)
        return
    try:
        files = read(manifest).files
    except CorruptRecord as error:
        raise BackupError(f"the manifest of the exported backup cannot be read: {error.message}") from error
    for reason in ordered_map(lambda file: _reason_against(layout, info, file), files, cpu_count(), window=64):
        if reason:
            raise BackupError(f"the exported backup is not what its manifest says: {reason}")


def _require_main_parts(data: str) -> None:
    for needed in ("PG_VERSION", os.path.join("global", "pg_control")):
        if not os.path.isfile(os.path.join(data, needed)):
            raise BackupError(f"the exported backup lacks {needed}")


def _has_tablespace(layout: Layout, info: BackupInfo, oid: int) -> bool:
    inside = os.path.join(layout.data_directory(info.backup_id), TABLESPACE_LINKS, str(oid))
    return os.path.isdir(layout.tablespace_directory(info.backup_id, oid)) or os.path.isdir(inside)


def _reason_against(layout: Layout, info: BackupInfo, file: ManifestFile) -> str:
    path = _path_of(layout, info, file.path)
    try:
        size = os.stat(path).st_size
        if size != file.size:
            return f"{file.path} has {size} bytes instead of {file.size}"
        if file.checksum is not None and file.algorithm is not None and _digest(path, file.algorithm) != file.checksum:
            return f"{file.path} has another checksum"
    except FileNotFoundError:
        return f"{file.path} is missing"
    return ""


def _path_of(layout: Layout, info: BackupInfo, path: str) -> str:
    inside = os.path.join(layout.data_directory(info.backup_id), path)
    if not path.startswith(_LINKS) or os.path.lexists(inside):
        return inside
    oid, _, rest = path[len(_LINKS) :].partition("/")
    return os.path.join(layout.tablespace_directory(info.backup_id, int(oid)), rest) if oid.isdigit() else inside


def _digest(path: str, algorithm: str) -> str:
    name = algorithm.lower()
    if name not in _ALGORITHMS:
        raise BackupError(f"the manifest of the exported backup has an unknown checksum algorithm '{algorithm:.40}'")
    digest = Crc32c() if name == "crc32c" else hashlib.new(name)
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def verify_wal(server: Server, staging: UnpackingDirectory, info: BackupInfo, names: Sequence[str]) -> list[str]:
    """Return those of the segments of a backup that the archive lacks; what is left over is refused.

    Each must be in the file or in the archive; where it is in both, both must be the same. Raises BackupError.
    """
    custom, archive = configured_filters(server.config), server.catalog.wals
    given = {os.path.basename(entry.path) for entry in _staged(staging) if entry.is_file}
    surplus = sorted(given - set(names))
    if surplus:
        raise BackupError(f"WAL segment {surplus[0]} is in the file, and the backup does not need it")
    new = []
    for name in names:
        stored = archive.find(name)
        if name in given:
            _verify_segment(staging.path(f"{WALS}/{hash_directory(name)}/{name}"), name, info, stored, custom)
            new += [name] if stored is None else []
        elif stored is None:
            raise BackupError(f"WAL segment {name}, without which the backup is not consistent, is in no place")
    return new


def _verify_segment(
    path: str, name: str, info: BackupInfo, stored: StoredWal | None, custom: CustomFilters | None
) -> None:
    """Raise BackupError unless the segment is sound, and the same as the archived one if there is one."""
    try:
        if recognise_file(path, custom)[1] is not None:
            # Encrypted: its bytes are all that can be compared; the checksum of the file has told that they are whole.
            same = stored is None or has_same_content(path, stored.path)
        else:
            facts = os.stat(path)
            found = Found(name, path, facts.st_size, facts.st_mtime, facts.st_mode, facts.st_uid)
            defects = inspect(found, Cluster(info.systemid, info.xlog_segment_size), custom).defects
            if defects:
                raise BackupError(f"WAL segment {name} of the exported backup is not sound: {'; '.join(defects)}")
            same = stored is None or same_content(path, stored.path, custom)
    except CodecError as error:
        raise BackupError(f"WAL segment {name} cannot be looked into: {error.message}") from error
    if not same:
        raise BackupError(f"WAL segment {name} is archived already, with other content")


def _staged(staging: UnpackingDirectory) -> Iterable[Entry]:
    return walk(staging.path(WALS)) if os.path.isdir(staging.path(WALS)) else ()
