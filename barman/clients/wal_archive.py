"""`barman-wal-archive`: hand a WAL file to a Barman host, for `archive_command`.

Exit code 0 means that the Barman host has these very bytes, durably. When PostgreSQL has a backlog and `--parallel`
allows it, the following segments go along over the same connection; each is remembered only when the Barman host has
confirmed it, by its content (see `confirmed`).
"""

from __future__ import annotations

import argparse
import os
import sys

from barman.clients.ssh import (
    CONNECTION_FAILED,
    ClientError,
    PrivateDirectoryError,
    Remote,
    add_common_arguments,
    complain,
    private_directory,
    quote,
    relay,
    test_connection,
)
from barman.errors import BarmanError
from barman.help import Formatter
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterator, Sequence

    from barman.clients.confirmed import Confirmed
    from barman.pipes import Ended

_CHUNK = 1 << 18
_FORMATS = ("gzip", "bzip2", "xz", "snappy", "zstd", "lz4")
_STORED = "put-wal stored "


def main() -> None:
    """Run the client and leave the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run the client: 0 stored; 2 local failure; 3 no connection; else the status of the Barman host."""
    options = argument_parser().parse_args(argv)
    try:
        remote = Remote.from_options(options)
        command = remote.barman("put-wal", quote(remote.server), config_form="--config={}")
        if options.test:
            return test_connection(remote, f"{command} --test")
        return _archive(remote, command, options)
    except ClientError as error:
        complain(error.message)
        return error.status
    except BarmanError as error:
        complain(f"Error executing ssh: {error.message}")
    except OSError as error:
        complain(f"{error.strerror}: '{error.filename}'" if error.filename else str(error))
    except KeyboardInterrupt:
        complain("SIGINT received! Terminating.")
    return 2


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="barman-wal-archive",
        formatter_class=Formatter,
        description="Send a WAL file to a Barman host. For archive_command in postgresql.conf.",
    )
    add_common_arguments(parser, "barman-wal-archive")
    parser.add_argument("--md5", action="store_true", help="use MD5 instead of SHA256 for the checksum")
    for name, flags in zip(_FORMATS, (("-z",), ("-j",), (), (), (), ()), strict=True):
        parser.add_argument(
            *flags, f"--{name}", dest="compression", action="store_const", const=name, help=f"compress with {name}"
        )
    parser.add_argument(
        "--compression-level", metavar="LEVEL", type=_level, help="low, medium, high or a number (default: medium)"
    )
    parser.add_argument(
        *("-p", "--parallel"),
        metavar="N",
        type=int,
        default=0,
        help="with a backlog, send up to N segments over one connection (default: 0, only WAL_PATH)",
    )
    parser.add_argument(
        "--prefetch-cache-dir", metavar="DIR", help="private directory for what was confirmed (with -p)"
    )
    parser.add_argument("barman_host", metavar="BARMAN_HOST", help="the host of the Barman server")
    parser.add_argument("server_name", metavar="SERVER_NAME", help="the server's name in the configuration of Barman")
    parser.add_argument("wal_path", metavar="WAL_PATH", help="the WAL file: %%p in archive_command")
    return parser


def _level(text: str) -> str:
    try:
        if text not in ("low", "medium", "high"):
            int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not low, medium, high or a number") from None
    return text


def _archive(remote: Remote, command: str, options: argparse.Namespace) -> int:
    path: str = options.wal_path
    if os.path.isdir(path):
        raise ClientError(f"WAL_PATH cannot be a directory: {path}")
    size = os.stat(path).st_size
    confirmed = _state(remote, options) if options.parallel >= 2 and _is_segment(path) else None
    if confirmed is not None and _is_confirmed(confirmed, path):
        return 0
    transfer = Transfer(options, path)
    if confirmed is not None and not confirmed.is_useless():
        transfer.along = lambda: _backlog(path, size, options.parallel - 1)
    ended = remote.run(command, feed=transfer.stream(), on_output=transfer.hear, is_enough=transfer.is_settled)
    transfer.finish()
    status = _judge(transfer, ended, path)
    if confirmed is not None and transfer.has_more:
        _remember(confirmed, transfer, status)
    return status


