"""Look at the repository and the archive before a restore. Reads only; no server is asked."""

from __future__ import annotations

import os

from barman.catalog.wal_content import recognise_file
from barman.compression.codec import decoded
from barman.errors import BarmanError, CatalogError
from barman.fs.tree import walk
from barman.postgres import data_directory
from barman.postgres.backup_manifest import BackupManifest, read
from barman.postgres.timeline import TimelineHistory
from barman.postgres.wal_name import BackupLabelName, HistoryName, PartialSegment, WalSegment, parse_wal_name
from barman.restore.facts import ArchiveFacts, BackupFacts, Damage, SourceTree, WalFacts
from barman.restore.partial import gather_partials, look_at_queues, wants_partial, with_partials
from barman.restore.unpack import gather_archives
from barman.restore.wals import WalArchive, run_ends
from barman.typing import TYPE_CHECKING
from barman.wal.header import judge
from barman.workers import ordered_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import Catalog
    from barman.compression.codec import CustomFilters
    from barman.restore.partial import PartialFacts
    from barman.restore.request import RestoreRequest
    from barman.restore.step import WalDelivery

_DECRYPTED_AT_ONCE = 4

# -- the archive -----------------------------------------------------------------------------------------------------


def gather_archive(catalog: Catalog, info: BackupInfo, request: RestoreRequest) -> ArchiveFacts:
    """Look at the WAL from the beginning of a backup on, along its timeline and all that came from it."""
    store, size = catalog.wals, info.xlog_segment_size
    histories, notes = store.histories()
    own = info.timeline or 1
    # A server set up after a promotion archives its timeline without ever archiving where that came from.
    histories.setdefault(own, TimelineHistory(own))
    begin = WalSegment.parse(info.begin_wal) if info.begin_wal else WalSegment(own, 0, 0)
    collected = _Collected(size)
    queues = look_at_queues(catalog.layout)
    for timeline, history in sorted(histories.items()):
        if history.is_ancestor(own):
            collected.take(store.names(begin.on_timeline(timeline).name, timeline=timeline))
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
        times=times,
        history_times={
            timeline: os.stat(catalog.layout.history(timeline)).st_mtime for timeline in store.history_timelines()
        },
    )
    partials: dict[WalSegment, PartialFacts] = {}
    if wants_partial(request):
        partials, left_out = gather_partials(catalog, archive, collected.partial_names, queues, info, request)
        archive = with_partials(archive, partials)
        notes += left_out
    names = tuple(HistoryName(timeline).name for timeline in store.history_timelines())
    return ArchiveFacts(archive, partials, tuple(collected.labels), names, tuple(notes))


class _Collected:
    """Archived names sorted by kind."""

    def __init__(self, segment_size: int) -> None:
        self.segment_size = segment_size
        self.segments: dict[int, set[int]] = {}
        self.partial_names: list[str] = []
        self.labels: list[str] = []

    def take(self, names: Iterable[str]) -> None:
        for name in names:
            parsed = parse_wal_name(name)
            if isinstance(parsed, WalSegment):
                self.segments.setdefault(parsed.timeline, set()).add(parsed.number(self.segment_size))
            elif isinstance(parsed, PartialSegment):
                self.partial_names.append(name)
            elif isinstance(parsed, BackupLabelName):
                self.labels.append(name)


def look_at_wal(files: Sequence[WalDelivery], info: BackupInfo, custom: CustomFilters | None) -> WalFacts:
    """Look at the beginning and size of each file that is to be delivered: is it what its name says?

    Encrypted ones are looked at side by side: each takes a program that decrypts.
    """
    jobs = _DECRYPTED_AT_ONCE if any(_is_sealed(item, custom) for item in files) else 1
    refusals = []
    for item, reason in zip(files, ordered_map(lambda item: _unsound(item, info, custom), files, jobs), strict=True):
        if reason:
            refusals.append(f"WAL file '{item.source}' cannot be restored: {reason}")
    return WalFacts(tuple(refusals), len(files) * info.xlog_segment_size)


def _is_sealed(item: WalDelivery, custom: CustomFilters | None) -> bool:
    try:
        return recognise_file(item.source, custom)[1] is not None
    except (BarmanError, OSError):
        return False


def _unsound(item: WalDelivery, info: BackupInfo, custom: CustomFilters | None) -> str:
    # An unfinished segment may have been finished since it was found.
    source = next((path for path in (item.source, *item.later_paths) if os.path.exists(path)), item.source)
    try:
        compression, encryption = recognise_file(source, custom)
        if item.size is None:
            return ""
        size = os.path.getsize(source)
        partial = source.endswith(".partial")
        if (compression, encryption) == (None, None) and size != item.size and not (partial and size < item.size):
            return f"it has {size} bytes, not {item.size}"
        with decoded(source, custom) as stream:
            return "; ".join(judge(stream, item.name, item.size, info.systemid).reasons)
    except (BarmanError, OSError) as error:
        return str(error)


# -- the backup ------------------------------------------------------------------------------------------------------


def gather_backup(catalog: Catalog, info: BackupInfo, *, being_deleted: bool) -> BackupFacts:
    """List the files of a backup and compare them with its manifest; those in archives are taken from it."""
    layout = catalog.layout
    root = layout.data_directory(info.backup_id)
    record = layout.backup_info(info.backup_id)
    if not os.path.exists(record):
        record = layout.legacy_backup_info(info.backup_id)
    if not os.path.isdir(root):
        return BackupFacts(info, record, being_deleted, None)
    if info.compression is not None:
        return gather_archives(info, record, root, being_deleted=being_deleted, custom=catalog.filters())
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
