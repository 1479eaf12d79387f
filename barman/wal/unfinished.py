"""Segments that were not finished, `NAME.partial`: being received, or left by a promotion. Reads only."""

from __future__ import annotations

import os

from barman.catalog.wal_content import recognise_file
from barman.errors import BarmanError
from barman.postgres.wal_name import PartialSegment, WalSegment, is_segment_name
from barman.typing import TYPE_CHECKING
from barman.values import dataclass
from barman.wal import header

if TYPE_CHECKING:
    from barman.catalog.layout import Layout
    from barman.compression.codec import CustomFilters

_SUFFIX = ".partial"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An unfinished segment: where it lies, and when it was written to for the last time."""

    segment: WalSegment
    path: str
    written: float

    @property
    def name(self) -> str:
        """Return `NAME.partial`."""
        return PartialSegment(self.segment).name


def find_received(layout: Layout) -> list[Unfinished]:
    """Return what a receiver has left or is writing, oldest name first."""
    found = []
    for name in _listing(layout.streaming_directory):
        segment = name[: -len(_SUFFIX)]
        if name.endswith(_SUFFIX) and is_segment_name(segment):
            path = os.path.join(layout.streaming_directory, name)
            try:
                found.append(Unfinished(WalSegment.parse(segment), path, os.stat(path).st_mtime))
            except OSError:
                continue  # it was finished meanwhile
    return found


def find_waiting(layout: Layout) -> set[WalSegment]:
    """Return the finished segments that wait in the queues of the archivers."""
    names = [name for place in (layout.incoming_directory, layout.streaming_directory) for name in _listing(place)]
    return {WalSegment.parse(name) for name in names if is_segment_name(name)}


def why_useless(
    found: Unfinished, segment_size: int, system_id: str | None, custom: CustomFilters | None = None
) -> str | None:
    """Return why a file is not the beginning of its segment; "" if nothing has come yet, None if it is.

    pg_receivewal fills a new segment with zeros before it writes WAL into it.
    """
    from barman.compression.codec import decoded

    try:
        compression, encryption = recognise_file(found.path, custom)
        size = os.path.getsize(found.path)
        if (compression, encryption) == (None, None) and size > segment_size:
            return f"it has {size} bytes, more than the {segment_size} of a segment"
        if size == 0:
            return ""
        with decoded(found.path, custom) as stream:
            verdict = header.judge(stream, found.segment.name, segment_size, system_id)
            if verdict.header is not None or compression is not None or encryption is not None:
                return "; ".join(verdict.reasons) or None
        with open(found.path, "rb") as file:
            nothing = not any(file.read(header.LONG_HEADER_SIZE))
        return "" if nothing else "; ".join(verdict.reasons)
    except FileNotFoundError:
        return ""
    except (BarmanError, OSError) as error:
        return str(error)


def _listing(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
