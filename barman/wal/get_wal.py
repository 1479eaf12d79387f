"""Give WAL out: find a file wherever it waits, make sure that it is what it should be, and stream its plain bytes.

Nothing is written to disk on the way, so a full archive disk never stops a recovery. A compressed file is decoded into
memory before its first byte is sent, if it is small enough; damage is then told with nothing sent. Every file is also
checked to the end of its content: a cut or foreign segment is never sent with exit code 0.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator

from barman.catalog.wal_content import recognise_file
from barman.compression.codec import (
    CodecError,
    CustomFilters,
    copy_stream,
    decoded,
    detect,
    find_codec,
    is_sealed,
    unsealed,
)
from barman.encryption.openpgp import HEAD_SIZE, EncryptionError
from barman.errors import CorruptRecord, InvalidWalName, WalError, WalNotFound
from barman.postgres.timeline import MAX_HISTORY_BYTES, TimelineHistory
from barman.postgres.wal_name import (
    DEFAULT_SEGMENT_SIZE,
    HistoryName,
    PartialSegment,
    WalSegment,
    is_segment_name,
    parse_wal_name,
    segments_per_log,
)
from barman.typing import TYPE_CHECKING, BinaryIO
from barman.values import dataclass
from barman.wal import header
from barman.wal.absence import why_expected

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.catalog.layout import Layout
    from barman.catalog.wal_store import WalStore
    from barman.clock import Deadline

SERIES_MARK = "barman-wal"
"""Begins the lines between the files of a series; the client has the same word."""

_RETRY_SECONDS = 1.0
_IN_MEMORY = 32 << 20
"""Decoded content up to this size is complete before anything is sent: twice the usual segment."""
_SHARED_FORMATS = {"gzip": "gzip", "pigz": "gzip", "pygzip": "gzip", "bzip2": "bzip2", "pybzip2": "bzip2"}


class UnusableArchive(WalError):
    """The archive should have the file and cannot give it: damaged, or missing while later WAL is there.

    The exit code differs from that of a file that does not exist, so that a recovery need not take it for the end of
    the WAL.
    """

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a file is sent: plain, compressed with `compression` (gzip or bzip2), or with `as_stored` as it is."""

    compression: str | None = None
    as_stored: bool = False
    partial: bool = False


@dataclass(frozen=True, slots=True)
class WalSource:
    """Where WAL of one server is found. `caller` is added to messages: who asks over ssh.

    The system identifier of the server is not compared: the archive may hold the WAL from before a major upgrade.
    """

    server_name: str
    layout: Layout
    wals: WalStore
    custom: CustomFilters | None = None
    caller: str = ""

    def places(self, name: str, *, partial: bool = False) -> Iterator[str]:
        """Existing files that may serve, in the order of preference; looked for only as they are asked for.

        A segment may move from a queue into the archive meanwhile, so the archive is asked again at the end.
        """
        archive, incoming = self.layout.wal_path, self.layout.incoming_directory
        streaming = self.layout.streaming_directory
        paths = [archive(name), os.path.join(incoming, name), os.path.join(streaming, name)]
        if partial and is_segment_name(name):
            unfinished = PartialSegment(WalSegment.parse(name)).name
            paths += [os.path.join(streaming, unfinished), os.path.join(streaming, name)]
            paths += [archive(unfinished), os.path.join(incoming, unfinished)]
        paths.append(archive(name))
        return (path for path in paths if os.path.isfile(path))


def send_wal(source: WalSource, name: str, delivery: Delivery, sink: Callable[[str], BinaryIO]) -> str:
    """Send a file and answer the path it was read from.

    `sink` is called once, with that path, when it is sure that there is something to send. Raises InvalidWalName,
    WalNotFound when a healthy archive has no such file and nothing after it (see `absence`), UnusableArchive when it
    should have it; and what writing to the sink raises.
    """
    with contextlib.ExitStack() as stack:
        path, content = _find(source, name, delivery, stack)
        target = sink(path)
        if content.encode_with is None:
            copy_stream(content.stream, target.write)
        else:
            find_codec(content.encode_with).encode(content.stream, target)
        return path


def send_series(source: WalSource, name: str, following: int, delivery: Delivery, output: BinaryIO) -> None:
    """Send a segment and up to `following` of those after it, as long as there are any: what a recovery reads ahead.

    Each stands between two lines (see `SERIES_MARK`): its name and its size, and one that says that it was read to its
    end. Nothing but the first segment is missed. Raises as `send_wal`, about the first; WalError for another file.
    """
    segment = parse_wal_name(name)
    if not isinstance(segment, WalSegment):
        raise WalError(f"'{name}' is no WAL segment: nothing follows it")
    size = 0
    for number in range(following + 1):
        with contextlib.ExitStack() as stack:
            try:
                path, content = _find(source, segment.name, delivery, stack)
            except (WalError, OSError):
                if number:
                    return
                raise
            output.write(f"{SERIES_MARK} {segment.name} {content.size}\n".encode())
            if copy_stream(content.stream, output.write) != content.size:
                raise WalError(f"'{path}' changed while it was sent")
            output.write(f"{SERIES_MARK} end\n".encode())
            output.flush()
        size = size or _segment_size(path, source.custom)
        if _is_last(segment, size):
            return
        segment = segment.next(size)


