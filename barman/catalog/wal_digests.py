"""What the newest encrypted WAL files contain, as digests: duplicates are recognised without the secret key.

A line is `name<TAB>SHA-256 of the plain content<TAB>SHA-256 of the stored file`. It counts only for a file that is
still, to the last byte, the one that was stored; so lines may be lost, repeated or outdated without harm.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Sequence

from barman.compression.codec import CustomFilters, copy_stream, decoded
from barman.fs.durable import append_lines, make_directory, write_atomic
from barman.postgres.wal_name import is_wal_name
from barman.values import dataclass

_KEPT = 16384
"""Files whose digests are kept at least. A duplicate comes soon, or is compared by decrypting."""

_LONGEST_LINE = 200


@dataclass(frozen=True, slots=True)
class WalDigest:
    """The name of an encrypted file, and the SHA-256 of what is in it and of the stored file."""

    name: str
    content: str
    stored: str

    def line(self) -> bytes:
        """The line of this file."""
        return f"{self.name}\t{self.content}\t{self.stored}\n".encode("ascii")


class WalDigests:
    """The digests of one server. Written under the lock of archive-wal; read by anybody at any time."""

    def __init__(self, path: str):
        self.path = path

    def remember(self, digests: Sequence[WalDigest]) -> None:
        """Add files that are about to be archived, durably. Raises OSError."""
        if not digests:
            return
        make_directory(os.path.dirname(self.path))
        self._shorten()
        append_lines(self.path, b"".join(digest.line() for digest in digests))

    def find(self, name: str) -> WalDigest | None:
        """The last line of that name; None when there is none that can be read. Raises OSError."""
        key = name.encode("ascii") + b"\t"
        try:
            with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                start = content.rfind(b"\n" + key) + 1
                if start == 0 and content[: len(key)] != key:
                    return None
                line = content[start : start + _LONGEST_LINE].split(b"\n")[0]
        except (FileNotFoundError, ValueError):
            return None  # none yet, or an empty file, which cannot be mapped
        columns = line.decode("ascii", "replace").split("\t")
        if len(columns) != 3 or not is_wal_name(columns[0]):
            return None
        return WalDigest(*columns)

    def _shorten(self) -> None:
        try:
            if os.stat(self.path).st_size < 2 * _KEPT * _LONGEST_LINE:
                return
        except FileNotFoundError:
            return
        with open(self.path, "rb") as file:
            lines = file.read().splitlines(keepends=True)
        write_atomic(self.path, b"".join(lines[-_KEPT:]))


def digest_of_file(path: str) -> str:
    """The SHA-256 of a file as it is stored. Raises OSError."""
    state = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            state.update(piece)
    return state.hexdigest()


def digest_of_content(path: str, custom: CustomFilters | None = None) -> str:
    """The SHA-256 of the plain content of a file, however it is compressed. Raises as `codec.decoded`."""
    state = hashlib.sha256()
    with decoded(path, custom) as stream:
        copy_stream(stream, state.update)
    return state.hexdigest()
