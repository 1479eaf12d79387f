"""Backups that are tar archives: what is in them, without reading them, and where they are unpacked.

The manifest names every file with its size, so a restore is planned from it; what an archive holds is held to it while
it is unpacked. Only a backup without a manifest is read twice.

On this host archives are unpacked straight into the destination. For another host they are unpacked into a private
directory below the staging path, and the steps of every restore send from there.
"""

from __future__ import annotations

import os
import posixpath

from barman.backup.tar_files import find_archives, read_content, require_readable, shrinkage, try_to_open
from barman.errors import BackupError, BarmanError, CatalogError
from barman.postgres import data_directory
from barman.postgres.backup_manifest import read
from barman.restore.facts import BackupFacts, Damage, SourceTree
from barman.restore.layouts import HELD_CONTROL_FILE
from barman.typing import TYPE_CHECKING
from barman.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from barman.backup.tar_files import Archive
    from barman.catalog.backup_info import BackupInfo
    from barman.compression.codec import CustomFilters

STAGE_NAME = "barman-unpack"
"""What the private directories in a staging path are called, before the id of the process."""


def gather_archives(
    info: BackupInfo, record: str, root: str, *, being_deleted: bool, custom: CustomFilters | None = None
) -> BackupFacts:
    """Return what the archives in the data directory `root` of a backup hold, as a backup of plain files would."""
    try:
        archives = find_archives(root)
    except BackupError as error:
        raise CatalogError(error.message) from error
    except OSError as error:
        raise CatalogError(f"cannot read the backup in '{root}': {error.strerror}") from error
    try:
        files, note = _named_by_manifest(root), ""
    except (OSError, CatalogError) as error:
        files = None
        missing = isinstance(error, FileNotFoundError)
        note = "" if missing else f"the files of the backup cannot be compared with its manifest: {error}"
    data = archives.get(None)
    if data is None:
        return BackupFacts(info, record, being_deleted, None)
    oids = frozenset(space.oid for space in info.tablespaces if posixpath.isabs(space.location)) | {
        oid for oid in archives if oid is not None
    }
    contents = _from_manifest(files, oids) if files is not None else _from_archives(archives, custom)
    tablespaces = {
        oid: _tree(root, archives[oid], contents.get(oid, {}), data=False) if oid in archives else None
        for oid in sorted(oids)
    }
    tree = _tree(root, data, contents.get(None, {}), data=True)
    return BackupFacts(info, record, being_deleted, tree, tablespaces, Damage(note=note))


def _named_by_manifest(root: str) -> dict[str, int]:
    manifest = read(os.path.join(root, data_directory.MANIFEST))
    return {file.path: file.size for file in manifest.files}


def _from_manifest(files: Mapping[str, int], oids: frozenset[int]) -> dict[int | None, dict[str, int]]:
    """Share the files out among the archives that must have them."""
    contents: dict[int | None, dict[str, int]] = {}
    for path, size in files.items():
        first, _, rest = path.partition("/")
        oid, _, name = rest.partition("/")
        if first == data_directory.TABLESPACE_LINKS and oid.isdigit() and int(oid) in oids:
            contents.setdefault(int(oid), {})[name] = size
        else:
            contents.setdefault(None, {})[path] = size
    return contents


def _from_archives(
    archives: Mapping[int | None, Archive], custom: CustomFilters | None
) -> dict[int | None, Mapping[str, int]]:
    """Read the archives, for want of a manifest."""
    try:
        return {oid: read_content(archive, None, custom).files for oid, archive in archives.items()}
    except (BarmanError, OSError) as error:
        raise CatalogError(str(error)) from error


def _tree(root: str, archive: Archive, files: Mapping[str, int], *, data: bool) -> SourceTree:
    """Return the files of an archive as a tree. Empty directories are not known before it is unpacked."""
    kept = {name: size for name, size in files.items() if not (data and data_directory.is_left_out_of_restore(name))}
    return SourceTree(root, kept, directories=tuple(sorted(_parents(kept))), archive=archive.path)


def _parents(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        while name := posixpath.dirname(name):
            if name in found:
                break
            found.add(name)
    return found


def judge_archives(backup: BackupFacts, *, delta: bool, custom: CustomFilters | None = None) -> list[str]:
    """Return why the archives of a backup cannot be unpacked here, or not in that way.

    `custom` opens those that are encrypted.
    """
    who = f"backup '{backup.info.backup_id}' of server '{backup.info.server_name}'"
    refusals = []
    try:
        require_readable(backup.info.compression)
    except BarmanError as error:
        refusals.append(f"{who} cannot be unpacked: {error.message}" + (f". {error.hint}" if error.hint else ""))
    if backup.data is not None:
        lost = shrinkage(backup.info, backup.data.root)
        refusals += [f"{who} is damaged: {lost}"] if lost else []
    if backup.info.encryption is not None and backup.data is not None:
        try:
            for archive in find_archives(backup.data.root).values():
                try_to_open(archive, custom)
        except (BarmanError, OSError) as error:
            refusals.append(f"{who} cannot be decrypted: {error} {getattr(error, 'hint', '')}".strip())
    if delta:
        refusals.append(
            f"{who} is a tar archive, of which a delta restore cannot send only what differs: leave out "
            "--delta-restore and restore to an empty directory"
        )
    return refusals


def stage_below(staging: str) -> str:
    """Return the directory into which this process unpacks for another host."""
    return os.path.join(staging, f"{STAGE_NAME}-{os.getpid()}")


def staged_data(stage: str) -> str:
    """Return where the data directory is unpacked below a stage."""
    return posixpath.join(stage, "data")


def held_control_file(destination: str, stage: str | None) -> str:
    """Return where the control file waits until everything else is in place: in the stage, if there is one."""
    return posixpath.join(destination if stage is None else stage, HELD_CONTROL_FILE)


def judge_stage(backup: BackupFacts, staging: str) -> list[str]:
    """Return why a backup cannot be unpacked below the staging path of this host."""
    if not os.path.isdir(staging) or not os.access(staging, os.W_OK | os.X_OK):
        return [f"the staging path '{staging}' is not a directory that can be written to: set --staging-path"]
    state = os.statvfs(staging)
    trees = (backup.data, *backup.tablespaces.values())
    free, needed = state.f_bavail * state.f_frsize, sum(tree.size for tree in trees if tree is not None)
    if needed <= free:
        return []
    return [
        f"not enough space in the staging path '{staging}': {format_size(needed)} needed to unpack the backup, "
        f"{format_size(free)} free"
    ]