def _find(source: WalSource, name: str, delivery: Delivery, stack: contextlib.ExitStack) -> tuple[str, _Content]:
    """Return the first place that has a sound file, and its content. Raises as `send_wal`."""
    parse_wal_name(name)
    defects: dict[str, str] = {}
    hint = ""
    for path in source.places(name, partial=delivery.partial):
        try:
            content = _open_sound(source, path, name, delivery, stack)
        except FileNotFoundError:
            continue  # it moved on: the next place has it
        except (CodecError, EncryptionError, WalError) as error:
            defects[path], hint = error.message, hint or error.hint
            continue
        if content is not None:
            return path, content
    if defects:
        reasons = "; ".join(f"'{path}': {reason}" for path, reason in defects.items())
        raise UnusableArchive(
            f"WAL file '{name}' in server '{source.server_name}' cannot be used: {reasons}{source.caller}",
            hint=hint,
        )
    missing = f"WAL file '{name}' not found in server '{source.server_name}'{source.caller}"
    _refuse_lost_archive(source, missing)
    evidence = why_expected(source.wals, name, lambda path: _segment_size(path, source.custom))
    if evidence is not None:
        raise UnusableArchive(
            f"{missing}, although it should be there: {evidence}",
            hint=f"Recovery must not end here. Run 'barman check {source.server_name}' on the host of Barman.",
        )
    raise WalNotFound(missing)


def send_for_recovery(
    source: WalSource, name: str, delivery: Delivery, sink: Callable[[str], BinaryIO], deadline: Deadline
) -> str:
    """As `send_wal`, for a server that would promote: an archive that cannot be used gets time to recover.

    A segment may be on its way, a file system may be mounted in a moment. An archive without any file is no healthy
    one: the server was restored from what it should hold. Raises as `send_wal`, UnusableArchive at the deadline.
    """
    while True:
        try:
            return send_wal(source, name, delivery, sink)
        except WalNotFound as error:
            if next(source.wals.names(), None) is not None:
                raise
            unusable = UnusableArchive(
                f"{error.message}: its archive '{source.layout.wals_directory}' is empty",
                hint="Check that its file system is mounted.",
            )
        except UnusableArchive as error:
            unusable = error
        if deadline.expired:
            raise unusable
        deadline.sleep(_RETRY_SECONDS)


def _refuse_lost_archive(source: WalSource, missing: str) -> None:
    """Raise UnusableArchive if the archive itself is gone, as when its file system is not mounted."""
    directory = source.layout.wals_directory
    try:
        is_empty = not os.listdir(directory)
    except OSError as error:
        raise UnusableArchive(
            f"{missing}: the archive '{directory}' cannot be read: {error.strerror}",
            hint="Is its file system mounted? Recovery must not end here.",
        ) from error
    if is_empty and os.path.isdir(source.layout.meta_directory):
        records = source.layout.record_ids(os.listdir(source.layout.meta_directory))
        if records:
            raise UnusableArchive(
                f"{missing}: the archive '{directory}' is empty, although there are backups",
                hint="Is its file system mounted? Recovery must not end here.",
            )


def list_available(source: WalSource, name: str, limit: int) -> list[str]:
    """Up to `limit` consecutive names that begin with `name`, each in the archive or in a queue.

    Unfinished segments do not count. A name of another kind answers itself if it is there. Raises InvalidWalName.
    """
    segment = parse_wal_name(name)
    if not isinstance(segment, WalSegment):
        return [name] if next(source.places(name), None) else []
    found: list[str] = []
    size = 0
    while len(found) < limit:
        path = next(source.places(segment.name), None)
        if path is None:
            break
        found.append(segment.name)
        size = size or _segment_size(path, source.custom)
        if _is_last(segment, size):
            break
        segment = segment.next(size)
    return found


def _is_last(segment: WalSegment, size: int) -> bool:
    return segment.log == 0xFFFFFFFF and segment.seg >= segments_per_log(size) - 1


def _segment_size(path: str, custom: CustomFilters | None) -> int:
    """What the header of a segment says; the default when it cannot be read."""
    try:
        with decoded(path, custom) as stream:
            verdict = header.judge(stream, os.path.basename(path)[:24])
    except (OSError, CodecError, EncryptionError, InvalidWalName):
        return DEFAULT_SEGMENT_SIZE
    return verdict.header.segment_size if verdict.ok and verdict.header is not None else DEFAULT_SEGMENT_SIZE


@dataclass(frozen=True, slots=True)
class _Content:
    """A sound file, open at its beginning, and how long it is; `encode_with` is the compression to send it with."""

    stream: BinaryIO
    size: int
    encode_with: str | None = None


