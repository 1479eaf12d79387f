"""Which WAL may be removed, against an oracle that thinks in bytes instead of names."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.catalog.catalog import Catalog
from barman.catalog.view import CatalogView
from barman.errors import CorruptRecord
from barman.report import MemoryReporter
from barman.wal.expire import gather_needs, plan_expiry
from barman.wal.removal import remove_unneeded_wals
from tests.support.wal_archive import Archive, segment_name

SIZES = [1 << bits for bits in (20, 24, 26, 30)]


def name_at(position: int, timeline: int, size: int) -> str:
    """The segment that holds a byte, spelled from PostgreSQL's definition."""
    return f"{timeline:08X}{position >> 32:08X}{(position & 0xFFFFFFFF) // size:08X}"


def backup(number: int, begin: str | None, end: str | None = None, *, status: str = "DONE", size: int = 1 << 24,
           parent: str | None = None) -> BackupInfo:  # fmt: skip
    return BackupInfo(
        BackupId(f"20260101T{number:06d}"),
        "main",
        status,
        begin_wal=begin,
        end_wal=end or begin,
        xlog_segment_size=size,
        parent_backup_id=BackupId(parent) if parent else None,
    )


def view_of(*backups: BackupInfo, keep: dict[BackupId, str] | None = None, corrupt: tuple[str, ...] = (),
            deleting: tuple[str, ...] = ()) -> CatalogView:  # fmt: skip
    return CatalogView(
        {info.backup_id: info for info in backups},
        keep or {},
        {BackupId(backup_id): CorruptRecord("damaged") for backup_id in corrupt},
        "main",
        frozenset(BackupId(backup_id) for backup_id in deleting),
    )


def expire(view: CatalogView, archived: list[str], *gone: BackupInfo) -> list[str]:
    return plan_expiry(archived, gather_needs(view, [info.backup_id for info in gone]))


A, B, C = backup(1, segment_name(10)), backup(2, segment_name(20)), backup(3, segment_name(30))


def test_deleting_the_oldest_backup_frees_all_before_the_next() -> None:
    label = segment_name(10) + ".00000028.backup"
    archived = [*map(segment_name, range(5, 25)), label, segment_name(20) + ".00000028.backup"]
    assert expire(view_of(A, B, C), archived, A) == sorted([*map(segment_name, range(5, 20)), label])


def test_deleting_any_other_backup_frees_nothing() -> None:
    archived = [segment_name(number) for number in range(10, 40)]
    assert expire(view_of(A, B, C), archived, B) == []
    assert expire(view_of(A, B, C), archived, C) == []


def test_the_last_backup_leaves_the_wal_from_its_begin_on() -> None:
    archived = [segment_name(number) for number in range(5, 40)]
    assert expire(view_of(A), archived, A) == [segment_name(number) for number in range(5, 10)]


def test_a_failed_backup_without_a_begin_purges_nothing() -> None:
    failed = backup(1, None, status=BackupStatus.FAILED)
    assert expire(view_of(failed), [segment_name(1)], failed) == []
    assert expire(view_of(failed), [segment_name(1)]) == []


@pytest.mark.parametrize("status", ["STARTED", "SYNCING", "WAITING_FOR_WALS", "DONE"])
def test_a_running_or_waiting_backup_protects_its_wal(status: str) -> None:
    archived = [segment_name(number) for number in range(5, 40)]
    assert expire(view_of(backup(1, segment_name(12), status=status), B, C), archived, B)[-1] == segment_name(11)


@pytest.mark.parametrize("status", ["STARTED", "EMPTY", "DONE"])
def test_nothing_is_removed_while_a_backup_does_not_tell_what_it_needs(status: str) -> None:
    assert expire(view_of(A, B, backup(9, None, status=status)), [segment_name(1)], A) == []
    assert expire(view_of(A, B, backup(9, "../../etc", status=status)), [segment_name(1)], A) == []


