"""Backups that are tar archives, made without a server: as pg_basebackup lays them out, whole or spoilt on purpose."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Iterable, Mapping

from barman.postgres.crc32c import Crc32c

OID = 16390
VERSION_DIRECTORY = "PG_15_202209061"
LABEL = (
    b"START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n"
    b"BACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-01-01 00:00:00 UTC\n"
    b"LABEL: pg_basebackup base backup\nSTART TIMELINE: 1\n"
)
BASE: Mapping[str, bytes] = {
    "backup_label": LABEL,
    "tablespace_map": f"{OID} /spaces/far\n".encode(),
    "PG_VERSION": b"15\n",
    "base/1/2619": bytes(range(256)) * 96,
    "base/1/empty": b"",
    "postgresql.conf": b"port = 5432\n",
    "log/server.log": b"old news\n",
    "global/pg_control": b"c" * 8192,
}
SPACE: Mapping[str, bytes] = {f"{VERSION_DIRECTORY}/5/16400": b"far away" * 1000}


def entry(
    name: str, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = "", size: int | None = None
) -> bytes:
    """One entry as PostgreSQL writes it: a plain ustar header, the content, padding; `size` may lie."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.type, info.linkname = len(data) if size is None else size, 1700000000, kind, link
    info.mode = 0o700 if kind == tarfile.DIRTYPE else 0o600
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def tar(files: Mapping[str, bytes], directories: Iterable[str] = (), *extra: bytes) -> bytes:
    """An archive with an end mark; directories first, as PostgreSQL has it, and `extra` entries last."""
    names = {*directories, *(os.path.dirname(name) for name in files)} - {""}
    names |= {parent for name in names for parent in _parents(name)}
    made = [entry(f"{name}/", kind=tarfile.DIRTYPE) for name in sorted(names)]
    return b"".join([*made, *(entry(name, data) for name, data in files.items()), *extra, bytes(1024)])


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def base_tar(*extra: bytes, files: Mapping[str, bytes] = BASE) -> bytes:
    """The archive of a data directory, with an empty directory and the link of a tablespace."""
    link = entry(f"pg_tblspc/{OID}/", kind=tarfile.SYMTYPE, link="/spaces/far")
    return tar(files, ("pg_wal/archive_status", "pg_notify", "pg_tblspc"), link, *extra)


def manifest(algorithm: str = "CRC32C", **changed: Mapping[str, bytes]) -> bytes:
    """The manifest of both archives, as PostgreSQL 13 to 16 writes it."""
    base, space = changed.get("base", BASE), changed.get("space", SPACE)
    files = {**base, **{f"pg_tblspc/{OID}/{name}": data for name, data in space.items()}}
    lines = ",\n".join(json.dumps(_described(name, data, algorithm)) for name, data in files.items())
    text = '{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n' + lines + '\n],\n"WAL-Ranges": [\n'
    text += '{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }\n],\n'
    return f'{text}"Manifest-Checksum": "{hashlib.sha256(text.encode()).hexdigest()}"}}\n'.encode()


def _described(name: str, data: bytes, algorithm: str) -> dict[str, object]:
    described: dict[str, object] = {"Path": name, "Size": len(data), "Last-Modified": "2026-01-01 00:00:00 GMT"}
    if algorithm != "NONE":
        digest = Crc32c() if algorithm == "CRC32C" else hashlib.new(algorithm.lower())
        digest.update(data)
        described |= {"Checksum-Algorithm": algorithm, "Checksum": digest.hexdigest()}
    return described


def pack(data: bytes, suffix: str) -> bytes:
    """Compress as the suffix says."""
    if suffix == ".gz":
        return gzip.compress(data, 1)
    if suffix == ".lz4":
        import lz4.frame

        return bytes(lz4.frame.compress(data))
    if suffix == ".zst":
        import zstandard

        return zstandard.ZstdCompressor().compress(data)
    return data


def lay_out(
    directory: str, *, suffix: str = ".gz", base: bytes | None = None, checksums: str | None = "CRC32C"
) -> None:
    """Fill the data directory of a backup with its archives and, with `checksums`, its manifest."""
    os.makedirs(directory, exist_ok=True)
    contents = {f"base.tar{suffix}": pack(base_tar() if base is None else base, suffix)}
    contents[f"{OID}.tar{suffix}"] = pack(tar(SPACE), suffix)
    if checksums is not None:
        contents["backup_manifest"] = manifest(checksums)
    for name, data in contents.items():
        with open(os.path.join(directory, name), "wb") as file:
            file.write(data)
