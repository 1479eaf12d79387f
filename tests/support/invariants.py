"""What must hold for the catalog of one server whenever no operation runs on it; crash tests assert it after the rerun.

The checks read the disk themselves, with as little of the program as possible: names and records come through its
parsers, the WAL index and the archive are read plainly.
"""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from barman.catalog import backup_info_file
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo
from barman.catalog.layout import Layout
from barman.errors import BarmanError
from barman.fs.durable import is_temporary
from barman.postgres.wal_name import WalSegment, hash_directory, is_wal_name


@dataclass(frozen=True)
class Expectations:
    """What a test knows beyond the rules, and which rules do not apply yet.

    `settled`: the operation was run again to its end, so no temporary, no marker and no stale copy may be left.
    `indexed`: the WAL index names exactly the files of the archive. Off right after a crash, where files may lack
    their line. `segment_size`: size of every archived segment, for archives without compression.
    """

    settled: bool = True
    indexed: bool = True
    segment_size: int | None = None
    backups: Collection[str] = ()
    wals: Collection[str] = ()
    absent_backups: Collection[str] = ()
    corrupt: Collection[str] = ()


def check_invariants(layout: Layout, expected: Expectations | None = None) -> None:
    """Fail, listing every violation."""
    found = list(violations(layout, expected or Expectations()))
    assert not found, "the catalog is broken:\n" + "\n".join(found)


def violations(layout: Layout, expected: Expectations) -> Iterator[str]:
    """Every broken rule, in words."""
    records = dict[BackupId, BackupInfo]()
    yield from _read_records(layout, expected, records)
    for info in records.values():
        yield from _backup(layout, info, expected)
        yield from _chain(info, records)
    yield from _expected_backups(layout, records, expected)
    archived = dict(_archived(layout))
    yield from _archive(layout, archived, expected)
    yield from _index(layout, archived, expected)
    if expected.settled:
        yield from _leftovers(layout)


def needed_wals(info: BackupInfo) -> list[str]:
    """The segments without which the backup cannot be made consistent; empty when the record does not say."""
    if info.begin_wal is None or info.end_wal is None:
        return []
    size = info.xlog_segment_size
    segment, last = WalSegment.parse(info.begin_wal), WalSegment.parse(info.end_wal)
    found = [segment.name]
    while segment < last:
        segment = segment.next(size)
        found.append(segment.name)
    return found


def _read_records(layout: Layout, expected: Expectations, records: dict[BackupId, BackupInfo]) -> Iterator[str]:
    for name in _names(layout.meta_directory):
        if not name.endswith("-backup.info") or name.startswith("."):
            continue
        backup_id = BackupId(name.removesuffix("-backup.info"))
        if backup_id in expected.corrupt:
            continue
        path = os.path.join(layout.meta_directory, name)
        try:
            records[backup_id] = backup_info_file.parse(_text(path), backup_id, layout.server_name, path=path)
        except BarmanError as error:
            yield f"unreadable record: {error}"
        copy = layout.legacy_backup_info(backup_id)
        if expected.settled and os.path.exists(copy) and _text(copy) != _text(path):
            yield f"stale copy of a record: {copy}"


def _backup(layout: Layout, info: BackupInfo, expected: Expectations) -> Iterator[str]:
    name = f"backup {info.backup_id} ({info.status})"
    if not info.is_copy_done:
        return
    data = layout.data_directory(info.backup_id)
    if not os.path.isdir(data) or not os.listdir(data):
        yield f"{name} has no data in {data}"
    if os.path.exists(layout.delete_marker(info.backup_id)):
        yield f"{name} is being deleted and still called good"
    for tablespace in info.tablespaces:
        if info.compression is None and not os.path.isdir(layout.tablespace_directory(info.backup_id, tablespace.oid)):
            yield f"{name} lacks the directory of tablespace {tablespace.name}"
    if info.begin_wal is None or info.end_wal is None or info.end_time is None:
        yield f"{name} does not say where it begins and ends"
    if info.status == "DONE":
        missing = [wal for wal in needed_wals(info) if not os.path.isfile(layout.wal_path(wal))]
        if missing:
            yield f"{name} needs WAL that is not archived: {', '.join(missing)}"


