"""The WAL archive directory of one server: the truth about what is archived.

Segments, labels and partial files live in `wals/<timeline and log>/`, history files in `wals/` itself, all under their
bare names whatever their compression (catalog reference, section 10).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator

from barman.catalog.layout import Layout
from barman.catalog.wal_content import recognise_file
from barman.encryption.openpgp import EncryptionError
from barman.errors import BarmanError, CatalogError
from barman.fs.durable import remove, remove_empty_directory
from barman.postgres.timeline import MAX_HISTORY_BYTES, TimelineHistory
from barman.postgres.wal_name import HistoryName, hash_directory, is_segment_name, is_wal_name, parse_wal_name
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.compression.codec import CustomFilters

_HASH_DIRECTORY = re.compile(r"[0-9A-F]{16}\Z")


@dataclass(frozen=True, slots=True)
class StoredWal:
    """A file of the archive. Its content may be compressed or encrypted."""

    name: str
    path: str
    size: int
    time: float


class WalStore:
    """The archived files of one server. Every question is answered from the directory, never from `xlog.db`."""

    def __init__(self, layout: Layout, filters: Callable[[], CustomFilters] | None = None):
        self.layout = layout
        self._filters = filters

    def find(self, name: str) -> StoredWal | None:
        """The archived file of that name, or None. Raises InvalidWalName for what cannot be archived at all."""
        path = self.layout.wal_path(name)
        try:
            facts = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return StoredWal(name, path, facts.st_size, facts.st_mtime) if os.path.isfile(path) else None

    def exists(self, name: str) -> bool:
        """Whether the file is archived. Raises InvalidWalName."""
        return os.path.isfile(self.layout.wal_path(name))

    def names(self, first: str = "", last: str = "", *, timeline: int | None = None) -> Iterator[str]:
        """The names of archived files in order, from `first` to `last` (both included; empty is no bound).

        Bounds compare as text, as everywhere in Barman: the label of the last segment is greater than its name. Only
        the directories that can hold names of the range are read. History files are among the names.
        """
        for group in self._groups(timeline):
            if last and group > last:
                return
            if first and group < first[: len(group)]:
                continue
            for name in self._names_in(group):
                if name >= first and (not last or name <= last):
                    yield name

    def list_names(self, timeline: int | None = None) -> list[str]:
        """All names, or those of one timeline, in order."""
        return list(self.names(timeline=timeline))

    def newest_segment(self, timeline: int) -> str | None:
        """The greatest complete segment of a timeline; directories without one are passed over."""
        for group in sorted(self._directories(timeline), reverse=True):
            segments = [name for name in self._listing(group) if is_segment_name(name)]
            if segments:
                return max(segments)
        return None

    def timelines(self) -> list[int]:
        """The timelines of which the archive holds a segment, a label, a partial or a history file, in order."""
        found = set(self.history_timelines())
        for group in self._directories():
            timeline = int(group[:8], 16)
            if timeline not in found and next(self._names_in(group), None):
                found.add(timeline)
        return sorted(found)

    def history_timelines(self) -> list[int]:
        """The timelines whose history file is archived, in order."""
        return sorted(
            parsed.timeline
            for name in self._root_files()
            if is_wal_name(name) and isinstance(parsed := parse_wal_name(name), HistoryName)
        )

    def history(self, timeline: int) -> TimelineHistory | None:
        """The history of a timeline, decoded; None if its file is not archived. Timeline 1 needs no file.

        Raises CorruptRecord for a malformed file, CatalogError for one that cannot be decoded or read.
        """
        path = self.layout.history(timeline)
        try:
            text = _read_text(path, self._filters)
        except FileNotFoundError:
            return TimelineHistory(1) if timeline == 1 else None
        return TimelineHistory.parse(timeline, text)

    def histories(self) -> tuple[dict[int, TimelineHistory], list[str]]:
        """Every archived history that can be read, by timeline, and a note for each one that cannot."""
        found = {1: TimelineHistory(1)}
        notes = []
        for timeline in self.history_timelines():
            try:
                history = self.history(timeline)
            except BarmanError as error:
                notes.append(f"the history of timeline {timeline} is left out: {error.message}")
                continue
            if history is not None:
                found[timeline] = history
        return found, notes

    def remove(self, names: Collection[str]) -> None:
        """Remove these files, and only these: each is unlinked, then every directory is synced once.

        A directory goes only when that left it empty (`rmdir`). Files that are already gone are fine, so a removal that
        was interrupted can be repeated. Raises InvalidWalName before anything is touched.
        """
        paths = [self.layout.wal_path(name) for name in names]
        directories = {os.path.dirname(path) for path in paths} - {self.layout.wals_directory}
        remove(paths)
        for directory in sorted(directories):
            remove_empty_directory(directory)

    def _groups(self, timeline: int | None) -> list[str]:
        """Hash directories and history files, in the order of the names they hold."""
        histories = [name for name in self._root_files() if is_wal_name(name)]
        if timeline is not None:
            histories = [name for name in histories if int(name[:8], 16) == timeline]
        return sorted([*histories, *self._directories(timeline)])

    def _names_in(self, group: str) -> Iterator[str]:
        if group.endswith(".history"):
            yield group
            return
        yield from sorted(name for name in self._listing(group) if is_wal_name(name) and hash_directory(name) == group)

    def _directories(self, timeline: int | None = None) -> list[str]:
        prefix = "" if timeline is None else f"{timeline:08X}"
        return [name for name in self._listing("") if _HASH_DIRECTORY.match(name) and name.startswith(prefix)]

    def _root_files(self) -> list[str]:
        return [name for name in self._listing("") if name.endswith(".history")]

    def _listing(self, directory: str) -> list[str]:
        try:
            return os.listdir(os.path.join(self.layout.wals_directory, directory))
        except (FileNotFoundError, NotADirectoryError):
            return []


def _read_text(path: str, filters: Callable[[], CustomFilters] | None) -> str:
    from barman.compression.codec import decoded

    if recognise_file(path)[1] is not None and filters is None:
        raise CatalogError(f"history file '{path}' is encrypted and cannot be read here")
    custom = filters() if filters is not None else None
    try:
        with decoded(path, custom) as stream:
            data = stream.read(MAX_HISTORY_BYTES + 1)
    except EncryptionError as error:
        raise CatalogError(f"history file '{path}': {error.message}", hint=error.hint) from error
    if len(data) > MAX_HISTORY_BYTES:
        raise CatalogError(f"history file '{path}' is longer than any history can be")
    return data.decode("utf-8", "replace")
