"""BackupStore: the records of one server on disk.

`meta/ID-backup.info` is the record. `base/ID/backup.info`, its place before 3.13.2, is read when there is no other
and kept as a copy, because repmgr and monitoring scripts read it. Every change is durable when the method returns,
and a crash between the two files leaves a stale copy which nobody prefers.
"""

import os
import stat
from collections.abc import Iterable

from barman.catalog import backup_info_file
from barman.catalog.backup_id import BackupId, is_backup_id
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.catalog.layout import DELETE_PREFIX, DELETE_SUFFIX, UPSTREAM_DELETE_SUFFIX, Layout
from barman.errors import CatalogError, CorruptRecord, UnknownBackup
from barman.fs import durable
from barman.typing import Final

Records = dict[BackupId, BackupInfo]
Damaged = dict[BackupId, CorruptRecord]
Ids = list[BackupId]
Signature = tuple[int, int, int]

_NOT_DATA: Final = frozenset(("backup.info", "annotations"))


class BackupStore:
    """Reads and writes records. `mode` stands in for records that name none (the configured one)."""

    def __init__(self, layout: Layout, mode: str | None = None) -> None:
        self._layout = layout
        self._mode = mode
        self._cache: dict[str, tuple[Signature, BackupInfo]] = {}

    def list(self) -> tuple[Records, Damaged]:
        """Every record by ascending id, and the error of every one that cannot be read.

        Costs two directory listings and one read a record that changed since the last call. Raises CatalogError when a
        directory cannot be listed.
        """
        records: Records = {}
        damaged: Damaged = {}
        for backup_id, path in sorted(self._find().items()):
            try:
                if not is_backup_id(backup_id):
                    raise CorruptRecord(f"{path}: '{backup_id}' is not a backup id")
                info = self._load(backup_id, path)
            except CorruptRecord as error:
                damaged[backup_id] = error
            else:
                if info is not None:
                    records[backup_id] = info
        return records, damaged

    def read(self, backup_id: str) -> BackupInfo:
        """The record of that id. Raises UnknownBackup, CorruptRecord."""
        if is_backup_id(backup_id):
            for path in (self._layout.backup_info(backup_id), self._layout.legacy_backup_info(backup_id)):
                info = self._load(BackupId(backup_id), path)
                if info is not None:
                    return info
        raise UnknownBackup(f"Unknown backup '{backup_id}' for server '{self._layout.server_name}'")

    def save(self, info: BackupInfo) -> None:
        """Make the record durable: first the record, then its copy if the backup has a directory.

        The caller holds the lock of the backup id or of the server's backups.
        """
        if not is_backup_id(info.backup_id):
            raise CatalogError(f"'{info.backup_id}' is not a backup id")
        text = backup_info_file.format(info)
        durable.make_directory(self._layout.meta_directory)
        durable.write_atomic(self._layout.backup_info(info.backup_id), text)
        if os.path.isdir(self._layout.backup_directory_of(info.backup_id)):
            durable.write_atomic(self._layout.legacy_backup_info(info.backup_id), text)

    def remove_record(self, backup_id: str) -> None:
        """Forget a backup. The copy goes first: the other way round a crash would bring the backup back to life."""
        durable.remove([self._layout.legacy_backup_info(backup_id)])
        durable.remove([self._layout.backup_info(backup_id)])
        self._cache.pop(backup_id, None)

    # --- deletions that have begun

    def mark_deleting(self, backup_id: str) -> None:
        """Note, durably, that the deletion of this backup has begun and must be finished.

        Saved before anything is removed. The marker is empty: it needs no block on a disk that is full.
        """
        durable.make_directory(self._layout.meta_directory)
        durable.write_atomic(self._layout.delete_marker(backup_id), b"")

    def clear_deleting(self, backup_id: str) -> None:
        """Remove our marker, and the original's."""
        durable.remove([self._layout.upstream_delete_marker(backup_id), self._layout.delete_marker(backup_id)])

    def find_deleting(self) -> tuple[frozenset[BackupId], frozenset[BackupId]]:
        """Ids that bear our marker, and ids that bear the original's; the record may be gone already.

        Ours says that data are being removed. The original's is written before its hooks may veto, so it proves
        nothing.
        """
        names = _listdir(self._layout.meta_directory)
        ours = (n[len(DELETE_PREFIX) : -len(DELETE_SUFFIX)] for n in names if n.endswith(DELETE_SUFFIX))
        theirs = (n[: -len(UPSTREAM_DELETE_SUFFIX)] for n in names if n.endswith(UPSTREAM_DELETE_SUFFIX))
        return _ids(ours), _ids(theirs)

    # --- data without a record, and the other way round

    def find_orphans(self, records: Iterable[BackupInfo]) -> Ids:
        """Ids of records, EMPTY ones aside, that have no data: no directory, or nothing in it but the record."""
        return [
            info.backup_id
            for info in records
            if info.status != BackupStatus.EMPTY and not self._has_data(info.backup_id)
        ]

    def find_strays(self, records: Iterable[str]) -> Ids:
        """Ids of directories in `base/` that hold data and have no record."""
        known = set(records)
        names = _listdir(self._layout.basebackups_directory)
        return [
            BackupId(name)
            for name in sorted(names)
            if is_backup_id(name) and name not in known and self._has_data(name)
        ]

    def _has_data(self, backup_id: str) -> bool:
        directory = self._layout.backup_directory_of(backup_id)
        if os.path.isdir(os.path.join(directory, "data")):
            return True
        try:
            return not _NOT_DATA.issuperset(os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # not ours to look into, so not ours to call empty

    # --- reading

    def _find(self) -> dict[BackupId, str]:
        """The file to read for each id."""
        layout = self._layout
        found = {BackupId(i): layout.backup_info(i) for i in layout.record_ids(_listdir(layout.meta_directory))}
        for name in _listdir(layout.basebackups_directory):
            # Backups have no other names; what else lies there is none of our business.
            if name not in found and is_backup_id(name):
                found[BackupId(name)] = layout.legacy_backup_info(name)
        return found

    def _load(self, backup_id: BackupId, path: str) -> BackupInfo | None:
        cached = self._cache.get(path)
        try:
            if cached is not None and cached[0] == _signature(os.stat(path)):
                return cached[1]
            signature, data = _read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CorruptRecord(f"{path}: {error.strerror}") from error
        info = self._parse(backup_id, path, data)
        self._cache[path] = (signature, info)
        return info

    def _parse(self, backup_id: BackupId, path: str, data: bytes) -> BackupInfo:
        if not data and self._has_data(backup_id):
            # The original renames without fsync: after a power loss the record is empty while the data are there.
            # Taking it for the record of a backup that has not begun would let the WAL of a good backup be removed.
            raise CorruptRecord(f"{path}: the record is empty although the backup has data", hint=self._hint(backup_id))
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise CorruptRecord(f"{path} line {line}: not UTF-8") from error
        return backup_info_file.parse(text, backup_id, self._layout.server_name, path=path, mode=self._mode)

    def _hint(self, backup_id: str) -> str:
        copy = self._layout.legacy_backup_info(backup_id)
        try:
            usable = os.path.getsize(copy) > 0
        except OSError:
            usable = False
        if not usable:
            return ""
        return f"the copy '{copy}' is not empty: compare it with what you know of the backup, then put it in place"


def _signature(status: os.stat_result) -> Signature:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: str) -> tuple[Signature, bytes]:
    # Descriptors, not file objects: a catalog of a thousand backups is read by every command.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CorruptRecord(f"{path}: not a regular file")
        if status.st_size > backup_info_file.MAX_SIZE:
            raise CorruptRecord(f"{path}: a record of {status.st_size} bytes")
        data = os.read(descriptor, status.st_size + 1)
        while len(data) < status.st_size and (more := os.read(descriptor, status.st_size)):
            data += more
    finally:
        os.close(descriptor)
    return _signature(status), data


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CatalogError(f"cannot list '{path}': {error.strerror}") from error


def _ids(texts: Iterable[str]) -> frozenset[BackupId]:
    return frozenset(BackupId(text) for text in texts if is_backup_id(text))
