"""Write what `barman put-wal` reads: a tar archive of WAL files, each followed by its checksum.

Format: POSIX pax, with the records that the original's client writes too.
"""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)

_CONFIRM = "BARMAN.confirm"
"""Asks the server to confirm each file as soon as it is stored; servers that do not know it ignore it."""


def file_header(name: str, size: int, mtime: float) -> bytes:
    """Return the headers of a WAL file; its content follows, then `padding`."""
    records = _record("mtime", f"{max(mtime, 0.0):.6f}") + _record(_CONFIRM, "1")
    extended = _header(f"./PaxHeaders/{name}", len(records), 0, b"x") + records + padding(len(records))
    return extended + _header(name, size, min(max(int(mtime), 0), 0o77777777777), b"0")


def checksum_member(algorithm: str, digest: str, name: str) -> bytes:
    """Return the whole member that tells the digest of a file."""
    text = f"{digest} *{name}\n".encode()
    member = "MD5SUMS" if algorithm == "md5" else "SHA256SUMS"
    return _header(member, len(text), 0, b"0") + text + padding(len(text))


def padding(size: int) -> bytes:
    """Return what fills the last block of a content."""
    return bytes(-size % BLOCK)


def _record(key: str, value: str) -> bytes:
    """Return a PAX record: its length counts its own digits."""
    body = f" {key}={value}\n".encode()
    length = len(body) + len(str(len(body) + len(str(len(body)))))
    return str(length).encode() + body


def _header(name: str, size: int, mtime: int, kind: bytes) -> bytes:
    encoded = name.encode("utf-8", "surrogateescape")[:100]
    fields = (
        encoded.ljust(100, b"\0")
        + b"0000600\0"
        + b"0000000\0" * 2
        + f"{size:011o}\0{mtime:011o}\0".encode()
        + b" " * 8
        + kind
        + bytes(100)
        + b"ustar\x0000"
        + bytes(32 * 2)
        + b"0000000\0" * 2
    ).ljust(BLOCK, b"\0")
    checksum = f"{sum(fields):06o}\0 ".encode()
    return fields[:148] + checksum + fields[156:]
