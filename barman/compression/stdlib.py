"""gzip, bzip2 and xz, in process. gzip by isal or zlib-ng when installed: many times faster, same stored format."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from barman.compression.codec import FORMATS, copy_stream
from barman.compression.reading import limited_pieces, open_pieces, read_pieces
from barman.typing import Any, BinaryIO, cast

_GZIP_WINDOW = 31
"""zlib's `wbits` for a 32 kB window with a gzip header and trailer."""


class _GzipDecompressor:
    """zlib's decompressor in the manner of `bz2.BZ2Decompressor`."""

    def __init__(self) -> None:
        self._engine = _zlib_module().decompressobj(wbits=_GZIP_WINDOW)

    def decompress(self, data: bytes, limit: int) -> bytes:
        return cast(bytes, self._engine.decompress(self._engine.unconsumed_tail + data, limit))

    @property
    def needs_input(self) -> bool:
        return not self._engine.unconsumed_tail

    @property
    def eof(self) -> bool:
        return bool(self._engine.eof)

    @property
    def unused_data(self) -> bytes:
        # Padding with zero bytes after the last member is legal gzip.
        return cast(bytes, self._engine.unused_data).lstrip(b"\0")


def _zlib_module() -> Any:
    """The fastest implementation of zlib's interface that is installed and whose errors are `zlib.error`-like."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib


def _gzip_engine(level: int) -> Any:
    """A gzip compressor of about the ratio that zlib has at `level`.

    Measured on pgbench WAL: isal's best level leaves 20.2 % of the input, zlib's 6 leaves 20.1 % in nine times the
    time. Who asks for more than 6 asks for ratio and gets zlib's search (zlib-ng's when installed: the same, faster).
    """
    if level <= 6:
        try:
            from isal import isal_zlib
        except ImportError:
            pass
        else:
            return isal_zlib.compressobj(_ISAL_LEVELS[level], wbits=_GZIP_WINDOW)
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib.compressobj(level, wbits=_GZIP_WINDOW)
    return zlib_ng.compressobj(level, wbits=_GZIP_WINDOW)


_ISAL_LEVELS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 3}


def _xz_engine(level: int) -> Any:
    return lzma.LZMACompressor(preset=level, check=lzma.CHECK_CRC64)


def _errors() -> tuple[type[Exception], ...]:
    # isal and zlib raise their own `error`; bz2 raises OSError and EOFError, lzma LZMAError.
    return (zlib.error, _zlib_module().error, lzma.LZMAError, OSError, EOFError, ValueError)


class StdlibCodec:
    """A codec over compressor objects with `compress` and `flush`."""

    def __init__(self, name: str, engine: Callable[[], Any], decompressor: Callable[[], Any]):
        self.name = name
        self._engine = engine
        self._decompressor = decompressor

    def encode_file(self, source: str, target: BinaryIO) -> None:
        """See `codec.Codec`."""
        with open(source, "rb", buffering=0) as file:
            self.encode(cast(BinaryIO, file), target)

    def encode(self, source: BinaryIO, target: BinaryIO) -> None:
        """See `codec.Codec`."""
        engine = self._engine()
        copy_stream(source, lambda piece: target.write(engine.compress(piece)))
        target.write(engine.flush())

    def decoder(self, path: str) -> BinaryIO:
        """See `codec.Codec`."""
        return open_pieces(path, self._pieces)

    def decode(self, source: BinaryIO, subject: str) -> BinaryIO:
        """See `codec.Codec`."""
        return read_pieces(source, subject, self._pieces)

    def _pieces(self, source: BinaryIO, path: str) -> Iterator[bytes]:
        return limited_pieces(source, path, self.name, self._decompressor, _errors())


def make(name: str, level: int) -> StdlibCodec:
    """The codec for gzip, bzip2, xz or one of their older names."""
    magic = FORMATS[name].magic
    if magic == FORMATS["gzip"].magic:
        return StdlibCodec(name, partial(_gzip_engine, level), _GzipDecompressor)
    if magic == FORMATS["bzip2"].magic:
        return StdlibCodec(name, partial(bz2.BZ2Compressor, level), bz2.BZ2Decompressor)
    return StdlibCodec(name, partial(_xz_engine, level), lzma.LZMADecompressor)