def test_nothing_is_removed_while_a_record_cannot_be_read() -> None:
    view = view_of(A, B, corrupt=("20260101T000007",))
    assert "20260101T000007" in (gather_needs(view, [A.backup_id]).unknown or "")
    assert expire(view, [segment_name(1)], A) == []
    assert plan_expiry([segment_name(1)], gather_needs(view, [A.backup_id, BackupId("20260101T000007")])) == [
        segment_name(1)
    ]


def test_a_standalone_backup_needs_its_own_segments_only() -> None:
    kept = backup(1, segment_name(10), segment_name(12))
    archived = [
        *map(segment_name, range(5, 25)),
        segment_name(12) + ".00000028.backup",
        segment_name(13) + ".partial",
        "00000002.history",
    ]
    free = expire(view_of(kept, B, keep={kept.backup_id: "standalone"}), archived)
    assert free == sorted([*map(segment_name, [*range(5, 10), *range(13, 20)]), segment_name(13) + ".partial"])
    assert expire(view_of(kept, B, keep={kept.backup_id: "full"}), archived) == list(map(segment_name, range(5, 10)))
    assert expire(view_of(kept, B, keep={kept.backup_id: "what"}), archived) == list(map(segment_name, range(5, 10)))


def test_a_kept_backup_is_never_gone() -> None:
    assert expire(view_of(A, B, keep={A.backup_id: "full"}, deleting=(A.backup_id,)), [segment_name(10)], A) == []


def test_a_backup_whose_deletion_has_begun_needs_nothing() -> None:
    assert expire(view_of(A, B, deleting=(A.backup_id,)), [segment_name(10)]) == [segment_name(10)]


def test_higher_timelines_are_needed_from_the_position_of_the_backup_on() -> None:
    archived = [segment_name(number, timeline) for timeline in (1, 2, 3) for number in (19, 20, 30)]
    second = backup(2, segment_name(20, 2))
    assert expire(view_of(A, second), archived, A) == [
        segment_name(19, 1),
        segment_name(20, 1),
        segment_name(30, 1),
        segment_name(19, 2),
        segment_name(19, 3),
    ]


def test_a_change_of_the_segment_size_removes_nothing_that_might_be_needed() -> None:
    old = backup(1, name_at(0xF0000000, 1, 1 << 24), size=1 << 24)
    new = backup(2, name_at(0x1_00000000, 1, 1 << 26), size=1 << 26)
    later = name_at(0xF8000000, 1, 1 << 26)
    assert later < (old.begin_wal or "")
    assert expire(view_of(old, new), [later, "000000010000000000000001"]) == ["000000010000000000000001"]


def test_foreign_names_and_histories_are_left_alone() -> None:
    assert expire(view_of(A, B), ["00000001.history", "sync-wals.info", "x", segment_name(9) + ".gz"], A) == []


@st.composite
def catalogs(draw: st.DrawFn) -> tuple[CatalogView, list[BackupInfo], list[str], int]:
    size = draw(st.sampled_from(SIZES))
    segments = st.integers(0, 40)
    timelines = st.integers(1, 3)
    base = draw(st.sampled_from([0, (8 << 32) - 12 * size, 7 << 32]))
    backups: list[BackupInfo] = []
    keep: dict[BackupId, str] = {}
    for number in range(draw(st.integers(0, 5))):
        timeline, begin = draw(timelines), draw(segments)
        info = backup(
            number,
            None if draw(st.integers(0, 15)) == 0 else name_at(base + begin * size, timeline, size),
            name_at(base + (begin + draw(st.integers(0, 3))) * size, timeline, size),
            status=draw(st.sampled_from(["DONE", "DONE", "DONE", "WAITING_FOR_WALS", "FAILED", "STARTED", "SYNCING"])),
            size=size,
            parent=backups[-1].backup_id if draw(st.booleans()) and backups else None,
        )
        backups.append(info)
        if draw(st.integers(0, 3)) == 0:
            keep[info.backup_id] = draw(st.sampled_from(["full", "standalone"]))
    chosen = [draw(st.booleans()) for _ in backups]
    gone = [info for info, is_gone in zip(backups, chosen, strict=True) if is_gone]
    corrupt = ("20260101T999999",) if draw(st.integers(0, 9)) == 0 else ()
    suffixes = st.sampled_from(["", "", "", ".partial", ".00000028.backup", ".00ABCDEF.backup"])
    archived = [
        name_at(base + draw(segments) * size, draw(timelines), size) + draw(suffixes)
        for _ in range(draw(st.integers(0, 40)))
    ]
    return view_of(*backups, keep=keep, corrupt=corrupt), gone, [*archived, "00000002.history", "foreign"], size


