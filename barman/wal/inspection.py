"""Look into a file that waits to be archived: is it what its name says, and of this server."""

from __future__ import annotations

from barman.compression.codec import CHUNK, CodecError, CustomFilters, decoded, detect_file, find_codec
from barman.errors import CorruptRecord
from barman.postgres.timeline import MAX_HISTORY_BYTES, TimelineHistory
from barman.postgres.wal_name import BackupLabelName, HistoryName, is_segment_name, parse_wal_name
from barman.typing import BinaryIO
from barman.values import dataclass, replace
from barman.wal import header
from barman.wal.cluster import Cluster
from barman.wal.source import Found

_MAX_LABEL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen: the compression of the file, why it is unsound, and whether it only lacks bytes at its end."""

    compression: str | None = None
    defects: tuple[str, ...] = ()
    short: bool = False


def inspect(found: Found, cluster: Cluster, custom: CustomFilters | None = None) -> Inspection:
    """Inspect one file; compressed ones are judged by their plain content, all of which is decoded.

    `cluster` is what is known of the server's. Raises OSError, and CodecError when the content cannot be looked
    at because a library is missing: that says nothing about the file.
    """
    if found.size == 0:
        return Inspection(defects=("it is empty",), short=True)
    # What comes encrypted is not WAL: it is set aside as any other foreign content.
    custom = replace(custom, unsealer=None) if custom is not None else None
    compression = detect_file(found.path, custom)
    if compression is not None:
        find_codec(compression, custom=custom)
    name = parse_wal_name(found.name)
    with decoded(found.path, custom) as stream:
        try:
            if isinstance(name, HistoryName):
                return Inspection(compression, _history_defects(stream, name.timeline))
            if isinstance(name, BackupLabelName):
                return Inspection(compression, _label_defects(stream))
            return _inspect_segment(found, stream, compression, cluster)
        except CodecError as error:
            return Inspection(compression, (error.message,), short=True)


def _inspect_segment(found: Found, stream: BinaryIO, compression: str | None, cluster: Cluster) -> Inspection:
    name = found.name if is_segment_name(found.name) else found.name[:24]
    verdict = header.judge(stream, name, cluster.segment_size, cluster.system_id)
    if not verdict.ok:
        return Inspection(compression, tuple(verdict.reasons), short=found.size < header.LONG_HEADER_SIZE)
    expected = verdict.header.segment_size if verdict.header is not None else found.size
    size = found.size if compression is None else _length(stream, expected)
    if size == expected:
        return Inspection(compression)
    told = f"its size is {size} bytes" if compression is None or size < expected else "it is longer than it should be"
    return Inspection(compression, (f"{told}, a segment has {expected}",), short=size < expected)


def _length(stream: BinaryIO, enough: int) -> int:
    """The plain size of a stream, of which some was read already; what exceeds `enough` is not read to its end.

    A few megabytes can be made to decode into terabytes.
    """
    while stream.tell() <= enough and stream.read(CHUNK):
        pass
    return stream.tell()


def _history_defects(stream: BinaryIO, timeline: int) -> tuple[str, ...]:
    text = stream.read(MAX_HISTORY_BYTES + 1)
    if len(text) > MAX_HISTORY_BYTES:
        return ("it is too long for a timeline history",)
    try:
        TimelineHistory.parse(timeline, text.decode("utf-8", "replace"))
    except CorruptRecord as error:
        return (error.message,)
    return ()


def _label_defects(stream: BinaryIO) -> tuple[str, ...]:
    text = stream.read(_MAX_LABEL_BYTES + 1)
    if len(text) > _MAX_LABEL_BYTES:
        return ("it is too long for a backup history file",)
    return () if b"START WAL LOCATION:" in text else ("it is no backup history file",)
