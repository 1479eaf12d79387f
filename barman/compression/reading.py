"""Streaming decoders: a file object over an engine's incremental decompressor.

Memory is bounded whatever the input: engines that can limit their output are told to, the others are fed little at a
time.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from barman.compression.codec import CHUNK, CodecError
from barman.typing import Any, BinaryIO, cast

Feed = Callable[[bytes, int], bytes]
"""Plain bytes (at most so many) for some more compressed ones."""


class PieceReader(io.RawIOBase):
    """A readable raw stream over an iterator of byte pieces; closing it closes the source."""

    def __init__(self, pieces: Iterator[bytes], source: BinaryIO):
        self._pieces = pieces
        self._source = source
        self._left = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from the current piece; 0 at the end."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        self._position += len(taken)
        return len(taken)

    def tell(self) -> int:
        """How many plain bytes were read."""
        return self._position

    def close(self) -> None:
        """Close the compressed source too."""
        self._source.close()
        super().close()


def open_pieces(path: str, make: Callable[[BinaryIO, str], Iterator[bytes]]) -> BinaryIO:
    """A buffered reader of the plain pieces that `make` yields for the file `path`."""
    return read_pieces(cast(BinaryIO, open(path, "rb")), path, make)  # PieceReader.close closes it


def read_pieces(source: BinaryIO, subject: str, make: Callable[[BinaryIO, str], Iterator[bytes]]) -> BinaryIO:
    """The same for an open stream, which it closes; `subject` is what messages call it."""
    return cast(BinaryIO, io.BufferedReader(PieceReader(make(source, subject), source), CHUNK))


def damaged(path: str, name: str, reason: object) -> CodecError:
    """The error for a compressed file that cannot be decoded."""
    return CodecError(f"cannot decompress '{path}': damaged {name} data ({reason})")


def cut_short(path: str, name: str) -> CodecError:
    """The error for a compressed file without its end."""
    return CodecError(f"cannot decompress '{path}': {name} data end before their end marker")


def limited_pieces(
    source: BinaryIO, path: str, name: str, new: Callable[[], Any], errors: tuple[type[Exception], ...]
) -> Iterator[bytes]:
    """Pieces of concatenated streams, decoded by objects in the style of `bz2.BZ2Decompressor`.

    `new` makes an object with `decompress(data, max_length)`, `needs_input`, `eof` and `unused_data`.
    """
    engine, started, data = new(), False, source.read(CHUNK)
    while data or started:
        if not data and engine.needs_input:
            data = source.read(CHUNK)
            if not data:
                raise cut_short(path, name)
        try:
            piece = engine.decompress(data, CHUNK)
        except errors as error:
            raise damaged(path, name, error) from error
        started, data = True, b""
        if piece:
            yield piece
        if engine.eof:
            data = (engine.unused_data or b"") or source.read(CHUNK)
            engine, started = new(), False
