"""Compression formats of WAL: names, levels, magic bytes, and the registry of codecs.

Start-up matters here: clients import this module on every WAL. It imports no engine (an engine's module is imported
when a codec of it is made).

Names, magic bytes and level ranges are on-disk and configuration facts (catalog reference, section 12).
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from barman.errors import BarmanError
from barman.typing import BinaryIO, Protocol, cast
from barman.values import dataclass

CHUNK = 1 << 20
"""Bytes read at once: large enough that the engines work without the GIL most of the time."""


_SEAL_SIZE = 16
"""Leading bytes that tell an encrypted file."""


class CodecError(BarmanError):
    """Data cannot be encoded or decoded: damaged, cut short, or the program or library for it is missing."""


@dataclass(frozen=True, slots=True)
class Format:
    """What is known of one `compression` name without running its engine."""

    name: str
    magic: bytes = b""
    low: int = 0
    medium: int = 0
    high: int = 0
    minimum: int = 0
    maximum: int = 0
    engine: str = ""

    def level(self, configured: int | str | None) -> int:
        """The engine's level for `low`, `medium`, `high`, a number (clamped to the range) or None (medium)."""
        if configured is None:
            return self.medium
        if isinstance(configured, str):
            named = {"low": self.low, "medium": self.medium, "high": self.high}.get(configured.strip().lower())
            if named is not None:
                return named
            try:
                configured = int(configured)
            except ValueError:
                raise CodecError(
                    f"invalid compression level '{configured}'", hint="Use an integer, low, medium or high."
                ) from None
        return max(self.minimum, min(self.maximum, configured))


_GZIP = b"\x1f\x8b\x08"
_BZIP2 = b"BZh"

FORMATS: Mapping[str, Format] = {
    item.name: item
    for item in (
        Format("bzip2", _BZIP2, 1, 5, 9, 1, 9, "stdlib"),
        Format("custom", engine="external"),
        Format("gzip", _GZIP, 1, 6, 9, 1, 9, "stdlib"),
        Format("lz4", b"\x04\x22\x4d\x18", 0, 6, 10, 0, 16, "libraries"),
        Format("pigz", _GZIP, 1, 6, 9, 1, 9, "external"),
        Format("pybzip2", _BZIP2, 1, 5, 9, 1, 9, "stdlib"),
        Format("pygzip", _GZIP, 1, 6, 9, 1, 9, "stdlib"),
        Format("snappy", b"\xff\x06\x00\x00sNaPpY", engine="libraries"),
        Format("xz", b"\xfd7zXZ\x00", 1, 3, 5, 1, 9, "stdlib"),
        Format("zstd", b"\x28\xb5\x2f\xfd", 1, 4, 9, -22, 22, "libraries"),
    )
}
"""Every name the `compression` option accepts, in alphabetical order: detection answers with the first that fits."""


class Unsealer(Protocol):
    """What reads encrypted files; see `encryption.gpg.Gpg`."""

    def recognises(self, head: bytes) -> bool:
        """Tell whether a file that begins with `head` is encrypted."""

    def open(self, path: str) -> io.BufferedReader:
        """Return a stream of the decrypted content. Raises EncryptionError, and so does reading."""


@dataclass(frozen=True, slots=True)
class CustomFilters:
    """What one server's configuration adds to the formats that are built in.

    Shell filters of `compression = custom`, each reading stdin and writing stdout, and the magic of their output; and
    what reads encrypted files, without which their bytes are taken as they are.
    """

    compression: str | None = None
    decompression: str | None = None
    magic: bytes | None = None
    unsealer: Unsealer | None = None

    @staticmethod
    def from_options(compression: str | None, decompression: str | None, magic: str | None) -> CustomFilters:
        """From the `custom_compression_*` options; the magic is text like `0x28b52ffd`.

        Raises CodecError when the magic is not hexadecimal.
        """
        if not magic:
            return CustomFilters(compression or None, decompression or None)
        text = magic.strip()
        try:
            value = bytes.fromhex(text[2:] if text[:2].lower() == "0x" else text)
        except ValueError:
            raise CodecError(f"invalid custom_compression_magic '{magic}': not a hexadecimal number") from None
        return CustomFilters(compression or None, decompression or None, value)

    def require_both(self) -> None:
        """Raise CodecError unless what is compressed can be decompressed again."""
        pairs = (("custom_compression_filter", self.compression), ("custom_decompression_filter", self.decompression))
        for option, command in pairs:
            if not command:
                raise CodecError(
                    f"compression = custom needs the option {option}", hint=f"Set {option} for this server."
                )


class Codec(Protocol):
    """One compression format at one level. Safe to use from several threads at once."""

    @property
    def name(self) -> str:
        """The configured name (`pigz`, not `gzip`): what the WAL index records."""

    def encode_file(self, source: str, target: BinaryIO) -> None:
        """Write the compressed content of the file `source` into `target`, an empty file that is open for writing.

        Raises CodecError, or OSError as reading and writing do. The target is not synced.
        """

    def encode(self, source: BinaryIO, target: BinaryIO) -> None:
        """The same for open streams."""

    def decoder(self, path: str) -> BinaryIO:
        """A stream of the plain content of the file `path`; reading raises CodecError if it is damaged or cut short."""

    def decode(self, source: BinaryIO, subject: str) -> BinaryIO:
        """The same for an open stream, which is closed with the one that is returned; `subject` is for messages."""


