"""The index of the WAL archive."""

import gzip
import os
import threading
import tracemalloc
from pathlib import Path

import pytest

from barman.catalog.wal_file import WalFile
from barman.catalog.xlogdb import IndexProblems, RebuildResult, XlogDb
from barman.report import MemoryReporter
from barman.values import replace
from tests.support.wal_archive import Archive, segment_name


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path))


def wal(number: int, size: int = 16) -> WalFile:
    return WalFile(segment_name(number), size, 1700000000.0 + number)


def test_a_group_of_lines_is_appended_in_order(archive: Archive) -> None:
    archive.write_index(wal(1).line())
    archive.xlogdb.append([wal(2), wal(3)])
    assert list(archive.xlogdb.scan()) == [wal(1), wal(2), wal(3)]


def test_an_append_cuts_the_torn_line_of_a_crashed_writer(archive: Archive) -> None:
    archive.write_index(wal(1).line() + wal(2).line()[:30])
    archive.xlogdb.append([wal(3)])
    assert archive.index_text() == wal(1).line() + wal(3).line()


def test_appending_to_a_missing_index_lists_the_archive_and_no_file_twice(archive: Archive) -> None:
    archive.put(segment_name(1), b"12345")
    archive.put(segment_name(2), b"123")
    archive.xlogdb.append([WalFile(segment_name(2), 3, 5.0, "pigz")])
    assert list(archive.xlogdb.scan()) == [
        WalFile(segment_name(1), 5, 1700000000.25),
        WalFile(segment_name(2), 3, 5.0, "pigz"),
    ]


def test_a_scan_counts_what_is_no_line_and_goes_on(archive: Archive) -> None:
    archive.write_index(wal(2).line() + b"\nrubbish here\n" + wal(1).line() + wal(2).line() + b"0000000100")
    problems = IndexProblems()
    assert list(archive.xlogdb.scan(problems)) == [wal(2), wal(1), wal(2)]
    assert (problems.blank, problems.garbage, problems.torn, problems.any) == (1, 1, True, True)
    assert problems.first_garbage == b"rubbish here"


def test_a_line_without_end_costs_neither_memory_nor_the_lines_around_it(archive: Archive) -> None:
    zeros = bytes(20 << 20)
    archive.write_index(wal(1).line() + zeros + b"\n" + wal(2).line() + zeros)
    problems = IndexProblems()
    tracemalloc.start()
    assert list(archive.xlogdb.scan(problems)) == [wal(1), wal(2)]
    assert archive.xlogdb.remove([wal(1).name]) == 1
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert (problems.garbage, problems.torn) == (1, True)
    assert archive.index_text() == wal(2).line()


def test_a_missing_index_has_no_lines(archive: Archive) -> None:
    assert list(archive.xlogdb.scan()) == []
    assert archive.xlogdb.remove([segment_name(1)]) == 0


def test_a_scan_does_not_see_what_is_appended_after_its_start(archive: Archive) -> None:
    archive.write_index(wal(1).line() + wal(2).line())
    scan = archive.xlogdb.scan()
    assert next(scan) == wal(1)
    archive.xlogdb.append([wal(3)])
    assert list(scan) == [wal(2)]


def test_removed_names_lose_every_line_and_readers_keep_the_old_file(archive: Archive) -> None:
    archive.write_index(b"".join(wal(number).line() for number in (1, 2, 3, 2, 4)))
    with open(archive.layout.xlogdb, "rb") as old:
        assert archive.xlogdb.remove({segment_name(2), segment_name(4), segment_name(9)}) == 3
        assert len(old.read().splitlines()) == 5
    assert list(archive.xlogdb.scan()) == [wal(1), wal(3)]


def test_removing_nothing_leaves_the_file_alone(archive: Archive) -> None:
    archive.write_index(wal(1).line() + b"rubbish\n")
    before = os.stat(archive.layout.xlogdb)
    assert archive.xlogdb.remove([segment_name(5)]) == 0
    after = os.stat(archive.layout.xlogdb)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_removal_drops_garbage_and_brings_old_lines_to_five_columns(archive: Archive) -> None:
    old = f"{segment_name(2)}\t7\t5.0\tgzip\n".encode()
    archive.write_index(wal(1).line() + b"\n" + old + b"rubbish\n" + wal(3).line() + b"torn")
    assert archive.xlogdb.remove([segment_name(1)]) == 1
    assert archive.index_text() == WalFile(segment_name(2), 7, 5.0, "gzip").line() + wal(3).line()


def test_the_index_is_larger_than_one_chunk(archive: Archive) -> None:
    archive.write_index(b"".join(wal(number).line() for number in range(40000)))
    assert archive.xlogdb.remove({segment_name(number) for number in range(0, 40000, 2)}) == 20000
    assert [file.name for file in archive.xlogdb.scan()] == [segment_name(number) for number in range(1, 40000, 2)]


