"""Codecs that run other programs: pigz, and the configured filters of `compression = custom`."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping

from barman import process
from barman.compression import stdlib
from barman.compression.codec import CodecError, CustomFilters
from barman.errors import TransportError
from barman.typing import BinaryIO


def _filter_file(command: str, source: str, target: str, env: Mapping[str, str] | None) -> None:
    """Run a shell filter from file to file; the paths are arguments, never part of the command.

    Raises CodecError with what the program said when it fails.
    """
    _run(["/bin/sh", "-c", "{ " + command + '\n} < "$1" > "$2"', "sh", source, target], command, source, env=env)


def _run(
    argv: list[str], command: str, subject: str, *, env: Mapping[str, str] | None = None, stdin: bytes | None = None
) -> bytes:
    try:
        completed = process.run(argv, env=env, stdin=stdin)
    except (TransportError, OSError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        raise CodecError(f"'{command}' failed on '{subject}': {str(detail).strip()}") from error
    return completed.stdout


def _path_of(target: BinaryIO) -> str | None:
    """A path under which another process can open an open file, None if there is none."""
    name: object = getattr(target, "name", None)
    if isinstance(name, str):
        return name
    path = f"/proc/{os.getpid()}/fd/{name}"
    return path if isinstance(name, int) and os.path.exists(path) else None


class FilterCodec:
    """Compression by a program that filters stdin to stdout."""

    def __init__(self, name: str, compression: str, env: Mapping[str, str] | None):
        self.name = name
        self._compression = compression
        self._env = env

    def encode_file(self, source: str, target: BinaryIO) -> None:
        """See `codec.Codec`. The program writes into the target's file itself: no byte passes through this process."""
        path = _path_of(target)
        if path is not None:
            _filter_file(self._compression, source, path, self._env)
            target.seek(0, io.SEEK_END)
        else:
            with open(source, "rb") as file:
                self.encode(file, target)

    def encode(self, source: BinaryIO, target: BinaryIO) -> None:
        """See `codec.Codec`. The data are held in memory."""
        target.write(
            _run(["/bin/sh", "-c", self._compression], self._compression, "stdin", env=self._env, stdin=source.read())
        )


class PigzCodec(FilterCodec):
    """gzip by pigz, which uses several processors for one file. Decoding is gzip's, in process."""

    def decoder(self, path: str) -> BinaryIO:
        """See `codec.Codec`."""
        return stdlib.make("gzip", 6).decoder(path)

    def decode(self, source: BinaryIO, subject: str) -> BinaryIO:
        """See `codec.Codec`."""
        return stdlib.make("gzip", 6).decode(source, subject)


class CustomCodec(FilterCodec):
    """The configured filters."""

    def __init__(self, filters: CustomFilters, env: Mapping[str, str] | None):
        super().__init__("custom", filters.compression or "", env)
        self._decompression = filters.decompression

    def encode_file(self, source: str, target: BinaryIO) -> None:
        """See `codec.Codec`."""
        self._require(self._compression, "custom_compression_filter")
        super().encode_file(source, target)

    def encode(self, source: BinaryIO, target: BinaryIO) -> None:
        """See `codec.Codec`."""
        self._require(self._compression, "custom_compression_filter")
        super().encode(source, target)

    def decoder(self, path: str) -> BinaryIO:
        """See `codec.Codec`. The output of the filter is held in memory."""
        command = self._require(self._decompression, "custom_decompression_filter")
        script = "{ " + command + '\n} < "$1"'
        return io.BytesIO(_run(["/bin/sh", "-c", script, "sh", path], command, path, env=self._env))

    def decode(self, source: BinaryIO, subject: str) -> BinaryIO:
        """See `codec.Codec`. Input and output of the filter are held in memory."""
        command = self._require(self._decompression, "custom_decompression_filter")
        with source:
            return io.BytesIO(_run(["/bin/sh", "-c", command], command, subject, env=self._env, stdin=source.read()))

    @staticmethod
    def _require(command: str | None, option: str) -> str:
        if not command:
            raise CodecError(f"compression 'custom' needs the option {option}", hint=f"Set {option} for this server.")
        return command


def make(name: str, level: int, custom: CustomFilters, env: Mapping[str, str] | None) -> PigzCodec | CustomCodec:
    """The codec for pigz or custom."""
    if name == "pigz":
        return PigzCodec(name, f"pigz -c -{level}", env)
    return CustomCodec(custom, env)
