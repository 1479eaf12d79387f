"""The tar archives of a backup: `data/base.tar`, `data/OID.tar` for each tablespace, compressed or not.

Their names are those of pg_basebackup, and of the original's backups (catalog reference, section 7).
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager

from barman.backup.tar_reader import DIRECTORY, FILE, TarReader
from barman.compression.codec import find_codec
from barman.errors import BackupError
from barman.typing import TYPE_CHECKING, BinaryIO, cast
from barman.units import format_size
from barman.values import dataclass, field
from barman.workers import is_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from barman.catalog.backup_info import BackupInfo
    from barman.compression.codec import CustomFilters

LABEL = "backup_label"
_NAME = re.compile(r"(base|[1-9]\d{0,9})\.tar(|\.gz|\.lz4|\.zst)(|\.gpg)\Z")
_CODECS = {"": "", ".gz": "gzip", ".lz4": "lz4", ".zst": "zstd"}
_MAX_LABEL_BYTES = 1 << 20
_TOLERANCE = 1 << 20
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive; `oid` is that of its tablespace, None for the data directory; `codec` is empty for a plain tar.

    A `sealed` one is encrypted.
    """

    path: str
    oid: int | None
    codec: str = ""
    sealed: bool = False


def find_archives(directory: str) -> dict[int | None, Archive]:
    """Return the archives in the data directory of a backup, by tablespace.

    Raises BackupError when there are two of one tablespace, OSError when the directory cannot be read.
    """
    found: dict[int | None, Archive] = {}
    for name in sorted(os.listdir(directory)):
        match = _NAME.match(name)
        if match is None:
            continue
        oid = None if match[1] == "base" else int(match[1])
        path = os.path.join(directory, name)
        if oid in found:
            raise BackupError(f"'{found[oid].path}' and '{path}' are archives of the same directory: remove one")
        found[oid] = Archive(path, oid, _CODECS[match[2]], bool(match[3]))
    return found


def plain_archives(directory: str) -> list[str]:
    """Return the paths of all archives that are not encrypted, twins of encrypted ones too. Raises OSError."""
    matches = [(name, _NAME.match(name)) for name in sorted(os.listdir(directory))]
    return [os.path.join(directory, name) for name, match in matches if match is not None and not match[3]]


def shrinkage(info: BackupInfo, directory: str) -> str:
    """Return how the archives of a backup have become smaller than its record says; "" when they have not.

    That one was cut is seen so without reading it. Small differences are none: sizes are counted in more than one way.
    Raises OSError.
    """
    recorded = info.size
    if recorded is None:
        return ""
    with os.scandir(directory) as found:
        size = sum(entry.stat().st_size for entry in found if entry.is_file(follow_symlinks=False))
    if size + _TOLERANCE >= recorded:
        return ""
    return f"its archives in '{directory}' have {format_size(size)}, {format_size(recorded)} were recorded"


def require_readable(compression: str | None) -> None:
    """Raise CodecError, which says what to install, when archives of a backup so compressed cannot be read here."""
    if compression not in (None, "none"):
        find_codec(compression)


@contextmanager
def opened(
    archive: Archive, stored: BinaryIO | None = None, custom: CustomFilters | None = None
) -> Iterator[TarReader]:
    """Open an archive to be read once, from its beginning to its end; its bytes come from `stored`, if that is given.

    `custom` opens one that is encrypted. Raises OSError, CodecError, EncryptionError.
    """
    source = _open(archive, custom) if stored is None else stored
    with find_codec(archive.codec).decode(source, archive.path) if archive.codec else source as stream:
        yield TarReader(stream, archive.path)
        # An archive ends before its file does, and only the end of the file says that all of it was as it was sealed.
        while archive.sealed and not is_abandoned() and stream.read(_CHUNK):
            pass


def _open(archive: Archive, custom: CustomFilters | None) -> BinaryIO:
    if not archive.sealed:
        return cast(BinaryIO, open(archive.path, "rb"))  # closed by the caller
    if custom is None or custom.unsealer is None:
        raise BackupError(f"archive '{archive.path}' is encrypted")
    return custom.unsealer.open(archive.path)


def try_to_open(archive: Archive, custom: CustomFilters | None) -> None:
    """Look at the beginning of an archive. Raises EncryptionError when it cannot be decrypted here, OSError."""
    with _open(archive, custom) as source:
        source.read(1)


@dataclass(frozen=True, slots=True)
class Content:
    """What an archive holds: files with their sizes, directories, and the `backup_label`, if there is one."""

    files: Mapping[str, int] = field(default_factory=dict)
    directories: tuple[str, ...] = ()
    label: bytes | None = None


def read_content(archive: Archive, stored: BinaryIO | None = None, custom: CustomFilters | None = None) -> Content:
    """Read a whole archive, from `stored` if that is given, and return what it holds; nothing is written.

    Raises BackupError when it is damaged, names a file twice, or is not wanted any more; CodecError, OSError.
    """
    files: dict[str, int] = {}
    directories: list[str] = []
    label = None
    with opened(archive, stored, custom) as reader:
        for member in reader.members():
            if is_abandoned():
                break
            if member.kind == DIRECTORY:
                directories.append(member.name)
            elif member.kind == FILE:
                if member.name in files:
                    raise BackupError(f"archive '{archive.path}' is damaged: it holds '{member.name}' twice")
                files[member.name] = member.size
                if member.name == LABEL and member.size <= _MAX_LABEL_BYTES:
                    label = b"".join(reader.content())
    return Content(files, tuple(directories), label)
