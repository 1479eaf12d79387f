"""The WAL archive directory."""

import gzip
import os
from pathlib import Path

import pytest

from barman.catalog.wal_store import StoredWal
from barman.errors import BarmanError, CatalogError, CorruptRecord, InvalidWalName
from barman.postgres.lsn import Lsn
from tests.support.wal_archive import Archive, segment_name


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path))


def test_a_file_is_found_whatever_the_index_says(archive: Archive) -> None:
    path = archive.put(segment_name(1), b"12345", 1700000000.5)
    assert archive.wals.find(segment_name(1)) == StoredWal(segment_name(1), path, 5, 1700000000.5)
    assert archive.wals.exists(segment_name(1))
    assert archive.wals.find(segment_name(2)) is None
    assert not archive.wals.exists("00000002.history")


@pytest.mark.parametrize("name", ["../main-xlog.db", "", "x", segment_name(1) + "/..", segment_name(1) + "\n"])
def test_only_names_of_wal_files_become_paths(archive: Archive, name: str) -> None:
    with pytest.raises(InvalidWalName):
        archive.wals.find(name)
    with pytest.raises(InvalidWalName):
        archive.wals.remove([name])


def test_a_directory_under_the_name_of_a_segment_is_no_segment(archive: Archive) -> None:
    os.makedirs(archive.layout.wal_path(segment_name(1)))
    assert archive.wals.find(segment_name(1)) is None
    assert not archive.wals.exists(segment_name(1))


def test_names_come_in_order_and_within_bounds(archive: Archive) -> None:
    label = segment_name(2) + ".00000028.backup"
    everything = [
        segment_name(1),
        segment_name(2),
        label,
        segment_name(255),
        segment_name(256),
        "00000002.history",
        segment_name(256, 2),
    ]
    for name in reversed(everything):
        archive.put(name)
    Path(archive.layout.wals_directory, segment_name(1)[:16], "stray").touch()
    assert archive.wals.list_names() == everything
    assert archive.wals.list_names(2) == everything[5:]
    assert list(archive.wals.names(segment_name(2), label)) == everything[1:3]
    assert list(archive.wals.names(segment_name(2), segment_name(2))) == everything[1:2]
    assert list(archive.wals.names(segment_name(256))) == everything[4:]
    assert list(archive.wals.names(last=segment_name(255))) == everything[:4]
    assert list(archive.wals.names(segment_name(0, 2))) == everything[6:]


def test_the_newest_segment_of_a_timeline_is_a_complete_one(archive: Archive) -> None:
    archive.put(segment_name(7))
    archive.put(segment_name(6))
    archive.put(segment_name(600) + ".partial")
    archive.put(segment_name(3, 2))
    assert archive.wals.newest_segment(1) == segment_name(7)
    assert archive.wals.newest_segment(2) == segment_name(3, 2)
    assert archive.wals.newest_segment(3) is None


def test_timelines_are_told_by_segments_and_history_files(archive: Archive) -> None:
    archive.put(segment_name(7))
    archive.put("00000004.history", b"1\t0/3000000\twhy\n")
    os.makedirs(os.path.join(archive.layout.wals_directory, "0000000900000000"))
    assert archive.wals.timelines() == [1, 4]
    assert archive.wals.history_timelines() == [4]


def test_a_history_is_read_through_its_compression(archive: Archive) -> None:
    archive.put("00000003.history", gzip.compress(b"1\t0/3000000\tx\n\n2\t0/5000060\tbefore 2000-01-01\n"))
    history = archive.wals.history(3)
    assert history is not None
    assert [(switch.parent, switch.lsn) for switch in history.switches] == [
        (1, Lsn.parse("0/3000000")),
        (2, Lsn.parse("0/5000060")),
    ]


def test_timeline_one_needs_no_history_file(archive: Archive) -> None:
    history = archive.wals.history(1)
    assert history is not None
    assert history.switches == ()
    assert archive.wals.history(2) is None


def test_a_broken_history_is_an_error(archive: Archive) -> None:
    archive.put("00000002.history", b"")
    archive.put("00000003.history", b"\x85\x01\x8c\x03" + b"\x99" * 300)
    archive.put("00000004.history", b"#" * (2 << 20))
    archive.put("00000005.history", gzip.compress(b"#")[:-4])
    with pytest.raises(CorruptRecord):
        archive.wals.history(2)
    for timeline in (3, 4):
        with pytest.raises(CatalogError):
            archive.wals.history(timeline)
    with pytest.raises(BarmanError):
        archive.wals.history(5)


def test_removal_takes_the_named_files_and_directories_that_became_empty(archive: Archive) -> None:
    for number in (1, 2, 256, 257):
        archive.put(segment_name(number))
    label = segment_name(1) + ".00000028.backup"
    archive.put(label)
    foreign = Path(archive.put(segment_name(600))).parent / "foreign"
    foreign.touch()
    archive.wals.remove({segment_name(1), segment_name(2), segment_name(256), segment_name(600), segment_name(900)})
    assert archive.wals.list_names() == [label, segment_name(257)]
    assert foreign.exists()
    archive.wals.remove([label, "00000009.history"])
    assert not os.path.exists(os.path.dirname(archive.layout.wal_path(label)))
    assert os.path.isdir(archive.layout.wals_directory)


def test_a_directory_of_256_removed_names_keeps_its_other_segments(archive: Archive) -> None:
    names = [segment_name(number) for number in range(256)]
    labels = [name + ".00000028.backup" for name in names[:10]]
    for name in names + labels:
        archive.put(name)
    archive.wals.remove(names[:248] + labels)
    assert archive.wals.list_names() == names[248:]