def _judge(transfer: Transfer, ended: Ended, path: str) -> int:
    relay(ended.error_text)
    if transfer.is_stored(0):
        return 0
    if ended.status == 0 and not transfer.confirms:
        # A server that confirms nothing has verified everything before it ended well.
        return 0
    status = ended.status or 1
    print(f"Failed to archive WAL file '{path}': remote exit code {status}", file=sys.stderr)
    if status == CONNECTION_FAILED:
        complain("Connection problem with ssh")
        return 3
    if status < 0:
        complain(f"Error executing ssh: it was ended by signal {-status}")
        return 2
    complain("Remote 'barman put-wal' command has failed!")
    return status


class _Sent:
    """A file as it was sent: what identifies it, and what the server calls it."""

    __slots__ = ("digest", "name", "path", "plain_digest", "system_id")

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self.digest = ""
        self.plain_digest = ""
        self.system_id = ""


class Transfer:
    """One connection: the stream that is sent, and what the server says to it."""

    def __init__(self, options: argparse.Namespace, path: str) -> None:
        self._algorithm = "md5" if options.md5 else "sha256"
        self._compression: str | None = options.compression
        self._level: str | None = options.compression_level
        self._first = _Sent(path)
        self._sent: list[_Sent] = []
        self._heard = b""
        self._answers: set[str] = set()
        self.along: Callable[[], Iterator[str]] = _nothing
        self.confirms = False
        self._sent_all = False

    @property
    def has_more(self) -> bool:
        """Whether other segments went along."""
        return len(self._sent) > 1

    def stream(self) -> Iterator[bytes]:
        """Yield the archive. The first file must be sent whole; one that went along and vanished ends the stream."""
        from barman.clients.tar_writer import END

        yield from self._member(self._first)
        for path in self.along():
            member = self._member(_Sent(path))
            try:
                head = next(member)
            except FileNotFoundError:
                break
            yield head
            yield from member
        yield END
        self._sent_all = True

    def _member(self, sent: _Sent) -> Iterator[bytes]:
        import hashlib

        from barman.clients import tar_writer

        with open(sent.path, "rb", buffering=0) as file:
            facts = os.fstat(file.fileno())
            plain = hashlib.sha256()
            if self._compression is None:
                size, pieces = facts.st_size, _pieces(file, facts.st_size, sent)
            else:
                content = self._compress(sent)
                size, pieces = len(content), iter([content])
            carried = plain if self._compression is None and self._algorithm == "sha256" else self._hash()
            yield tar_writer.file_header(sent.name, size, facts.st_mtime)
            for piece in pieces:
                carried.update(piece)
                if plain is not carried and self._compression is None:
                    plain.update(piece)
                yield piece
            if self._compression is not None:
                for piece in _pieces(file, facts.st_size, sent):
                    plain.update(piece)
            sent.digest, sent.plain_digest = carried.hexdigest(), plain.hexdigest()
        self._sent.append(sent)
        yield tar_writer.padding(size) + tar_writer.checksum_member(self._algorithm, sent.digest, sent.name)

    def _hash(self) -> hashlib._Hash:
        import hashlib

        return hashlib.new(self._algorithm, usedforsecurity=False)

    def _compress(self, sent: _Sent) -> bytes:
        import io

        from barman.compression.codec import CodecError, find_codec

        content = io.BytesIO()
        try:
            find_codec(str(self._compression), level=self._level).encode_file(sent.path, content)
        except CodecError as error:
            raise ClientError(error.message) from error
        return content.getvalue()

    def hear(self, data: bytes) -> None:
        """Take what the server says: lines about files among whatever else the remote shell may print."""
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace")
            if text.startswith("put-wal "):
                self.confirms = True
                self._answers.add(text.rstrip("\r"))
        self._heard = self._heard[-4096:]

    def finish(self) -> None:
        """Take the last line, if it has no end."""
        self.hear(b"\n")

    def is_settled(self) -> bool:
        """Whether everything was sent and is stored: nothing else that the server could say matters.

        What it still has to do, and the end of the connection, need not be waited for.
        """
        return self._sent_all and all(self.is_stored(index) for index in range(len(self._sent)))

    def is_stored(self, index: int) -> bool:
        """Whether the server has confirmed the content of a file that was sent."""
        if index >= len(self._sent):
            return False
        sent = self._sent[index]
        return f"{_STORED}{sent.name} {sent.digest}" in self._answers

    def stored(self) -> list[tuple[str, str, str]]:
        """What to remember of this connection."""
        found = [sent for index, sent in enumerate(self._sent) if self.is_stored(index)]
        return [(sent.system_id, sent.name, sent.plain_digest) for sent in found if sent.system_id]

    def lost(self) -> list[str]:
        """Segments that went along and were not confirmed."""
        return [sent.name for index, sent in enumerate(self._sent) if index and not self.is_stored(index)]


