"""Look at the repository, the archive and the destination before a restore. Reads only; no server is asked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from barman.catalog.wal_content import recognise_file
from barman.compression.codec import decoded
from barman.errors import BarmanError, CatalogError
from barman.fs.durable import is_temporary
from barman.fs.tree import walk
from barman.postgres import data_directory
from barman.postgres.backup_manifest import BackupManifest, read
from barman.postgres.timeline import TimelineHistory
from barman.postgres.wal_name import BackupLabelName, HistoryName, PartialSegment, WalSegment, parse_wal_name
from barman.process import is_alive
from barman.restore.facts import ArchiveFacts, BackupFacts, Damage, PlaceFacts, SourceTree, WalFacts, is_inside
from barman.restore.marker import MARKER_NAME, Marker, parse_marker
from barman.restore.wals import WalArchive, run_ends
from barman.wal.header import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog
    from barman.catalog.wal_store import WalStore
    from barman.compression.codec import CustomFilters
    from barman.restore.step import WalDelivery

_LARGEST_MARKER = 1 << 20


# -- the archive -----------------------------------------------------------------------------------------------------


def read_histories(store: WalStore) -> tuple[dict[int, TimelineHistory], list[str]]:
    """Return every archived history that can be read, and a note for each one that cannot."""
    histories: dict[int, TimelineHistory] = {1: TimelineHistory(1)}
    notes = []
    for timeline in store.history_timelines():
        try:
            history = store.history(timeline)
        except BarmanError as error:
            notes.append(f"the history of timeline {timeline} is left out: {error.message}")
            continue
        if history is not None:
            histories[timeline] = history
    return histories, notes


def gather_archive(catalog: Catalog, info: BackupInfo, *, partial: bool) -> ArchiveFacts:
    """Look at the WAL from the beginning of a backup on, along its timeline and all that came from it."""
    store, size = catalog.wals, info.xlog_segment_size
    histories, notes = read_histories(store)
    own = info.timeline or 1
    # A server set up after a promotion archives its timeline without ever archiving where that came from.
    histories.setdefault(own, TimelineHistory(own))
    begin = WalSegment.parse(info.begin_wal) if info.begin_wal else WalSegment(own, 0, 0)
    collected = _Collected(size)
    for timeline, history in sorted(histories.items()):
        if history.is_ancestor(own):
            collected.take(store.names(begin.on_timeline(timeline).name, timeline=timeline))
    partial_paths: dict[str, str] = {}
    if partial:
        partial_paths = {name: catalog.layout.wal_path(name) for name in collected.partial_names}
        collected.take(_streaming_partials(catalog.layout.streaming_directory, begin, partial_paths))
    times = {
        segment: os.stat(catalog.layout.wal_path(segment.name)).st_mtime
        for timeline, numbers in collected.segments.items()
        for segment in (WalSegment.numbered(number, timeline, size) for number in run_ends(numbers))
        if store.exists(segment.name)
    }
    archive = WalArchive(
        segment_size=size,
        segments=collected.segments,
        histories=histories,
        partials=collected.partials if partial else {},
        times=times,
        history_times={
            timeline: os.stat(catalog.layout.history(timeline)).st_mtime for timeline in store.history_timelines()
        },
    )
    names = tuple(HistoryName(timeline).name for timeline in store.history_timelines())
    return ArchiveFacts(archive, partial_paths, tuple(collected.labels), names, tuple(notes))


class _Collected:
    """Archived names sorted by kind."""

    def __init__(self, segment_size: int) -> None:
        self.segment_size = segment_size
        self.segments: dict[int, set[int]] = {}
        self.partials: dict[int, set[int]] = {}
        self.partial_names: list[str] = []
        self.labels: list[str] = []

    def take(self, names: Iterable[str]) -> None:
        for name in names:
            parsed = parse_wal_name(name)
            if isinstance(parsed, WalSegment):
                self._add(self.segments, parsed)
            elif isinstance(parsed, PartialSegment):
                self._add(self.partials, parsed.segment)
                self.partial_names.append(name)
            elif isinstance(parsed, BackupLabelName):
                self.labels.append(name)

    def _add(self, held: dict[int, set[int]], segment: WalSegment) -> None:
        held.setdefault(segment.timeline, set()).add(segment.number(self.segment_size))


def _streaming_partials(directory: str, begin: WalSegment, paths: dict[str, str]) -> list[str]:
    """Find what a receiver is writing: the newest WAL there is; it beats an archived file of the same name."""
    found = []
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    for name in names:
        if name.endswith(".partial") and len(name) == 32:
            try:
                parsed = parse_wal_name(name)
            except BarmanError:
                continue
            if isinstance(parsed, PartialSegment) and parsed.segment.name[8:] >= begin.name[8:]:
                paths[name] = os.path.join(directory, name)
                found.append(name)
    return found


def look_at_wal(files: Sequence[WalDelivery], info: BackupInfo, custom: CustomFilters | None) -> WalFacts:
    """Look at the beginning and size of each file that is to be delivered: is it what its name says?"""
    refusals = []
    for item in files:
        reason = _unsound(item, info, custom)
        if reason:
            refusals.append(f"WAL file '{item.source}' cannot be restored: {reason}")
    return WalFacts(tuple(refusals), len(files) * info.xlog_segment_size)


def _unsound(item: WalDelivery, info: BackupInfo, custom: CustomFilters | None) -> str:
    try:
        compression, encryption = recognise_file(item.source, custom)
        if encryption is not None:
            return "it is encrypted, which this version does not support"
        if item.size is None:
            return ""
        size = os.path.getsize(item.source)
        partial = item.source.endswith(".partial")
        if compression is None and size != item.size and not (partial and size < item.size):
            return f"it has {size} bytes, not {item.size}"
        with decoded(item.source, custom) as stream:
            return "; ".join(judge(stream, item.name, item.size, info.systemid).reasons)
    except (BarmanError, OSError) as error:
        return str(error)


# -- the backup ------------------------------------------------------------------------------------------------------


def gather_backup(catalog: Catalog, info: BackupInfo, *, being_deleted: bool) -> BackupFacts:
    """List the files of a plain backup and compare them with its manifest."""
    layout = catalog.layout
    root = layout.data_directory(info.backup_id)
    record = layout.backup_info(info.backup_id)
    if not os.path.exists(record):
        record = layout.legacy_backup_info(info.backup_id)
    if not os.path.isdir(root):
        return BackupFacts(info, record, being_deleted, None)
    sizes: dict[str, int] = {}
    data = _list_tree(root, sizes, "", data_directory.is_left_out_of_restore)
    trees: dict[int, SourceTree | None] = {}
    for tablespace in info.tablespaces:
        path = layout.tablespace_directory(info.backup_id, tablespace.oid)
        prefix = f"{data_directory.TABLESPACE_LINKS}/{tablespace.oid}/"
        trees[tablespace.oid] = _list_tree(path, sizes, prefix, lambda _: False) if os.path.isdir(path) else None
    return BackupFacts(info, record, being_deleted, data, trees, _compare_manifest(root, sizes))


def _list_tree(root: str, sizes: dict[str, int], prefix: str, left_out: Callable[[str], bool]) -> SourceTree:
    files: dict[str, int] = {}
    links: list[str] = []
    directories: list[str] = []
    try:
        for entry in walk(root):
            if entry.is_file:
                sizes[prefix + entry.relative] = entry.size
            if left_out(entry.relative):
                continue
            if entry.is_directory:
                directories.append(entry.relative)
            elif entry.is_link:
                links.append(entry.relative)
            elif entry.is_file:
                files[entry.relative] = entry.size
    except OSError as error:
        raise CatalogError(f"cannot read the backup in '{error.filename or root}': {error.strerror}") from error
    return SourceTree(root, files, tuple(links), tuple(directories))


def _compare_manifest(root: str, sizes: Mapping[str, int]) -> Damage:
    path = os.path.join(root, data_directory.MANIFEST)
    try:
        manifest: BackupManifest = read(path)
    except FileNotFoundError:
        return Damage()
    except (OSError, CatalogError) as error:
        return Damage(note=f"the files of the backup cannot be compared with its manifest: {error}")
    missing = resized = 0
    example = ""
    for file in manifest.files:
        size = sizes.get(file.path)
        if size == file.size:
            continue
        example = example or file.path
        missing += size is None
        resized += size is not None
    return Damage(missing, resized, example)


# -- places ----------------------------------------------------------------------------------------------------------


def gather_place(path: str, repository: Iterable[str], known: Callable[[str], bool] | None = None) -> PlaceFacts:
    """Look at a directory that a restore wants to fill.

    `known` tells whether a relative path is one that a restore of this backup makes; asked only about the content of a
    destination that an unfinished restore left, where it finds the foreign ones.
    """
    real = os.path.realpath(path)
    holder = next((item for item in repository if is_inside(real, os.path.realpath(item))), None)
    above = _nearest_existing(real)
    device, free = os.stat(above).st_dev, _free_bytes(above)
    cluster = data_directory.enclosing_data_directory(real)
    problem = ""
    if not os.path.lexists(path):
        if not os.path.isdir(above):
            problem = f"'{above}' is not a directory"
        elif not os.access(above, os.W_OK | os.X_OK):
            problem = f"'{above}' is not writable"
        return PlaceFacts(
            path,
            real,
            problem=problem,
            enclosing_cluster=cluster,
            enclosing_repository=holder,
            device=device,
            free=free,
        )
    if not os.path.isdir(path):
        return PlaceFacts(
            path, real, exists=True, enclosing_cluster=cluster, enclosing_repository=holder, device=device
        )
    try:
        names = tuple(sorted(_names(path)))
    except OSError as error:
        names, problem = (), f"'{path}' cannot be read: {error.strerror}"
    if not problem:
        problem = _why_not_ours(path)
    pid = data_directory.postmaster_pid(path)
    marker = _read_marker(path)
    used, foreign = (0, ()) if known is None or not names else _look_inside(path, known)
    return PlaceFacts(
        path,
        real,
        exists=True,
        is_directory=True,
        names=names,
        problem=problem,
        marker=marker,
        has_control_file=os.path.lexists(os.path.join(path, data_directory.CONTROL_FILE)),
        server_pid=pid if pid is not None and is_alive(pid) else None,
        enclosing_cluster=cluster,
        enclosing_repository=holder,
        device=device,
        free=free,
        used=used,
        foreign=foreign,
    )


def _why_not_ours(path: str) -> str:
    """Return why this process cannot fill a directory and give it the mode that PostgreSQL demands; "" if it can."""
    if not os.access(path, os.W_OK | os.X_OK):
        return f"'{path}' is not writable"
    if os.geteuid() not in (0, os.stat(path).st_uid):
        return f"'{path}' belongs to another user, so its permissions cannot be set"
    return ""


def _names(path: str) -> list[str]:
    names = os.listdir(path)
    # What mkfs leaves in the root of a file system is nobody's data, and neither is a marker that never got its name.
    return [
        name
        for name in names
        if not (name == "lost+found" and os.path.ismount(path))
        and not (is_temporary(name) and name.startswith(f".{MARKER_NAME}."))
    ]


def _nearest_existing(path: str) -> str:
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _free_bytes(path: str) -> int | None:
    try:
        facts = os.statvfs(path)
    except OSError:
        return None
    return facts.f_bavail * facts.f_frsize


def _read_marker(path: str) -> Marker | None:
    try:
        with open(os.path.join(path, MARKER_NAME), encoding="utf-8", errors="replace") as file:
            return parse_marker(file.read(_LARGEST_MARKER))
    except OSError:
        return None


def _look_inside(path: str, known: Callable[[str], bool]) -> tuple[int, tuple[str, ...]]:
    used = 0
    foreign = []
    try:
        for entry in walk(path):
            used += entry.size if entry.is_file else 0
            if not known(entry.relative) and not is_temporary(os.path.basename(entry.relative)):
                foreign.append(entry.relative)
    except OSError as error:
        foreign.append(f"{error.filename} ({error.strerror})")
    return used, tuple(foreign)
