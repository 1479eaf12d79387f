"""import-backup: take an exported backup into the catalog of its server, once everything about it has been verified.

The order: the whole file is compared with the checksum in its name; it is unpacked into `base/.import-ID`, which
nobody takes for a backup; record, identity, data and WAL are verified there. Then, each step durable before the next:
the WAL that the archive lacks; the keep annotation; the data under their final name; the record. Killed anywhere
before the data have their name, nothing but WAL has been added, and the next import begins anew.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os

from barman.backup.bundle import ABOUT, DATA, IDENTITY, INDEX, RECORD, WALS, parse_name
from barman.backup.bundle_content import verify_data, verify_wal
from barman.backup.bundle_tar import DIRECTORY, FILE, LINK, TreeReader
from barman.backup.complete import judge_archive, required_segments
from barman.backup.manifest import link_tablespaces
from barman.catalog import backup_info_file
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.catalog.keep import STANDALONE
from barman.errors import BackupError, BarmanError, CorruptRecord, LockBusy
from barman.fs import durable
from barman.fs.tree import measure
from barman.fs.unpacking import UnpackingDirectory
from barman.logs import Log
from barman.postgres.wal_name import hash_directory, is_segment_name
from barman.server.filters import configured_filters
from barman.typing import TYPE_CHECKING, Any, BinaryIO
from barman.values import replace
from barman.wal.commit import describe, listed_names

if TYPE_CHECKING:
    from barman.backup.bundle import BundleName
    from barman.catalog.identity import Identity
    from barman.report import Reporter
    from barman.server.server import Server
    from barman.wal.tar_stream import Member

_LOG = Log(__name__)
_CHUNK = 1 << 20
_SMALL = 1 << 16
_MANY = 1 << 18
"""More segments than this (4 TiB of 16 MB segments) no backup needs to be consistent."""
_PREFIX = ".import-"
_LINKS = f"{DATA}/data/pg_tblspc/"
_SMALL_MEMBERS = {IDENTITY: _SMALL, RECORD: backup_info_file.MAX_SIZE, ABOUT: _SMALL, INDEX: 1 << 30}


def import_backup(server: Server, path: str, reporter: Reporter) -> BackupInfo:
    """Import a file of `export-backup` and return the record of the backup, which is kept `standalone` from then on.

    Takes the server's backup lock and the lock of the backup. Raises BackupError with the reason when the file is not
    what it says, is of another cluster or server, or something else has its names; the catalog is unchanged then.
    """
    name = parse_name(os.path.basename(path), server.name)
    catalog = server.catalog
    identity = catalog.identity.read()
    if identity is None:
        raise BackupError(
            f"server {server.name} has no identity.json: nobody could tell whether the backup is of its cluster",
            hint="the first backup of the server writes it",
        )
    try:
        with catalog.locks.backup(), catalog.locks.backup_id(BackupId(name.backup_id)):
            _sweep(catalog.layout.basebackups_directory)
            _refuse_known(server, name.backup_id)
            _verify_checksum(path, name)
            catalog.ensure_directories()
            return _import(server, path, name, identity, reporter)
    except LockBusy as error:
        raise BackupError(
            f"Another process is running on server {server.name}: nothing is imported", hint=error.hint
        ) from error
    except OSError as error:
        raise BackupError(f"cannot import '{path}': {error}") from error


def _refuse_known(server: Server, backup_id: str) -> None:
    view = server.catalog.snapshot()
    if backup_id in view.backups or backup_id in view.corrupt:
        raise BackupError(f"backup {backup_id} is in the catalog of server {server.name} already")
    directory = server.catalog.layout.backup_directory_of(backup_id)
    if os.path.lexists(directory):
        raise BackupError(f"'{directory}' is there, though no backup has that id", hint="look at it, and move it away")


def _verify_checksum(path: str, name: BundleName) -> None:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    if not digest.hexdigest().startswith(name.digest):
        raise BackupError(f"'{path}' is damaged: its checksum is {digest.hexdigest()[:8]}, its name says {name.digest}")


def _import(server: Server, path: str, name: BundleName, identity: Identity, reporter: Reporter) -> BackupInfo:
    base = server.catalog.layout.basebackups_directory
    staging = UnpackingDirectory(os.path.join(base, _PREFIX + name.backup_id))
    try:
        small = _unpack(path, name, staging)
        info = _judge(server, name, small, identity, reporter)
        return _publish(server, staging, info)
    finally:
        staging.discard()


def _sweep(base: str) -> None:
    """Remove what imports left that died; the caller holds the lock without which none runs."""
    for entry in os.listdir(base) if os.path.isdir(base) else ():
        if entry.startswith(_PREFIX):
            durable.remove_tree(os.path.join(base, entry))


def _unpack(path: str, name: BundleName, staging: UnpackingDirectory) -> dict[str, bytes]:
    """Unpack data and WAL, the data below the id of the backup; return the other members."""
    import lzma
    import zlib

    small: dict[str, bytes] = {}
    try:
        with open(path, "rb") as raw, _decompressed(raw, name.compression) as stream:
            reader = TreeReader(stream)
            for member in reader.members():
                if member.name in _SMALL_MEMBERS:
                    if member.name in small or reader.kind != FILE:
                        raise BackupError(f"'{path}' has two members {member.name}")
                    small[member.name] = reader.read(_SMALL_MEMBERS[member.name]) if member.name != INDEX else b""
                else:
                    _unpack_member(reader, member, name.backup_id, staging)
    except (EOFError, ValueError, zlib.error, lzma.LZMAError, BarmanError) as error:
        reason = error.message if isinstance(error, BarmanError) else error
        raise BackupError(f"'{path}' is damaged or no exported backup: {reason}") from error
    except FileExistsError as error:
        raise BackupError(f"'{path}' is no exported backup: it has '{error.filename}' twice") from error
    return small


def _unpack_member(reader: TreeReader, member: Member, backup_id: str, staging: UnpackingDirectory) -> None:
    if member.name == f"{DATA}/backup.info":
        return  # a copy of the record, which is written anew
    if reader.kind == LINK:
        if member.name.startswith(_LINKS) and "/" not in member.name[len(_LINKS) :]:
            return  # tablespaces are found by the record; where the link led there means nothing here
        raise BackupError(f"'{member.name:.200}' is a link")
    place = _place_of(member.name, backup_id, directory=reader.kind == DIRECTORY)
    if reader.kind == DIRECTORY:
        staging.directory(place, reader.mode)
    else:
        staging.write(place, reader.content(), reader.mode, member.mtime)


def _place_of(name: str, backup_id: str, *, directory: bool) -> str:
    if name == DATA or name.startswith(f"{DATA}/"):
        return backup_id + name[len(DATA) :]
    first, _, rest = name.partition("/")
    group, _, wal = rest.partition("/")
    if first == WALS and directory and not wal:
        return name
    if first == WALS and is_segment_name(wal) and hash_directory(wal) == group and not directory:
        return name
    raise BackupError(f"'{name:.200}' does not belong into an exported backup")


def _decompressed(raw: BinaryIO, compression: str | None) -> Any:
    if compression == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=raw)
    if compression == "bzip2":
        import bz2

        return bz2.BZ2File(raw)
    if compression == "xz":
        import lzma

        return lzma.LZMAFile(raw)
    return raw


def _judge(
    server: Server, name: BundleName, small: dict[str, bytes], identity: Identity, reporter: Reporter
) -> BackupInfo:
    """Return the record that the backup will have. Raises BackupError unless it is a good backup of this cluster."""
    for required in (IDENTITY, RECORD):
        if required not in small:
            raise BackupError(f"the file has no member {required}")
    systemid, version = _read_identity(small[IDENTITY])
    try:
        info = backup_info_file.parse(
            small[RECORD].decode(), BackupId(name.backup_id), server.name, path=f"member {RECORD}"
        )
    except (UnicodeDecodeError, CorruptRecord) as error:
        raise BackupError(f"the record of the exported backup cannot be read: {error}") from error
    for found in (systemid, info.systemid):
        if found not in (None, identity.systemid):
            raise BackupError(
                f"the backup is of the cluster with the system identifier {found}, server {server.name} is "
                f"{identity.systemid}"
            )
    if info.status != BackupStatus.DONE or info.parent_backup_id is not None:
        raise BackupError("the exported backup is not DONE, or cannot be restored alone")
    if info.server_name != server.name:
        raise BackupError(f"the exported backup is of server {info.server_name}")
    if version and identity.version and version != identity.version:
        reporter.warning(
            f"the backup is of PostgreSQL {version}, server {server.name} is of PostgreSQL {identity.version} now"
        )
    return replace(info, children_backup_ids=())


def _read_identity(data: bytes) -> tuple[str, str | None]:
    try:
        content: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BackupError(f"member {IDENTITY} is not JSON") from error
    systemid = content.get("systemid") if isinstance(content, dict) else None
    if not isinstance(systemid, str):
        raise BackupError(f"member {IDENTITY} does not tell the system identifier")
    version = content.get("version")
    return systemid, version if isinstance(version, str) else None


def _publish(server: Server, staging: UnpackingDirectory, info: BackupInfo) -> BackupInfo:
    catalog, backup_id = server.catalog, info.backup_id
    staged = replace(catalog.layout, basebackups_directory=staging.root)
    if not os.path.isdir(staged.backup_directory_of(backup_id)):
        raise BackupError("the file has no data of a backup")
    verify_data(staged, info)
    link_tablespaces(staged, info)
    names = list(itertools.islice(required_segments(info), _MANY + 1))
    if not 0 < len(names) <= _MANY:
        raise BackupError(
            f"the record of the exported backup has no believable WAL range: {info.begin_wal} to {info.end_wal}"
        )
    new = verify_wal(server, staging, info, names)
    sizes = measure(staged.backup_directory_of(backup_id))
    info = replace(info, deduplicated_size=sizes.size)
    staging.finish(backup_id)
    for name in new:
        final = catalog.layout.wal_path(name)
        durable.make_directory(os.path.dirname(final))
        durable.sweep_temporaries(os.path.dirname(final))
        durable.copy_file(_staged_wal(staging, name), final)
    listed = listed_names(catalog, names)
    custom = configured_filters(server.config)
    catalog.xlogdb.append(
        [describe(name, catalog.layout.wal_path(name), custom) for name in names if name not in listed]
    )
    verdict = judge_archive(server, info)
    if verdict.status != BackupStatus.DONE:
        raise BackupError(f"the imported backup cannot be restored: {verdict.error}")
    # The copy of the record goes along: data and record get their name together.
    durable.write_atomic(staged.legacy_backup_info(backup_id), backup_info_file.format(info))
    # Before there is a backup to keep: no run of retention comes in between.
    catalog.keep.set(backup_id, STANDALONE)
    durable.replace(staged.backup_directory_of(backup_id), catalog.layout.backup_directory_of(backup_id))
    catalog.backups.save(info)
    _LOG.info("backup %s of server %s is imported", backup_id, server.name)
    return info


def _staged_wal(staging: UnpackingDirectory, name: str) -> str:
    return staging.path(f"{WALS}/{hash_directory(name)}/{name}")
