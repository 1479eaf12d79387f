"""verify-backup of archives: what is in them is compared with the manifest while it streams by; nothing is unpacked.

Only pg_verifybackup of PostgreSQL 18 and later reads archives, and only what it was built for.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial

from barman.backup.tar_files import Archive, find_archives, opened, require_readable
from barman.backup.tar_reader import FILE
from barman.errors import BackupError, BarmanError, CatalogError
from barman.postgres.backup_manifest import ManifestFile, read
from barman.postgres.crc32c import Crc32c
from barman.postgres.data_directory import MANIFEST, TABLESPACE_LINKS
from barman.typing import TYPE_CHECKING, Protocol
from barman.workers import cpu_count, is_abandoned, ordered_map

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from barman.backup.tar_reader import TarReader
    from barman.catalog.backup_info import BackupInfo
    from barman.report import Reporter

_SHOWN = 20
_NOT_IN_MANIFESTS = (MANIFEST, "pg_wal/", "pg_xlog/")
_ALGORITHMS = ("SHA224", "SHA256", "SHA384", "SHA512")


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def verify_archives(info: BackupInfo, directory: str, reporter: Reporter) -> None:
    """Read all archives in the data directory of a backup and report every file that is not what the manifest says.

    Raises BackupError when they cannot be verified at all, CodecError when something for that is not installed.
    """
    require_readable(info.compression)
    try:
        manifest = read(os.path.join(directory, MANIFEST))
        archives = find_archives(directory)
    except (OSError, CatalogError) as error:
        raise BackupError(f"backup {info.backup_id} cannot be verified: {error}") from error
    reporter.info(f"Verifying the archives in '{directory}'")
    wrong = []
    if manifest.system_identifier and info.systemid and manifest.system_identifier != info.systemid:
        wrong.append(f"the manifest is of system {manifest.system_identifier}, the backup of {info.systemid}")
    if None not in archives:
        wrong.append("there is no archive of the data directory")
    files = {file.path: file for file in manifest.files}
    seen: set[str] = set()
    for found, problems in ordered_map(partial(_verify, files=files), archives.values(), cpu_count()):
        seen |= found
        wrong += problems
    wrong += [f"'{path}' is in the manifest, but in no archive" for path in sorted(files.keys() - seen)]
    if not wrong:
        reporter.info("backup successfully verified")
        return
    reporter.error(f"verify backup failure on directory '{directory}'")
    for problem in wrong[:_SHOWN]:
        reporter.error(problem)
    if len(wrong) > _SHOWN:
        reporter.error(f"and {len(wrong) - _SHOWN} more")


def _verify(archive: Archive, files: Mapping[str, ManifestFile]) -> tuple[set[str], list[str]]:
    """Return the paths that an archive has, and what is wrong with it; what cannot be read ends it."""
    prefix = "" if archive.oid is None else f"{TABLESPACE_LINKS}/{archive.oid}/"
    seen: set[str] = set()
    wrong: list[str] = []
    try:
        with opened(archive) as reader:
            for member in reader.members():
                if is_abandoned():
                    break
                path = prefix + member.name
                if member.kind != FILE or path.startswith(_NOT_IN_MANIFESTS):
                    continue
                if path in seen:
                    wrong.append(f"'{path}' is in '{archive.path}' twice")
                elif path not in files:
                    wrong.append(f"'{path}' is in '{archive.path}', but not in the manifest")
                else:
                    wrong += _compare(files[path], member.size, reader)
                seen.add(path)
    except (BarmanError, OSError) as error:
        wrong.append(str(error))
    return seen, wrong


def _compare(expected: ManifestFile, size: int, reader: TarReader) -> Iterator[str]:
    """Yield what is wrong with the file that the reader has reached."""
    if size != expected.size:
        yield f"'{expected.path}' has {size} bytes, in the manifest {expected.size}"
        return
    digest = _digest_of(expected)
    if digest is None:
        return
    for piece in reader.content():
        digest.update(piece)
    if digest.hexdigest() != (expected.checksum or "").lower():
        yield f"the checksum of '{expected.path}' does not match"


def _digest_of(file: ManifestFile) -> _Digest | None:
    """Return what computes the checksum of a file, None when the manifest has none. Raises BackupError."""
    if file.algorithm is None:
        return None
    name = file.algorithm.upper()
    if name == "CRC32C":
        return Crc32c()
    if name in _ALGORITHMS:
        return hashlib.new(name.lower())
    raise BackupError(f"the manifest has checksums of an unknown kind: '{file.algorithm}'")
