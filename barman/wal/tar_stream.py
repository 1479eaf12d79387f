"""Read a tar archive from a stream that somebody else writes: regular files with bare names, and nothing else.

Understood are ustar headers and the PAX extended headers of the original's client. Memory is bounded whatever the
stream says; nothing is trusted: the checksum of a header, its numbers, the length of an extended header. Format: POSIX
pax, "ustar Interchange Format".
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

from barman.errors import WalError
from barman.typing import Protocol
from barman.values import dataclass

BLOCK = 512
CONFIRM_RECORD = "BARMAN.confirm"
"""A PAX record by which a client asks that every file be confirmed as soon as it is stored. Readers ignore unknown
records, so it may be sent to every server."""

_CHUNK = 1 << 18
_MAX_EXTENDED = 1 << 16
_MAX_HEADERS = 8
_MAX_AFTER_END = 1 << 20
_REGULAR = (b"0", b"\0")
_ZERO = bytes(BLOCK)
_RECORDS = frozenset(("path", "size", "mtime", CONFIRM_RECORD))
_SPARSE = "GNU.sparse."


class ByteStream(Protocol):
    """What is read from."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, at least one of them before the end."""


class TarError(WalError):
    """The stream is damaged, cut short, or holds what must not be in it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the archive. `name` is as sent, without a leading `./`; its content is read from the reader."""

    name: str
    size: int
    mtime: float
    confirm: bool = False


class PatientStream:
    """A descriptor that is read until nothing comes for a while: who holds the other end cannot hold us for ever."""

    def __init__(self, descriptor: int, seconds: float) -> None:
        self._descriptor = descriptor
        self._seconds = seconds

    def read(self, size: int) -> bytes:
        """Up to `size` bytes as they come, nothing at the end. Raises TarError when nothing comes."""
        ready, _, _ = select.select([self._descriptor], [], [], self._seconds)
        if not ready:
            raise TarError(f"nothing came for {self._seconds:g} seconds")
        return os.read(self._descriptor, size)


class TarReader:
    """The members of a stream, one after another; the content of each is read before the next is asked for."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._left = 0
        self._padding = 0
        self._common: dict[str, str] = {}

    def members(self) -> Iterator[Member]:
        """Yield the members up to the end mark. Raises TarError, also when the stream ends before that mark."""
        first, own, headers = True, None, 0
        while True:
            self._skip_rest()
            block = self._header(first)
            if block == _ZERO:
                if own is not None:
                    raise TarError("unexpected end of data")
                self._drain()
                return
            first = False
            kind, size = block[156:157], header_number(block[124:136])
            if kind in (b"x", b"g"):
                headers += 1
                if headers > _MAX_HEADERS:
                    raise TarError(f"more than {_MAX_HEADERS} extended headers before a file")
                records = self._extended(size)
                if kind == b"g":
                    self._common.update(records)
                else:
                    own = records
                continue
            records = {**self._common, **(own or {})}
            own, headers = None, 0
            yield self._member(block, kind, size, records)

    def content(self) -> Iterator[bytes]:
        """Yield the content of the current member. Raises TarError when the stream ends inside."""
        while self._left:
            piece = self._stream.read(min(self._left, _CHUNK))
            if not piece:
                raise TarError("unexpected end of data")
            self._left -= len(piece)
            yield piece

    def read(self, limit: int) -> bytes:
        """Return the content of the current member. Raises TarError when it is longer than `limit`."""
        if self._left > limit:
            raise TarError(f"a file of {self._left} bytes is too long for its kind")
        return b"".join(self.content())

    def _member(self, block: bytes, kind: bytes, size: int, records: dict[str, str]) -> Member:
        name = records.get("path") or _text(block[:100])
        if not records.get("path") and block[257:263] == b"ustar\0" and block[345:346] != b"\0":
            name = f"{_text(block[345:500])}/{name}"
        name = name.removeprefix("./")
        if kind not in _REGULAR:
            raise TarError(f"Unsupported file type '{_text(kind)}' for file '{name:.200}'")
        if "/" in name or "\0" in name or name in ("", ".", ".."):
            raise TarError(f"Unsupported filename '{name:.200}'")
        if "size" in records:
            size = _decimal(records["size"])
        self._left, self._padding = size, -size % BLOCK
        mtime = _moment(records.get("mtime")) if "mtime" in records else float(header_number(block[136:148]))
        return Member(name, size, mtime, CONFIRM_RECORD in records)

    def _header(self, first: bool) -> bytes:
        block = self._exactly(BLOCK, allow_nothing=first)
        if not block:
            raise TarError("empty file")
        if block != _ZERO and header_number(block[148:156]) not in header_checksums(block):
            raise TarError("invalid header")
        return block

    def _extended(self, size: int) -> dict[str, str]:
        if size > _MAX_EXTENDED:
            raise TarError(f"an extended header of {size} bytes is too long")
        data = self._exactly(size + -size % BLOCK)[:size]
        return _records(data)

    def _skip_rest(self) -> None:
        for _ in self.content():
            pass
        padding, self._padding = self._padding, 0
        self._exactly(padding)

    def _exactly(self, size: int, *, allow_nothing: bool = False) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._stream.read(size - len(data))
            if not piece:
                if allow_nothing and not data:
                    return b""
                raise TarError("unexpected end of data")
            data += piece
        return data

    def _drain(self) -> None:
        """Take what follows the end mark: a writer must not meet a closed pipe while it fills up its last record."""
        left = _MAX_AFTER_END
        while left > 0 and (piece := self._stream.read(min(left, _CHUNK))):
            left -= len(piece)


def header_checksums(block: bytes) -> tuple[int, int]:
    """The sum of the header with a blank checksum field: of unsigned and, as old writers had it, of signed bytes."""
    counted = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(counted)
    return unsigned, unsigned - 256 * sum(1 for byte in counted if byte > 127)


def header_number(field: bytes) -> int:
    """An octal number, or one in base 256 as GNU tar writes large ones. Raises TarError."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0", 1)[0].strip(b" ")
    if not text:
        return 0
    if len(text) > 12 or text.strip(b"01234567"):
        raise TarError("invalid header")
    return int(text, 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise TarError("invalid header")
    return int(text)


def _moment(text: str | None) -> float:
    try:
        moment = float(text or "")
    except ValueError:
        raise TarError("invalid header") from None
    if not 0 <= moment < 1 << 40:
        raise TarError("invalid header")
    return moment


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _records(data: bytes) -> dict[str, str]:
    """Those of the records `LENGTH KEY=VALUE\\n` of an extended header that mean something here. Raises TarError."""
    records: dict[str, str] = {}
    while data:
        digits, blank, _ = data.partition(b" ")
        if not blank or not digits.isdigit() or len(digits) > 6:
            raise TarError("invalid header")
        length = int(digits)
        if length > len(data):
            raise TarError("invalid header")
        record, data = data[len(digits) + 1 : length], data[length:]
        key, equals, value = record.partition(b"=")
        if length <= len(digits) + 1 or not equals or not value.endswith(b"\n"):
            raise TarError("invalid header")
        name = key.decode("utf-8", "replace")
        if name.startswith(_SPARSE):
            raise TarError("Unsupported file type: a sparse file")
        if name in _RECORDS:
            records[name] = value[:-1].decode("utf-8", "replace")
    return records