def find_codec(
    name: str,
    *,
    level: int | str | None = None,
    custom: CustomFilters | None = None,
    env: Mapping[str, str] | None = None,
) -> Codec:
    """The codec for a `compression` name other than none.

    `env` is the environment of external programs. Raises CodecError for an unknown name, a missing library or program,
    or a custom filter that is not configured.
    """
    known = FORMATS.get(name)
    if known is None:
        raise CodecError(f"unknown compression '{name}'", hint=f"Use one of: {', '.join(FORMATS)}.")
    number = known.level(level)
    if known.engine == "stdlib":
        from barman.compression import stdlib

        return stdlib.make(name, number)
    if known.engine == "libraries":
        from barman.compression import libraries

        return libraries.make(name, number)
    from barman.compression import external

    return external.make(name, number, custom or CustomFilters(), env)


def head_size(custom: CustomFilters | None = None) -> int:
    """How many leading bytes of a file `detect` wants to see."""
    longest = max(len(item.magic) for item in FORMATS.values())
    return max(longest, len(custom.magic) if custom and custom.magic else 0)


def detect(head: bytes, custom: CustomFilters | None = None) -> str | None:
    """The format of a file that begins with `head`; None when it is not compressed.

    Several names share a magic: the alphabetically first one is answered, as the index of the original expects. The
    magic of custom filters is tried after the others. With a decompression filter and no magic, whatever does not begin
    like a WAL file of PostgreSQL is taken for the output of the filter, as in the original.
    """
    for item in FORMATS.values():
        if item.magic and head.startswith(item.magic):
            return item.name
    if custom is None:
        return None
    if custom.magic:
        return "custom" if head.startswith(custom.magic) else None
    return "custom" if custom.decompression and head and not _begins_as_wal(head) else None


def _begins_as_wal(head: bytes) -> bool:
    """Whether a file begins with a WAL page (magic 0xD0xx or 0xD1xx), as text (history, label), or with nothing yet."""
    if len(head) >= 2 and head[1] in (0xD0, 0xD1):
        return True
    return not head.strip(b"\0") or not head.translate(None, _TEXT)


_TEXT = bytes(range(32, 127)) + b"\t\n\r"


def detect_file(path: str, custom: CustomFilters | None = None) -> str | None:
    """`detect` on the first bytes of a file. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return detect(file.read(head_size(custom)), custom)


@contextmanager
def decoded(path: str, custom: CustomFilters | None = None) -> Iterator[BinaryIO]:
    """Open a stored file and read its plain content, whatever its compression; plain files are read as they are.

    An encrypted file is decrypted first, when `custom` can. Opening raises OSError and EncryptionError; reading raises
    CodecError or EncryptionError when the content is damaged or cut short. Memory is bounded however hostile the file
    (except for custom filters, whose output is held whole).
    """
    with open(path, "rb", buffering=0) as beginning:
        head = beginning.read(max(head_size(custom), _SEAL_SIZE))
    name = detect(head, custom)
    if is_sealed(head, custom):
        with unsealed(path, custom) as stored, plain(stored, path, custom) as stream:
            yield stream
    elif name:
        with find_codec(name, custom=custom).decoder(path) as stream:
            yield stream
    else:
        with open(path, "rb") as file:
            yield cast(BinaryIO, file)


def is_sealed(head: bytes, custom: CustomFilters | None) -> bool:
    """Whether a file that begins with `head` is encrypted, and `custom` knows how to read it."""
    return custom is not None and custom.unsealer is not None and custom.unsealer.recognises(head)


@contextmanager
def unsealed(path: str, custom: CustomFilters | None) -> Iterator[io.BufferedReader]:
    """Open an encrypted file (see `is_sealed`) and read what is inside, which may be compressed.

    Raises EncryptionError, and so does reading; only its end says that everything was whole.
    """
    assert custom is not None
    assert custom.unsealer is not None
    with custom.unsealer.open(path) as stream:
        yield stream


@contextmanager
def plain(stored: io.BufferedReader, subject: str, custom: CustomFilters | None = None) -> Iterator[BinaryIO]:
    """Read the plain content of an open stream, whatever its compression; see `decoded`."""
    name = detect(stored.peek(CHUNK)[: head_size(custom)], custom)
    if name is None:
        yield cast(BinaryIO, stored)
        return
    with find_codec(name, custom=custom).decode(cast(BinaryIO, stored), subject) as stream:
        yield stream


def copy_stream(source: BinaryIO, sink: Callable[[bytes], object]) -> int:
    """Hand everything in `source` to `sink`, piece by piece; answer the number of bytes."""
    total = 0
    while piece := source.read(CHUNK):
        sink(piece)
        total += len(piece)
    return total


def same_content(first: str, second: str, custom: CustomFilters | None = None) -> bool:
    """Whether two files hold the same plain bytes, however each is compressed.

    Contents are compared, never sizes and times alone. Raises OSError, CodecError and EncryptionError.
    """
    if os.path.samefile(first, second):
        return True
    with decoded(first, custom) as left, decoded(second, custom) as right:
        while True:
            here, there = left.read(CHUNK), right.read(CHUNK)
            if here != there:
                return False
            if not here:
                return True