def _chain(info: BackupInfo, records: dict[BackupId, BackupInfo]) -> Iterator[str]:
    if not info.is_copy_done or info.parent_backup_id is None:
        return
    parent = records.get(info.parent_backup_id)
    if parent is None:
        yield f"backup {info.backup_id} ({info.status}) has lost its parent {info.parent_backup_id}"
    elif not parent.is_copy_done:
        yield f"backup {info.backup_id} ({info.status}) depends on {parent.backup_id} ({parent.status})"


def _expected_backups(layout: Layout, records: dict[BackupId, BackupInfo], expected: Expectations) -> Iterator[str]:
    for backup_id in expected.backups:
        info = records.get(BackupId(backup_id))
        if info is None or not info.is_copy_done:
            yield f"good backup {backup_id} is lost: {info.status if info else 'no record'}"
    for backup_id in expected.absent_backups:
        if backup_id in records:
            yield f"deleted backup {backup_id} has a record: {records[BackupId(backup_id)].status}"
        if os.path.lexists(layout.backup_directory_of(backup_id)):
            yield f"deleted backup {backup_id} has a directory"
    for name in _names(layout.meta_directory):
        if name.endswith("-keep") and name.removesuffix("-keep") not in {*records, *expected.corrupt}:
            yield f"keep annotation without a backup: {name}"


def _archived(layout: Layout) -> Iterator[tuple[str, str]]:
    """Name and directory of every file with a WAL name, wherever it lies in the archive."""
    for directory, _, names in os.walk(layout.wals_directory):
        for name in sorted(names):
            if is_wal_name(name):
                yield name, os.path.relpath(directory, layout.wals_directory)


def _archive(layout: Layout, archived: dict[str, str], expected: Expectations) -> Iterator[str]:
    for name, directory in archived.items():
        path = os.path.join(layout.wals_directory, directory, name)
        if directory != (hash_directory(name) or "."):
            yield f"archived in the wrong place: {path}"
        size = os.path.getsize(path)
        if size == 0 or (len(name) == 24 and expected.segment_size not in (None, size)):
            yield f"archived file of {size} bytes: {path}"
    for name in expected.wals:
        if name not in archived:
            yield f"archived WAL is lost: {name}"


def _index(layout: Layout, archived: dict[str, str], expected: Expectations) -> Iterator[str]:
    if not os.path.exists(layout.xlogdb):
        if archived and expected.indexed:
            yield f"no WAL index: {layout.xlogdb}"
        return
    text = _text(layout.xlogdb)
    lines = text.splitlines(keepends=True)
    if expected.settled and lines and not lines[-1].endswith("\n"):
        yield f"torn last line of the WAL index: {lines[-1]!r}"
    columns = [line.rstrip("\n").split("\t") for line in lines if line.endswith("\n")]
    for fields in columns:
        if len(fields) != 5 or not is_wal_name(fields[0]):
            yield f"damaged line of the WAL index: {fields}"
    if expected.indexed:
        indexed = [fields[0] for fields in columns]
        yield from (f"in the WAL index and not archived: {name}" for name in sorted(set(indexed) - archived.keys()))
        yield from (f"archived and not in the WAL index: {name}" for name in sorted(archived.keys() - set(indexed)))
        yield from (f"twice in the WAL index: {name}" for name in sorted(archived) if indexed.count(name) > 1)


def _leftovers(layout: Layout) -> Iterator[str]:
    for directory in layout.directories():
        for name in _names(directory):
            if is_temporary(name) or name.endswith((".deleting", "-delete_this")):
                yield f"left behind: {os.path.join(directory, name)}"
    for directory, _, names in os.walk(layout.wals_directory):
        yield from (f"left behind: {os.path.join(directory, name)}" for name in names if is_temporary(name))


def _names(directory: str) -> list[str]:
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