def _open_sound(
    source: WalSource, path: str, name: str, delivery: Delivery, stack: contextlib.ExitStack
) -> _Content | None:
    """Open a file after looking at all of it that can be judged; None if it is unfinished and still empty.

    Raises FileNotFoundError, CodecError, EncryptionError, WalError.
    """
    compression, encryption = recognise_file(path, source.custom)
    if encryption is not None:
        return _open_sealed(source, path, name, delivery, stack)
    encode_with = None if delivery.as_stored else delivery.compression
    if compression is None:
        plain = stack.enter_context(open(path, "rb"))  # noqa: SIM115 - the stack closes it
        size = os.fstat(plain.fileno()).st_size
        sound = _judge(plain, size, path, name)
        plain.seek(0)
        return _Content(plain, size, encode_with) if sound else None
    with decoded(path, source.custom) as stream:
        data = _read_up_to(stream, _IN_MEMORY + 1)
        # What does not fit into memory is decoded twice: the first time only to see that it can be.
        size = len(data) + (copy_stream(stream, len) if len(data) > _IN_MEMORY else 0)
    if not _judge(io.BytesIO(data), size, path, name):
        return None
    if delivery.as_stored or (encode_with is not None and _SHARED_FORMATS.get(compression) == encode_with):
        stored = stack.enter_context(open(path, "rb"))  # noqa: SIM115 - the stack closes it
        return _Content(stored, os.fstat(stored.fileno()).st_size)
    if size == len(data):
        return _Content(io.BytesIO(data), size, encode_with)
    del data
    return _Content(stack.enter_context(decoded(path, source.custom)), size, encode_with)


def _open_sealed(
    source: WalSource, path: str, name: str, delivery: Delivery, stack: contextlib.ExitStack
) -> _Content | None:
    """The same for an encrypted file; as stored means decrypted, still compressed if it is. One gpg for a usual file.

    Nothing decrypted is written to disk.
    """
    custom = source.custom
    with open(path, "rb", buffering=0) as file:
        if not is_sealed(file.read(HEAD_SIZE), custom):
            raise WalError("it is encrypted, and nothing here can read it")
    stored = _Form.read(lambda: unsealed(path, custom))
    compression = detect(stored.head, custom)
    plain = stored
    if compression is not None:
        plain = _Form.read(lambda: _decode(stored, compression, custom, path))
    with contextlib.ExitStack() as looking:
        if not _judge(plain.open(looking), plain.size, path, name):
            return None
    asked = None if delivery.as_stored else delivery.compression
    if delivery.as_stored or (asked is not None and _SHARED_FORMATS.get(compression or "") == asked):
        return _Content(stored.open(stack), stored.size)
    return _Content(plain.open(stack), plain.size, asked)


@contextlib.contextmanager
def _decode(stored: _Form, compression: str, custom: CustomFilters | None, path: str) -> Iterator[BinaryIO]:
    with contextlib.ExitStack() as stack:
        source = stored.open(stack)
        yield stack.enter_context(find_codec(compression, custom=custom).decode(source, path))


@dataclass(frozen=True, slots=True)
class _Form:
    """One form of what is in a file: held in memory, or if it is too large read again, as often as it is opened."""

    head: bytes
    size: int
    again: Callable[[], contextlib.AbstractContextManager[BinaryIO]]

    @staticmethod
    def read(again: Callable[[], contextlib.AbstractContextManager[BinaryIO]]) -> _Form:
        """Read all of it, so that damage is seen."""
        with again() as stream:
            head = _read_up_to(stream, _IN_MEMORY + 1)
            return _Form(head, len(head) + copy_stream(stream, len), again)

    def open(self, stack: contextlib.ExitStack) -> BinaryIO:
        """Return a stream at its beginning, closed by the stack."""
        if self.size == len(self.head):
            return io.BytesIO(self.head)
        return stack.enter_context(self.again())


def _judge(stream: BinaryIO, size: int, path: str, name: str) -> bool:
    """Whether there is anything to send. Raises WalError saying why the file is not what its name says."""
    if size == 0:
        raise WalError("it is empty")
    kind = parse_wal_name(name)
    if isinstance(kind, HistoryName):
        text = _read_up_to(stream, MAX_HISTORY_BYTES + 1)
        if len(text) > MAX_HISTORY_BYTES:
            raise WalError("it is too long for a timeline history")
        try:
            TimelineHistory.parse(kind.timeline, text.decode("utf-8", "replace"))
        except CorruptRecord as error:
            raise WalError(error.message) from error
    if not isinstance(kind, WalSegment | PartialSegment):
        return True
    verdict = header.judge(stream, kind.segment.name)
    if verdict.header is None:
        stream.seek(0)
        if path.endswith(".partial") and not any(_read_up_to(stream, header.LONG_HEADER_SIZE)):
            return False  # pg_receivewal has made the file, and nothing has come yet
    if not verdict.ok:
        raise WalError(", ".join(verdict.reasons))
    if verdict.header is not None and size != verdict.header.segment_size:
        raise WalError(f"its size is {size} bytes, a segment has {verdict.header.segment_size}")
    return True


def _read_up_to(stream: BinaryIO, size: int) -> bytes:
    """So many bytes, or all there are."""
    pieces = []
    while size > 0 and (piece := stream.read(min(size, 1 << 20))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