def oracle(view: CatalogView, gone: list[BackupInfo], archived: list[str], size: int) -> set[str]:
    """Byte ranges by timeline, no names compared."""

    def span(name: str) -> tuple[int, int]:
        start = (int(name[8:16], 16) << 32) + int(name[16:24], 16) * size
        return start, start + size

    left = [info for info in view.backups.values() if info not in gone or info.backup_id in view.keep]
    left = [info for info in left if info.status != "FAILED" or info.backup_id in view.keep]
    if view.corrupt or any(info.begin_wal is None and info.status != "FAILED" for info in left):
        return set()
    left = [info for info in left if info.begin_wal is not None]
    protected: list[tuple[int, int, float]] = []  # timeline, first byte, end
    endless = False
    for info in left:
        assert info.begin_wal
        assert info.end_wal
        first = span(info.begin_wal)[0]
        timeline = int(info.begin_wal[:8], 16)
        if view.keep.get(info.backup_id) == "standalone":
            protected.append((timeline, first, span(info.end_wal)[1]))
        else:
            endless = True
            protected += [(t, first, float("inf")) for t in range(timeline, 10)]
    if not endless:
        begins = [info.begin_wal for info in gone if info.backup_id not in view.keep and info.begin_wal]
        if not begins:
            return set()
        protected += [(t, span(begin)[0], float("inf")) for begin in begins for t in range(int(begin[:8], 16), 10)]
    return {
        name
        for name in archived
        if len(name) >= 24
        and not any(
            int(name[:8], 16) == timeline and span(name)[0] < end and span(name)[1] > first
            for timeline, first, end in protected
        )
    }


@settings(max_examples=100, deadline=None)
@given(catalogs())
def test_it_removes_exactly_what_nothing_needs(case: tuple[CatalogView, list[BackupInfo], list[str], int]) -> None:
    view, gone, archived, size = case
    needs = gather_needs(view, [info.backup_id for info in gone])
    free = plan_expiry(archived, needs)
    assert set(free) == oracle(view, gone, archived, size)
    for name in free:
        sure = needs.first_sure(int(name[:8], 16))
        assert sure is None or name < sure


def test_removal_takes_files_and_lines_and_can_be_repeated(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path))
    catalog = Catalog(archive.layout)
    label = segment_name(10) + ".00000028.backup"
    names = [*map(segment_name, range(5, 25)), label]
    for name in names:
        archive.put(name)
    catalog.xlogdb.rebuild()
    archive.put(segment_name(6) + ".partial")  # in the directory, not in the index
    os.unlink(archive.layout.wal_path(segment_name(7)))  # in the index, not in the directory
    reporter = MemoryReporter()
    removed = remove_unneeded_wals(catalog, view_of(A, B), [A.backup_id], reporter)
    expected = sorted([*map(segment_name, range(5, 20)), label, segment_name(6) + ".partial"])
    assert removed == expected
    assert reporter.texts("info") == ["Delete associated WAL segments:", *(f"\t{name}" for name in expected)]
    assert archive.wals.list_names() == [segment_name(number) for number in range(20, 25)]
    assert [file.name for file in archive.xlogdb.scan()] == [segment_name(number) for number in range(20, 25)]
    assert remove_unneeded_wals(catalog, view_of(A, B), [A.backup_id], reporter) == []


def test_a_removal_that_is_not_allowed_says_why(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path))
    archive.put(segment_name(1))
    reporter = MemoryReporter()
    view = view_of(A, B, corrupt=("20260101T000007",))
    assert remove_unneeded_wals(Catalog(archive.layout), view, [A.backup_id], reporter) == []
    assert "20260101T000007" in reporter.texts("debug")[0]
    assert archive.wals.exists(segment_name(1))
