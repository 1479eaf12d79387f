"""Why a WAL file that was not found should be there after all.

PostgreSQL takes "no such file" for the end of the WAL, and promotes. So that is said only by an archive which can be
read, holds nothing of the timeline after the file, and knows of no timeline that left this one later on.
"""

from __future__ import annotations

import os
import re

from barman.errors import BarmanError
from barman.postgres.wal_name import HistoryName, PartialSegment, WalSegment, is_wal_name, parse_wal_name
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.catalog.wal_store import WalStore
    from barman.postgres.lsn import Lsn


def why_expected(wals: WalStore, name: str, size_of: Callable[[str], int]) -> str | None:
    """The evidence that a file should be there; None if a readable archive has nothing that speaks for it.

    `size_of` answers the segment size that the file at a path tells. Only segments are missed: nobody needs labels, and
    PostgreSQL asks for history files that never were.
    """
    layout = wals.layout
    wanted = parse_wal_name(name)
    try:
        os.listdir(layout.wals_directory)  # an archive that cannot be listed would look like an empty one
        wals.find(name)
        if not isinstance(wanted, WalSegment):
            return None
        newest = [found for timeline in reversed(wals.timelines()) if (found := wals.newest_segment(timeline))]
        segment_size = size_of(layout.wal_path(newest[0])) if newest else 0
        return _refused(wanted, layout.errors_directory) or _left_behind(wanted, wals, segment_size)
    except OSError as error:
        return f"'{error.filename}' cannot be read: {error.strerror}"


def _refused(wanted: WalSegment, errors_directory: str) -> str | None:
    pattern = re.compile(rf"{wanted.name}\.\d{{8}}T\d{{6}}Z\.unknown")
    found = [name for name in _list(errors_directory) if pattern.fullmatch(name)]
    return f"a file of this name was refused: '{os.path.join(errors_directory, max(found))}'" if found else None


def _left_behind(wanted: WalSegment, wals: WalStore, segment_size: int) -> str | None:
    began_at, left_at = _bounds(wanted, wals) if segment_size else (None, {})
    if began_at is not None and wanted.end(segment_size) <= began_at:
        return None  # before version 13 PostgreSQL asks for segments from before a timeline, too
    later = [name for name in _segments(wanted.timeline, wals) if name[:24] > wanted.name]
    if later:
        return f"later WAL of its timeline is there: '{max(later)}'"
    for name, lsn in left_at.items():
        if wanted.end(segment_size) <= lsn:
            return f"its timeline went on until {lsn}, says '{name}'"
    return None


def _segments(timeline: int, wals: WalStore) -> list[str]:
    """The newest segment of the timeline in the archive, and all, unfinished ones too, in the queues."""
    newest = wals.newest_segment(timeline)
    found = [newest] if newest else []
    for directory in (wals.layout.incoming_directory, wals.layout.streaming_directory):
        for name in _list(directory):
            if is_wal_name(name):
                kind = parse_wal_name(name)
                if isinstance(kind, WalSegment | PartialSegment) and kind.timeline == timeline:
                    found.append(kind.name)
    return found


def _bounds(wanted: WalSegment, wals: WalStore) -> tuple[Lsn | None, dict[str, Lsn]]:
    """Where the timeline of the segment began, and where others left it, by the name of their history file."""
    began_at, left_at = None, {}
    for timeline in wals.history_timelines():
        try:
            history = wals.history(timeline)
        except BarmanError:
            continue  # it proves nothing
        if history is None or not history.switches:
            continue
        if timeline == wanted.timeline:
            began_at = history.switches[-1].lsn
        elif (lsn := history.end_of(wanted.timeline)) is not None:
            left_at[HistoryName(timeline).name] = lsn
    return began_at, left_at


def _list(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
