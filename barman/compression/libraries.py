"""zstd, lz4 and snappy through optional libraries, in process: they work without the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

from barman.compression.codec import CHUNK, CodecError, copy_stream
from barman.compression.reading import cut_short, damaged, limited_pieces, open_pieces, read_pieces
from barman.typing import Any, BinaryIO, cast

_ZSTD_FEED = 1024
"""Compressed bytes handed to zstd at once. It cannot limit its output; four bytes may stand for 128 kB of it."""

_SNAPPY_MAGIC = b"\xff\x06\x00\x00sNaPpY"
_SNAPPY_LIMIT = 65536
"""The most plain bytes a chunk of framed snappy may hold."""


def _library(module: str, extra: str) -> ModuleType:
    """Import an optional library. Raises CodecError that names the extra to install."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CodecError(
            f"{extra} compression needs the Python module '{module}', which is not installed",
            hint=f"Install it with: pip install 'barman[{extra}]'",
        ) from error


class LibraryCodec:
    """A codec made of an encoder and a generator of decoded pieces."""

    def __init__(
        self,
        name: str,
        engine: Callable[[int], tuple[Callable[[bytes], bytes], Callable[[], bytes], bytes]],
        pieces: Callable[[BinaryIO, str], Iterator[bytes]],
    ):
        self.name = name
        self._engine = engine
        self._pieces = pieces

    def encode_file(self, source: str, target: BinaryIO) -> None:
        """See `codec.Codec`."""
        with open(source, "rb", buffering=0) as file:
            self._encode(cast(BinaryIO, file), target, os.fstat(file.fileno()).st_size)

    def encode(self, source: BinaryIO, target: BinaryIO) -> None:
        """See `codec.Codec`."""
        self._encode(source, target, -1)

    def _encode(self, source: BinaryIO, target: BinaryIO, size: int) -> None:
        """Compress; `size` is written into the header where the format allows, -1 means that it is not known."""
        compress, flush, header = self._engine(size)
        target.write(header)
        copy_stream(source, lambda piece: target.write(compress(piece)))
        target.write(flush())

    def decoder(self, path: str) -> BinaryIO:
        """See `codec.Codec`."""
        return open_pieces(path, self._pieces)

    def decode(self, source: BinaryIO, subject: str) -> BinaryIO:
        """See `codec.Codec`."""
        return read_pieces(source, subject, self._pieces)


def _zstd_engine(zstd: Any, level: int, size: int) -> tuple[Callable[[bytes], bytes], Callable[[], bytes], bytes]:
    engine = zstd.ZstdCompressor(level=level, write_checksum=True, write_content_size=True).compressobj(size=size)
    return engine.compress, engine.flush, b""


def _zstd_pieces(zstd: Any, source: BinaryIO, path: str) -> Iterator[bytes]:
    engine, started, data = zstd.ZstdDecompressor().decompressobj(), False, source.read(_ZSTD_FEED)
    while data:
        try:
            piece = engine.decompress(data)
        except zstd.ZstdError as error:
            raise damaged(path, "zstd", error) from error
        started = True
        if piece:
            yield piece
        data = b""
        if engine.eof:
            data = engine.unused_data
            engine, started = zstd.ZstdDecompressor().decompressobj(), False
        data = data or source.read(_ZSTD_FEED)
    if started:
        raise cut_short(path, "zstd")


def _lz4_engine(frame: Any, level: int, size: int) -> tuple[Callable[[bytes], bytes], Callable[[], bytes], bytes]:
    engine = frame.LZ4FrameCompressor(compression_level=level, content_checksum=True)
    return engine.compress, engine.flush, engine.begin(max(size, 0))


def _lz4_pieces(frame: Any, source: BinaryIO, path: str) -> Iterator[bytes]:
    return limited_pieces(source, path, "lz4", frame.LZ4FrameDecompressor, (RuntimeError, EOFError))


def _snappy_engine(snappy: Any, _size: int) -> tuple[Callable[[bytes], bytes], Callable[[], bytes], bytes]:
    engine, written = snappy.Compressor(), False

    def compress(piece: bytes) -> bytes:
        nonlocal written
        written = True
        engine.compress(piece)
        return bytes(engine.flush())

    def finish() -> bytes:
        # The library writes the stream identifier with the first data: an empty file would stay without.
        return bytes(engine.finish()) if written else _SNAPPY_MAGIC

    return compress, finish, b""


def _snappy_pieces(snappy: Any, source: BinaryIO, path: str) -> Iterator[bytes]:
    """Decode whole chunks, a megabyte of them at a time; the library verifies their checksums."""
    ready, size = [_SNAPPY_MAGIC], 0
    while header := source.read(4):
        length = int.from_bytes(header[1:4], "little")
        body = source.read(length) if len(header) == 4 else b""
        if len(header) < 4 or len(body) < length:
            raise cut_short(path, "snappy")
        if header[0] == 0xFF:
            continue
        ready += (header, body)
        size += _SNAPPY_LIMIT
        if size >= CHUNK:
            yield _snappy_decode(snappy, b"".join(ready), path)
            ready, size = [_SNAPPY_MAGIC], 0
    if len(ready) > 1:
        yield _snappy_decode(snappy, b"".join(ready), path)


def _snappy_decode(snappy: Any, data: bytes, path: str) -> bytes:
    try:
        return bytes(snappy.decompress(data))
    except Exception as error:
        # cramjam.DecompressionError does not say more of its ancestry than Exception.
        raise damaged(path, "snappy", error) from error


def make(name: str, level: int) -> LibraryCodec:
    """The codec for zstd, lz4 or snappy. Raises CodecError when its library is not installed."""
    if name == "zstd":
        zstd = _library("zstandard", "zstd")
        return LibraryCodec(name, partial(_zstd_engine, zstd, level), partial(_zstd_pieces, zstd))
    if name == "lz4":
        frame = _library("lz4.frame", "lz4")
        return LibraryCodec(name, partial(_lz4_engine, frame, level), partial(_lz4_pieces, frame))
    snappy = _library("cramjam", "snappy").snappy
    return LibraryCodec(name, partial(_snappy_engine, snappy), partial(_snappy_pieces, snappy))
