"""Take WAL files from a tar stream on standard input into `incoming/`: the server side of `archive_command`.

The other end is a database host, which may be broken or hostile. Nothing is stored under a name that PostgreSQL would
not give, nothing is acknowledged before its bytes, its name and the directory are durable, and nothing that is stored
is ever replaced. Wire format: reference of the catalog, section 15.
"""

from __future__ import annotations

import binascii
import hashlib
import os
from collections.abc import Callable, Iterator

from barman import clock
from barman.compression.codec import CodecError
from barman.encryption.openpgp import DamagedMessage, EncryptionError
from barman.errors import WalError
from barman.fs import durable
from barman.fs.writeback import Writeback
from barman.postgres.timeline import MAX_HISTORY_BYTES
from barman.postgres.wal_name import BackupLabelName, HistoryName, PartialSegment, WalSegment, parse_wal_name
from barman.server.filters import configured_filters
from barman.typing import TYPE_CHECKING
from barman.values import dataclass
from barman.wal.admission import OTHER_CONTENT
from barman.wal.cluster import UNKNOWN, Cluster, known_cluster, live_cluster
from barman.wal.commit import listed_names
from barman.wal.comparison import is_same
from barman.wal.inspection import inspect
from barman.wal.source import Found, scan
from barman.wal.tar_stream import ByteStream, Member, TarReader

if TYPE_CHECKING:
    from barman.report import Reporter
    from barman.server.server import Server

STORED = "put-wal stored"
REFUSED = "put-wal refused"
"""The lines of the answer, each followed by the name and, when stored, the digest that was sent."""

_SUMS = {"SHA256SUMS": "sha256", "MD5SUMS": "md5"}
_MAX_SUMS = 1 << 16
_MAX_LABEL = 1 << 20
_MAX_SEGMENT = (1 << 30) + (1 << 24)
"""The largest segment, and what a compression may add to content that cannot be compressed."""

_MAX_PENDING = 256
_MAX_PENDING_BYTES = 2 * _MAX_SEGMENT
_MAX_REFUSED = 64
_MAX_BAD_LINES = 16
_KEPT_CONFLICTS = 8
_KEPT_FILES = 200
_KEPT_BYTES = 4 << 30
_SKEW = 86400.0
"""How far the clock of a sender may be ahead of ours: times beyond are not believed."""

_ATTEMPTS = 5


class PutWalError(WalError):
    """What was sent cannot be taken; files stored before stay stored."""


@dataclass(slots=True)
class PutWalResult:
    """Names of the files that are durable now, and of those that were refused although they arrived whole."""

    stored: list[str]
    refused: list[str]


def put_wal(
    server: Server,
    stream: ByteStream,
    reporter: Reporter,
    *,
    caller: str = "",
    answer: Callable[[str], object] | None = None,
) -> PutWalResult:
    """Store every file of the stream, durably, or refuse it.

    `caller` ends every message (who sends). `answer` gets a line for each file, once it is durable or refused, if the
    sender asks for it. A refused file goes to the errors directory and is reported as an error. Raises PutWalError for
    a stream that cannot be trusted: a bad or missing digest, a name that is none of a WAL file, an end too early; and
    OSError, CodecError when nothing can be stored or judged here.
    """
    receiver = _Receiver(server, reporter, caller, answer)
    with receiver:
        try:
            receiver.receive(TarReader(stream))
        except PutWalError:
            raise
        except WalError as error:
            raise PutWalError(f"{error.message}{receiver.context}", hint=error.hint) from error
    return receiver.result


@dataclass(slots=True)
class _Received:
    """A file whose bytes are in a temporary of `incoming/`, with the digest of what came."""

    member: Member
    temporary: durable.Temporary
    sha256: str

    def digest(self, algorithm: str) -> str:
        if algorithm == "sha256":
            return self.sha256
        state = hashlib.new(algorithm, usedforsecurity=False)
        self.temporary.file.seek(0)
        while piece := self.temporary.file.read(1 << 20):
            state.update(piece)
        return state.hexdigest()


