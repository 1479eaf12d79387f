"""Tar streams for put-wal: well-formed ones as clients send them, and pieces to make bad ones of."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping


def member(name: str, data: bytes, *, kind: bytes = tarfile.REGTYPE, pax: Mapping[str, str] | None = None) -> bytes:
    """One member with its headers and padding, written by Python's own tarfile."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.type = len(data), 1700000000, kind
    info.pax_headers = dict(pax or {})
    if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = "/etc/passwd"
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)


def sums(files: Mapping[str, bytes], algorithm: str = "sha256") -> bytes:
    """The checksum member for some files."""
    name = "MD5SUMS" if algorithm == "md5" else "SHA256SUMS"
    lines = [f"{hashlib.new(algorithm, data).hexdigest()} *{file}\n" for file, data in files.items()]
    return member(name, "".join(lines).encode())


def archive(files: Mapping[str, bytes], *, algorithm: str = "sha256", confirm: bool = False) -> bytes:
    """A whole stream; with `confirm` each file is followed by its checksum, as our own client sends them."""
    if confirm:
        pieces = [
            member(name, data, pax={"BARMAN.confirm": "1"}) + sums({name: data}, algorithm)
            for name, data in files.items()
        ]
        return b"".join(pieces) + bytes(1024)
    return b"".join(member(name, data) for name, data in files.items()) + sums(files, algorithm) + bytes(1024)


def as_tarfile_writes(files: Mapping[str, bytes]) -> bytes:
    """The same through tarfile's streaming mode, which the original uses."""
    target = io.BytesIO()
    everything = {**files, "SHA256SUMS": b""}
    everything["SHA256SUMS"] = "".join(
        f"{hashlib.sha256(data).hexdigest()} *{name}\n" for name, data in files.items()
    ).encode()
    with tarfile.open(mode="w|", fileobj=target, format=tarfile.PAX_FORMAT) as tar:
        for name, data in everything.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1700000000.25
            tar.addfile(info, io.BytesIO(data))
    return target.getvalue()


def pax(records: Mapping[str, str], *, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header by itself: for the next member, or for all that follow (`tarfile.XGLTYPE`)."""
    data = b"".join(_record(key, value) for key, value in records.items())
    info = tarfile.TarInfo("PaxHeaders/x")
    info.size, info.type = len(data), kind
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def claimed(name: str, size: int, *, kind: bytes = tarfile.REGTYPE, mtime: float = 1700000000) -> bytes:
    """A header alone, which says that so much follows."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mtime = size, kind, mtime
    return info.tobuf(tarfile.GNU_FORMAT)


def _record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body