def _nothing() -> Iterator[str]:
    return iter(())


def _pieces(file: object, size: int, sent: _Sent) -> Iterator[bytes]:
    """Yield exactly `size` bytes, and learn whose segment it is. Raises ClientError when the file is shorter."""
    from barman.clients.segment import read_header

    left = size
    while left:
        piece: bytes = file.read(min(left, _CHUNK))  # type: ignore[attr-defined]  # FileIO, which typing cannot name
        if not piece:
            raise ClientError(f"WAL file '{sent.path}' became shorter while it was sent")
        if left == size:
            header = read_header(piece)
            sent.system_id = str(header[0]) if header else ""
        left -= len(piece)
        yield piece


def _is_segment(path: str) -> bool:
    from barman.clients.segment import is_plain_segment

    return is_plain_segment(os.path.basename(path))


def _state(remote: Remote, options: argparse.Namespace) -> Confirmed | None:
    """What was confirmed before; None, after two lines about it, when there is no place to remember it."""
    from barman.clients.confirmed import Confirmed

    directory = options.prefetch_cache_dir
    if not directory:
        import hashlib

        told = f"{options.barman_host}:{options.port}:{options.config}"
        digest = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        directory = f"/tmp/barman-{quote(remote.server).replace('/', '_')}-{digest}"
    try:
        return Confirmed(private_directory(directory), remote.key())
    except PrivateDirectoryError as error:
        print(error.message, file=sys.stderr)
        print("Only the requested WAL file is sent.", file=sys.stderr)
        return None


def _is_confirmed(confirmed: Confirmed, path: str) -> bool:
    """Whether this very content was confirmed before; the file is read only if its name was."""
    import hashlib

    name = os.path.basename(path)
    known = {(system_id, digest) for system_id, line, digest in confirmed.lines() if line == name}
    if not known:
        return False
    sent, state = _Sent(path), hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        for piece in _pieces(file, os.fstat(file.fileno()).st_size, sent):
            state.update(piece)
    return (sent.system_id, state.hexdigest()) in known


def _backlog(path: str, size: int, limit: int) -> Iterator[str]:
    """Yield the segments after `path` that wait to be archived, at most `limit`: those that `.ready` files announce."""
    from barman.clients.segment import is_segment_size
    from barman.postgres.wal_name import WalSegment

    directory, name = os.path.split(path)
    status = os.path.join(directory, "archive_status")
    if not os.path.isdir(status):
        print(f"WARNING: there is no directory '{status}': no other WAL file is sent", file=sys.stderr)
        return
    if not is_segment_size(size):
        return
    segment = WalSegment.parse(name)
    for _ in range(limit):
        segment = segment.next(size)
        if not os.path.exists(os.path.join(status, f"{segment.name}.ready")):
            return
        following = os.path.join(directory, segment.name)
        if os.path.isfile(following):
            yield following


def _remember(confirmed: Confirmed, transfer: Transfer, status: int) -> None:
    """Failing to remember costs a transfer; it is no failure of this one."""
    for name in transfer.lost():
        print(f"WAL file '{name}' went along and was not confirmed: it will be sent again", file=sys.stderr)
    try:
        confirmed.save(transfer.stored())
        if not transfer.confirms and status == 0:
            confirmed.mark_useless()
    except OSError as error:
        print(f"WARNING: cannot remember what was sent: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