def test_a_rebuild_lists_everything_in_the_order_of_names(archive: Archive) -> None:
    label = segment_name(3) + ".00000028.backup"
    partial = segment_name(9) + ".partial"
    archive.put("00000002.history", b"1\t0/3000000\tno recovery target specified\n")
    archive.put(segment_name(300))
    archive.put(segment_name(4, timeline=2), gzip.compress(b"wal"))
    archive.put(segment_name(3))
    archive.put(label)
    archive.put(partial, b"\x28\xb5\x2f\xfd....")
    archive.write_index(b"nothing of this is true\n")
    result = archive.xlogdb.rebuild(MemoryReporter())
    assert result == RebuildResult("main", history=1, backup_labels=1, wal_file=3, partial=1)
    found = list(archive.xlogdb.scan())
    assert [file.name for file in found] == [
        segment_name(3),
        label,
        partial,
        segment_name(300),
        "00000002.history",
        segment_name(4, timeline=2),
    ]
    assert {file.name: file.compression for file in found if file.compression} == {
        partial: "zstd",
        segment_name(4, timeline=2): "gzip",
    }
    assert found[0] == WalFile(segment_name(3), 3, 1700000000.25)


def test_a_rebuild_names_what_does_not_belong_there(archive: Archive) -> None:
    path = archive.put(segment_name(1))
    directory = os.path.dirname(path)
    for stray in ("notes.txt", segment_name(700), segment_name(1) + ".compressed"):
        Path(directory, stray).write_bytes(b"x")
    Path(archive.layout.wals_directory, "README").write_bytes(b"x")
    Path(archive.layout.sync_wals_info).write_bytes(b"x")
    Path(directory, f".{segment_name(2)}.999999.tmp").write_bytes(b"x")
    reporter = MemoryReporter()
    assert archive.xlogdb.rebuild(reporter).wal_file == 1
    warned = "\n".join(reporter.texts("warning"))
    for stray in ("notes.txt", segment_name(700), ".compressed", "README"):
        assert stray in warned
    assert len(reporter.lines) == 4


def test_an_encrypted_file_is_recognised_without_other_programs(archive: Archive) -> None:
    archive.put(segment_name(1), b"\x85\x01\x8c\x03" + b"\x99" * 300)
    archive.put(segment_name(2), b"\x8c\x0d\x04\x09" + b"\x99" * 300)
    archive.put(segment_name(3), b"\x18\xd1\x07\x00" + b"\x01" * 300)
    archive.xlogdb.rebuild()
    assert [(file.compression, file.encryption) for file in archive.xlogdb.scan()] == [
        (None, "gpg"),
        (None, "gpg"),
        (None, None),
    ]


def test_the_first_use_builds_a_missing_index_and_retires_the_old_one(archive: Archive) -> None:
    archive.put(segment_name(1))
    Path(archive.layout.legacy_xlogdb).write_bytes(b"old")
    assert archive.xlogdb.ensure() is True
    assert archive.xlogdb.ensure() is False
    assert [file.name for file in archive.xlogdb.scan()] == [segment_name(1)]
    assert os.path.islink(archive.layout.legacy_xlogdb)


def test_the_old_name_leads_to_the_index_for_scripts_that_read_it(archive: Archive) -> None:
    archive.write_index(wal(1).line())
    archive.xlogdb.append([wal(2)])
    assert os.readlink(archive.layout.legacy_xlogdb) == "main-xlog.db"
    assert archive.xlogdb.remove([wal(1).name]) == 1
    assert Path(archive.layout.legacy_xlogdb).read_bytes() == wal(2).line()
    Path(archive.layout.xlogdb).unlink()
    archive.put(segment_name(2))
    assert archive.xlogdb.ensure() is True
    assert Path(archive.layout.legacy_xlogdb).read_bytes() == archive.index_text()


def test_the_old_name_leads_to_an_index_in_another_directory(archive: Archive, tmp_path: Path) -> None:
    elsewhere = replace(archive.layout, xlogdb_directory=str(tmp_path / "elsewhere"))
    os.mkdir(elsewhere.xlogdb_directory)
    XlogDb(elsewhere, archive.locks).append([wal(1)])
    assert os.path.samefile(elsewhere.legacy_xlogdb, elsewhere.xlogdb)


def test_an_empty_index_over_a_full_archive_is_rebuilt(archive: Archive) -> None:
    archive.put(segment_name(1))
    archive.write_index(b"")
    assert archive.xlogdb.ensure() is True
    assert [file.name for file in archive.xlogdb.scan()] == [segment_name(1)]


def test_an_empty_archive_keeps_its_empty_index(archive: Archive) -> None:
    assert archive.xlogdb.ensure() is True
    assert archive.xlogdb.ensure() is False


def test_writers_wait_for_each_other(archive: Archive) -> None:
    archive.write_index(b"")

    def append(start: int) -> None:
        for number in range(start, start + 20):
            archive.xlogdb.append([wal(number)])

    threads = [threading.Thread(target=append, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    problems = IndexProblems()
    assert len(list(archive.xlogdb.scan(problems))) == 60
    assert not problems.any
