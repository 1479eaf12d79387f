"""Backup manifests: what files a base backup has (PostgreSQL manual, "Backup Manifest Format").

Both the server's own format (version 1, and 2 with a system identifier) and the one of `generate-manifest` have one
file a line, so a manifest is read line by line: memory is bounded by what it lists, however hostile it is.
"""

from __future__ import annotations

import hashlib
import json

from barman.errors import CorruptRecord
from barman.postgres.lsn import Lsn
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LINE = 64 * 1024
_decode = json.JSONDecoder().raw_decode
_CHECKSUM = b'"Manifest-Checksum"'


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file of the backup; `path` is relative to the data directory, with `/`."""

    path: str
    size: int
    algorithm: str | None = None
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class WalRange:
    """WAL that is needed to make the backup consistent."""

    timeline: int
    start: Lsn
    end: Lsn


@dataclass(frozen=True, slots=True)
class BackupManifest:
    """A whole manifest."""

    version: int
    files: tuple[ManifestFile, ...]
    wal_ranges: tuple[WalRange, ...] = ()
    system_identifier: str | None = None


def read(path: str) -> BackupManifest:
    """Read a manifest and check its own checksum.

    Raises CorruptRecord when it is damaged or not a manifest, OSError when it cannot be opened.
    """
    with open(path, "rb") as file:
        return parse(file, path)


def parse(lines: Iterable[bytes], name: str = "manifest") -> BackupManifest:
    """Read a manifest from its lines, each with its line end. Raises CorruptRecord."""
    digest = hashlib.sha256()
    version, system_identifier = 0, None
    files: list[ManifestFile] = []
    ranges: list[WalRange] = []
    for number, line in enumerate(_bounded(lines, name), 1):
        if line.lstrip().startswith(_CHECKSUM):
            _check_digest(line, digest.hexdigest(), name)
            return BackupManifest(version, tuple(files), tuple(ranges), system_identifier)
        digest.update(line)
        text = line.strip()
        try:
            if text.startswith(b"{") and b"-Manifest-Version" in text:
                version = int(_member(text, b"PostgreSQL-Backup-Manifest-Version"))
            elif text.startswith(b'"System-Identifier"'):
                system_identifier = _member(text, b"System-Identifier")
            elif text.startswith(b"{"):
                _add(_decode(text.decode("utf-8"))[0], files, ranges)
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecord(f"{name}: line {number} is not one of a backup manifest ({error})") from None
    raise CorruptRecord(f"{name}: the manifest has no end")


def _bounded(lines: Iterable[bytes], name: str) -> Iterator[bytes]:
    # readline() of a binary file has no limit of its own; a line this long is no manifest's.
    readline = getattr(lines, "readline", None)
    source: Iterable[bytes] = lines if readline is None else iter(lambda: readline(MAX_LINE), b"")
    for line in source:
        if len(line) >= MAX_LINE:
            raise CorruptRecord(f"{name}: a line is longer than {MAX_LINE} bytes")
        yield line


def _member(text: bytes, key: bytes) -> str:
    _, _, rest = text.partition(b'"' + key + b'":')
    return rest.strip().rstrip(b",}").strip().strip(b'"').decode("ascii")


def _add(entry: dict[str, object], files: list[ManifestFile], ranges: list[WalRange]) -> None:
    if "Timeline" in entry:
        start, end = str(entry["Start-LSN"]), str(entry["End-LSN"])
        ranges.append(WalRange(int(str(entry["Timeline"])), Lsn.parse(start), Lsn.parse(end)))
        return
    if "Encoded-Path" in entry:
        path = bytes.fromhex(str(entry["Encoded-Path"])).decode("utf-8", "surrogateescape")
    else:
        path = str(entry["Path"])
    size = int(str(entry["Size"]))
    if size < 0 or not _is_inside(path):
        raise ValueError(f"bad path or size of {path!r}")
    algorithm, checksum = entry.get("Checksum-Algorithm"), entry.get("Checksum")
    files.append(
        ManifestFile(
            path, size, None if algorithm is None else str(algorithm), None if checksum is None else str(checksum)
        )
    )


def _is_inside(path: str) -> bool:
    return bool(path) and not path.startswith("/") and ".." not in path.split("/") and "\0" not in path


def _check_digest(line: bytes, computed: str, name: str) -> None:
    if _member(line.strip(), b"Manifest-Checksum").lower() != computed:
        raise CorruptRecord(f"{name}: the checksum of the manifest does not match its content")
