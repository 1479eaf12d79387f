"""Read a tar archive of pg_basebackup: files and directories by relative names, and the links of tablespaces.

PostgreSQL writes plain ustar headers, nothing else (`tarCreateHeader` in `tar.c`), so everything else is refused. The
archive has lain on a disk and travelled: memory is bounded and no name is trusted, whatever it holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from barman.errors import BackupError
from barman.typing import BinaryIO
from barman.values import dataclass
from barman.wal.tar_stream import BLOCK, TarError, header_checksums, header_number

FILE, DIRECTORY, LINK = "file", "directory", "link"
_KINDS = {b"0": FILE, b"\0": FILE, b"5": DIRECTORY, b"2": LINK}
_TABLESPACE_LINK = re.compile(r"pg_tblspc/\d{1,10}\Z")
_ZERO = bytes(BLOCK)
_CHUNK = 1 << 20
_MAX_AFTER_END = 1 << 24


@dataclass(frozen=True, slots=True)
class TarMember:
    """One entry; `name` is relative, normal, and leads nowhere else; `mode` has permissions only."""

    name: str
    kind: str
    size: int
    mode: int
    mtime: int


class TarReader:
    """The entries of an archive, one after another; the content of a file is read before the next is asked for."""

    def __init__(self, stream: BinaryIO, path: str) -> None:
        """Read from `stream`, the decoded content of the file `path`."""
        self._stream = stream
        self._path = path
        self._left = 0
        self._padding = 0

    def members(self) -> Iterator[TarMember]:
        """Yield the entries up to the end mark, then read the rest, which a decoder judges.

        Raises BackupError for what PostgreSQL does not write and for an archive that ends before its end mark,
        CodecError for one that cannot be decoded.
        """
        while True:
            for _ in self.content():
                pass
            self._exactly(self._padding)
            self._padding = 0
            block = self._exactly(BLOCK)
            if block == _ZERO:
                return self._drain()
            yield self._member(block)

    def content(self) -> Iterator[bytes]:
        """Yield what is left of the current file. Raises BackupError when the archive ends inside."""
        while self._left:
            piece = self._stream.read(min(self._left, _CHUNK))
            if not piece:
                raise self._damaged("it ends in the middle of a file")
            self._left -= len(piece)
            yield piece

    def _member(self, block: bytes) -> TarMember:
        try:
            if header_number(block[148:156]) not in header_checksums(block):
                raise self._damaged("the checksum of a header is wrong")
            size, mode, mtime = (header_number(block[start:end]) for start, end in ((124, 136), (100, 108), (136, 148)))
        except TarError as error:
            raise self._damaged(error.message) from None
        name = os.fsdecode(block[:100].split(b"\0", 1)[0])
        if block[257:262] == b"ustar" and block[345:346] != b"\0":
            name = f"{os.fsdecode(block[345:500].split(bytes(1), 1)[0])}/{name}"
        kind = _KINDS.get(block[156:157])
        if kind is None:
            raise self._damaged(f"it holds {name!r:.200}, which is neither file nor directory")
        name = self._safe(name, kind)
        if kind != FILE and size:
            raise self._damaged(f"it holds {name!r:.200}, which has a content and is no file")
        self._left, self._padding = size, -size % BLOCK
        return TarMember(name, kind, size, mode & 0o777, max(0, min(mtime, 1 << 40)))

    def _safe(self, name: str, kind: str) -> str:
        """Return the name as it may be appended to a directory. Raises BackupError when it may not."""
        bare = name.removeprefix("./")
        if kind != FILE:
            # PostgreSQL ends the names of directories, and of links to them, with a slash.
            bare = bare.removesuffix("/")
        if any(part in ("", ".", "..") for part in bare.split("/")):
            raise self._damaged(f"the name {name!r:.200} leads out of it, or nowhere")
        if kind == LINK and not _TABLESPACE_LINK.match(bare):
            raise self._damaged(f"it holds the link {name!r:.200}, which is not that of a tablespace")
        return bare

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size) if size else b""
        while len(data) < size:
            piece = self._stream.read(size - len(data))
            if not piece:
                raise self._damaged("it ends before its end mark")
            data += piece
        return data

    def _drain(self) -> None:
        left = _MAX_AFTER_END
        while piece := self._stream.read(BLOCK * 64):
            left -= len(piece)
            if left < 0 or piece.strip(b"\0"):
                raise self._damaged("something follows its end mark")

    def _damaged(self, reason: str) -> BackupError:
        return BackupError(f"archive '{self._path}' is damaged: {reason}")