class _Receiver:
    """One stream. As a context manager it leaves no temporaries behind."""

    def __init__(self, server: Server, reporter: Reporter, caller: str, answer: Callable[[str], object] | None) -> None:
        self._server = server
        self._catalog = server.catalog
        self._incoming = server.catalog.layout.incoming_directory
        self._reporter = reporter
        self._custom = configured_filters(server.config)
        self._answer = answer
        self._pending: dict[str, _Received] = {}
        self._pending_bytes = 0
        self._seen: set[str] = set()
        self._confirm = False
        self._sums: dict[str, str] = {}
        self._sum_files = 0
        self._bad_lines = 0
        self._algorithm = "sha256"
        self._cluster = UNKNOWN
        self._cannot_tell = False
        self.context = f" in put-wal for server '{server.name}'{caller}"
        self.result = PutWalResult([], [])

    def __enter__(self) -> _Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        for received in self._pending.values():
            received.temporary.discard()

    def receive(self, reader: TarReader) -> None:
        durable.make_directory(self._incoming)
        durable.sweep_temporaries(self._incoming)
        for member in reader.members():
            self._confirm = self._confirm or member.confirm
            if member.name in _SUMS:
                self._take_sums(member.name, reader)
            else:
                self._take(member, reader)
            if self._confirm:
                # The sender counts on each file by itself: what has come whole is stored before the next one comes.
                for name in [name for name in self._pending if name in self._sums]:
                    self._settle(name)
        self._verify_rest()
        for name in list(self._pending):
            self._settle(name)

    # -- receiving

    def _take(self, member: Member, reader: TarReader) -> None:
        limit = _size_limit(member.name)
        if member.size > limit:
            raise PutWalError(f"file '{member.name}' of {member.size} bytes is too large{self.context}")
        if member.name in self._seen:
            raise PutWalError(f"file '{member.name}' was sent twice{self.context}")
        self._pending_bytes += member.size
        if len(self._pending) >= _MAX_PENDING or self._pending_bytes > _MAX_PENDING_BYTES:
            limits = f"{_MAX_PENDING} files or {_MAX_PENDING_BYTES >> 20} MB"
            raise PutWalError(f"more than {limits} wait for their checksums{self.context}")
        self._seen.add(member.name)
        temporary = durable.Temporary(os.path.join(self._incoming, member.name))
        try:
            state, writeback = hashlib.sha256(), Writeback(temporary.file.fileno())
            for piece in reader.content():
                state.update(piece)
                temporary.file.write(piece)
                writeback.wrote(len(piece))
        except BaseException:
            temporary.discard()
            raise
        self._pending[member.name] = _Received(member, temporary, state.hexdigest())

    def _take_sums(self, name: str, reader: TarReader) -> None:
        self._sum_files += 1
        if self._sum_files > len(self._seen) + _MAX_PENDING:
            raise PutWalError(f"there are more checksum files than files{self.context}")
        text = reader.read(_MAX_SUMS).decode("utf-8", "replace")
        if _SUMS[name] == "md5":
            self._algorithm = "md5"
        for line in text.splitlines():
            digest, blank, file = line.partition(" ")
            if not blank or file[:1] not in ("*", " ") or not _is_hexadecimal(digest):
                self._ignore_line(line)
                continue
            self._sums[file[1:].removeprefix("./")] = digest.lower()
            if len(self._sums) > len(self._seen) + _MAX_PENDING:
                raise PutWalError(f"there are more checksums than files{self.context}")

    def _ignore_line(self, line: str) -> None:
        self._bad_lines += 1
        if self._bad_lines > _MAX_BAD_LINES:
            raise PutWalError(f"more than {_MAX_BAD_LINES} lines are no checksums{self.context}")
        self._reporter.warning(f"Bad checksum line '{line:.100}' ignored{self.context}")

    def _verify_rest(self) -> None:
        for name in sorted(self._pending.keys() - self._sums.keys()):
            raise PutWalError(f"Missing checksum for file '{name}'{self.context}")
        for name in sorted(self._sums.keys() - self._seen):
            raise PutWalError(f"Checksum without corresponding file '{name}'{self.context}")
        for name in self._pending:
            self._verify(name)

    def _verify(self, name: str) -> None:
        found, expected = self._pending[name].digest(self._algorithm), self._sums[name]
        if found != expected:
            raise PutWalError(
                f"Bad file checksum '{found}' (should be {expected}) for file '{name}'{self.context}",
                hint="The file was damaged on its way, or changed while it was sent: it has to be sent again.",
            )

    # -- storing

    def _settle(self, name: str) -> None:
        """Store or refuse a verified file, and tell the sender."""
        self._verify(name)
        received = self._pending[name]
        temporary = received.temporary
        temporary.file.flush()
        temporary.set_times(_believable(received.member.mtime))
        temporary.commit_data()
        found = _found(received.member, temporary.path)
        reasons, kind = inspect(found, self._expected(found), self._custom).defects, "unknown"
        if not reasons and not self._publish(found):
            reasons, kind = (OTHER_CONTENT,), "duplicate"
        if reasons:
            self._refuse(received, found, kind, ", ".join(reasons))
        else:
            self.result.stored.append(name)
            self._tell(f"{STORED} {name} {self._sums[name]}")
        del self._pending[name]
        self._pending_bytes -= received.member.size
        temporary.discard()
        if len(self.result.refused) >= _MAX_REFUSED:
            raise PutWalError(f"{_MAX_REFUSED} files were refused, nothing more is taken{self.context}")

    def _publish(self, found: Found) -> bool:
        """Make the file durable under its name in the queue, unless it is stored already.

        False when another content is stored under the name. The queue is looked at first: the archiver publishes in the
        archive before it unlinks from the queue, so what is in neither was in neither.
        """
        target = os.path.join(self._incoming, found.name)
        archived = self._catalog.layout.wal_path(found.name)
        for _ in range(_ATTEMPTS):
            try:
                if os.path.lexists(target):
                    return self._is_stored(found, target) is True
                if os.path.lexists(archived):
                    same = self._is_stored(found, archived)
                    if same is False:
                        return False
                    if same and listed_names(self._catalog, [found.name]):
                        return True
                    # Where it cannot be told, the archiver says so, and keeps what is in its queue.
                    # The archiver heals the index when it meets an identical file in its queue.
                durable.publish([(found.path, target)])
            except (FileExistsError, FileNotFoundError):
                continue  # somebody else stores, or archives, the same name at this moment
            # The streaming archiver may have stored the name meanwhile.
            return self._agrees(target, archived)
        raise PutWalError(f"file '{found.name}' keeps changing under us{self.context}")

    def _agrees(self, published: str, archived: str) -> bool:
        try:
            return not os.path.lexists(archived) or self._is_same(published, archived)
        except (FileNotFoundError, CodecError, EncryptionError):
            return True  # the archiver is at it, and tells when they differ

    def _is_stored(self, found: Found, stored: str) -> bool | None:
        """Whether a stored file has the same content; it is then made durable. Raises FileNotFoundError.

        None when it is encrypted and cannot be read here.
        """
        if not os.path.isfile(stored) or os.path.islink(stored):
            return False
        try:
            same = self._is_same(found.path, stored)
        except (CodecError, DamagedMessage):
            return False  # ours was decoded to its end before: the stored one is damaged
        except EncryptionError:
            return None
        if same:
            durable.sync_file(stored)
            durable.sync_directory(os.path.dirname(stored))
        return same

    def _is_same(self, path: str, stored: str) -> bool:
        return is_same(path, stored, self._custom, self._catalog.wal_digests)

    def _refuse(self, received: _Received, found: Found, kind: str, reason: str) -> None:
        """Keep what was refused for a look at it, once however often it is sent, and say so loudly.

        A sender must not be able to fill the disk with what is refused.
        """
        path = self._set_aside(received, found, kind, reason)
        place = f"; it is '{path}'" if path else "; its content was not kept, there are enough refused files"
        self.result.refused.append(found.name)
        self._reporter.error(f"WAL file '{found.name}' was refused: {reason}{place}{self.context}")
        self._tell(f"{REFUSED} {found.name} {reason}")

    def _set_aside(self, received: _Received, found: Found, kind: str, reason: str) -> str | None:
        import filecmp

        from barman.wal import quarantine

        errors = self._catalog.layout.errors_directory
        kept = list(_files_in(errors))
        known = [path for path in kept if os.path.basename(path).startswith(f"{found.name}.")]
        for path in known:
            if filecmp.cmp(path, found.path, shallow=False):
                return path
        if len(known) >= _KEPT_CONFLICTS or len(kept) >= _KEPT_FILES:
            return None
        if sum(map(_size_of, kept)) + found.size > _KEPT_BYTES:
            return None
        path = quarantine.set_aside(found, errors, kind, reason, clock.now())
        received.temporary.keep()
        return path

    def _expected(self, found: Found) -> Cluster:
        """What is known of the cluster whose WAL comes here. Before the very first of it, PostgreSQL is asked."""
        if not isinstance(parse_wal_name(found.name), WalSegment | PartialSegment):
            return UNKNOWN
        if not (self._cluster.is_known or self._cannot_tell):
            waiting = [file for file in scan(self._incoming) if file.name != found.name]
            self._cluster = known_cluster(self._catalog, waiting, self._custom, self._warn_of_identity)
            if self._cluster == UNKNOWN:
                self._cluster = live_cluster(self._server)
        return self._cluster

    def _warn_of_identity(self, text: str) -> None:
        self._cannot_tell = True
        self._reporter.warning(text)

    def _tell(self, line: str) -> None:
        if self._answer is not None and self._confirm:
            self._answer(line)


def _size_limit(name: str) -> int:
    """The greatest size that a file of that name may have. Raises InvalidWalName."""
    kind = parse_wal_name(name)
    if isinstance(kind, HistoryName):
        return MAX_HISTORY_BYTES
    return _MAX_LABEL if isinstance(kind, BackupLabelName) else _MAX_SEGMENT


def _found(member: Member, path: str) -> Found:
    facts = os.stat(path)
    return Found(member.name, path, facts.st_size, facts.st_mtime, facts.st_mode & 0o7777, facts.st_uid)


def _believable(moment: float) -> float:
    """The time a file was written, as its sender says; now, if that is in the future."""
    now = clock.timestamp()
    return moment if moment <= now + _SKEW else now


def _size_of(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def _is_hexadecimal(text: str) -> bool:
    try:
        return len(binascii.unhexlify(text)) in (16, 32)
    except (binascii.Error, ValueError):
        return False


def _files_in(directory: str) -> Iterator[str]:
    try:
        with os.scandir(directory) as entries:
            yield from [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return
