"""Giving WAL out."""

import bz2
import gzip
import io
import os
from pathlib import Path

import pytest

from barman.errors import InvalidWalName, WalError, WalNotFound
from barman.wal.get_wal import Delivery, UnusableArchive, WalSource, list_available, send_series, send_wal
from tests.support.wal_archive import Archive
from tests.support.wal_builder import MB, segment_bytes, write_segment

NAME = "000000010000000000000005"


def named(number: int) -> str:
    return f"0000000100000000{number:08X}"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path))


def source_of(archive: Archive) -> WalSource:
    return WalSource("main", archive.layout, archive.wals)


def fetch(archive: Archive, name: str = NAME, delivery: Delivery | None = None) -> bytes:
    sink = io.BytesIO()
    send_wal(source_of(archive), name, delivery or Delivery(), lambda _path: sink)
    return sink.getvalue()


def fail(archive: Archive, name: str = NAME, delivery: Delivery | None = None) -> str:
    """The message of an archive that cannot be used; nothing was sent."""
    opened: list[str] = []

    def sink(path: str) -> io.BytesIO:
        opened.append(path)
        return io.BytesIO()

    with pytest.raises(UnusableArchive) as caught:
        send_wal(source_of(archive), name, delivery or Delivery(), sink)
    assert opened == []
    assert caught.value.exit_code == 4
    return caught.value.message


def queue(archive: Archive, directory: str, name: str, content: bytes) -> None:
    Path(getattr(archive.layout, directory + "_directory"), name).write_bytes(content)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_a_segment_is_sent_in_plain_bytes(archive: Archive, pack: type[bytes]) -> None:
    content = segment_bytes(NAME, fill=os.urandom(1000))
    archive.put(NAME, pack(content))
    assert fetch(archive) == content


def test_a_segment_may_be_sent_compressed_or_as_it_is_stored(archive: Archive) -> None:
    content = segment_bytes(NAME)
    stored = gzip.compress(content, mtime=1)
    archive.put(NAME, stored)
    assert fetch(archive, delivery=Delivery(as_stored=True)) == stored
    assert fetch(archive, delivery=Delivery("gzip")) == stored
    assert bz2.decompress(fetch(archive, delivery=Delivery("bzip2"))) == content
    archive.put(NAME, content)
    assert gzip.decompress(fetch(archive, delivery=Delivery("gzip"))) == content


def test_a_large_compressed_segment_is_streamed(archive: Archive) -> None:
    content = segment_bytes(NAME, segment_size=64 * MB)
    archive.put(NAME, gzip.compress(content, 1))
    assert fetch(archive) == content


def test_the_archive_comes_first_then_incoming_then_streaming(archive: Archive) -> None:
    contents = [segment_bytes(NAME, fill=bytes([number]) * 9) for number in range(3)]
    queue(archive, "streaming", NAME, contents[2])
    assert fetch(archive) == contents[2]
    queue(archive, "incoming", NAME, contents[1])
    assert fetch(archive) == contents[1]
    archive.put(NAME, contents[0])
    assert fetch(archive) == contents[0]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_archived_partial_is_decoded(archive: Archive, pack: type[bytes]) -> None:
    content = segment_bytes(NAME, fill=b"unfinished")
    archive.put(NAME + ".partial", pack(content))
    with pytest.raises(WalNotFound):
        fetch(archive)
    assert fetch(archive, delivery=Delivery(partial=True)) == content
    assert fetch(archive, NAME + ".partial") == content


def test_the_partial_that_is_being_received_is_preferred_to_an_archived_one(archive: Archive) -> None:
    archive.put(NAME + ".partial", segment_bytes(NAME, fill=b"old"))
    queue(archive, "streaming", NAME + ".partial", segment_bytes(NAME, fill=b"new"))
    assert fetch(archive, delivery=Delivery(partial=True)) == segment_bytes(NAME, fill=b"new")


def test_a_partial_without_wal_is_no_answer(archive: Archive) -> None:
    queue(archive, "streaming", NAME + ".partial", bytes(MB))
    with pytest.raises(WalNotFound):
        fetch(archive, delivery=Delivery(partial=True))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (segment_bytes(NAME)[:5000], "size is 5000"),
        (segment_bytes(named(6)), "position"),
        (gzip.compress(b"\x01\x01" + os.urandom(5000) + segment_bytes(NAME)), "magic"),
        (gzip.compress(segment_bytes(NAME) + b"x"), "size is 1048577"),
        (gzip.compress(segment_bytes(NAME, fill=os.urandom(9999)))[:-500], "gzip"),
        (b"\x85\x01\x8c\x03" + b"\x99" * 300, "encrypted"),
        (bytes(MB), "zeros"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_not_sent(archive: Archive, content: bytes, reason: str) -> None:
    archive.put(NAME, content)
    assert reason in fail(archive)


def test_a_damaged_file_in_the_archive_is_replaced_by_a_sound_one_in_a_queue(archive: Archive) -> None:
    archive.put(NAME, b"damaged")
    queue(archive, "incoming", NAME, segment_bytes(NAME))
    assert fetch(archive) == segment_bytes(NAME)


def test_what_is_nowhere_is_not_found(archive: Archive) -> None:
    for number in (3, 4):
        write_segment(os.path.dirname(archive.layout.wal_path(NAME)), named(number), segment_size=MB)
    with pytest.raises(WalNotFound, match=f"WAL file '{NAME}' not found in server 'main'"):
        fetch(archive)
    with pytest.raises(WalNotFound):
        fetch(archive, "00000002.history")


def test_a_hole_is_told_from_the_end_of_the_wal(archive: Archive) -> None:
    write_segment(os.path.dirname(archive.layout.wal_path(NAME)), named(6), segment_size=MB)
    assert "later" in fail(archive)


@pytest.mark.parametrize("name", ["", "x", "../" + NAME, NAME + ".gz", NAME + "\n", NAME + "/."])
def test_only_names_of_wal_files_are_looked_for(archive: Archive, name: str) -> None:
    with pytest.raises(InvalidWalName) as caught:
        fetch(archive, name)
    assert caught.value.exit_code == 3


def test_histories_and_labels_are_sent_as_they_are(archive: Archive) -> None:
    archive.put("00000002.history", gzip.compress(b"1\t0/5000000\twhy\n"))
    archive.put(NAME + ".00000028.backup", b"START WAL LOCATION\n")
    assert fetch(archive, "00000002.history") == b"1\t0/5000000\twhy\n"
    assert fetch(archive, NAME + ".00000028.backup") == b"START WAL LOCATION\n"


def test_peeking_lists_consecutive_names_wherever_they_are(archive: Archive) -> None:
    directory = os.path.dirname(archive.layout.wal_path(NAME))
    for number in (0xFFE, 0xFFF):
        write_segment(directory, named(number), segment_size=MB)
    for number in (0, 1):
        write_segment(archive.layout.incoming_directory, f"0000000100000001{number:08X}", segment_size=MB)
    write_segment(archive.layout.streaming_directory, "000000010000000100000003", segment_size=MB)
    expected = [named(0xFFE), named(0xFFF), "000000010000000100000000", "000000010000000100000001"]
    assert list_available(source_of(archive), named(0xFFE), 10) == expected
    assert list_available(source_of(archive), named(0xFFE), 3) == expected[:3]
    assert list_available(source_of(archive), named(1), 3) == []
    archive.put("00000002.history", b"1\t0/5000000\twhy\n")
    assert list_available(source_of(archive), "00000002.history", 3) == ["00000002.history"]
    assert list_available(source_of(archive), "00000003.history", 3) == []


def series(archive: Archive, name: str, following: int, delivery: Delivery | None = None) -> list[tuple[str, bytes]]:
    """What a series brings: each file whole between its two lines, and nothing else."""
    sink, files = io.BytesIO(), []
    send_series(source_of(archive), name, following, delivery or Delivery(), sink)
    sink.seek(0)
    while line := sink.readline():
        mark, sent, size = line.decode().split()
        assert mark == "barman-wal"
        files.append((sent, sink.read(int(size))))
        assert sink.readline() == b"barman-wal end\n"
    return files


def test_a_series_is_what_follows_without_a_gap_wherever_it_is(archive: Archive) -> None:
    archive.put(named(5), gzip.compress(segment_bytes(named(5))))
    archive.put(named(6), segment_bytes(named(6)))
    queue(archive, "incoming", named(7), segment_bytes(named(7)))
    archive.put(named(9), segment_bytes(named(9)))
    expected = [(named(number), segment_bytes(named(number))) for number in (5, 6, 7)]
    assert series(archive, named(5), 100) == expected
    assert series(archive, named(5), 1) == expected[:2]
    assert series(archive, named(6), 0) == expected[1:2]
    stored = series(archive, named(5), 0, Delivery(as_stored=True))
    assert gzip.decompress(stored[0][1]) == segment_bytes(named(5))


def test_a_series_ends_before_an_unsound_file_and_misses_only_its_first(archive: Archive) -> None:
    for number in (5, 6):
        archive.put(named(number), segment_bytes(named(number)))
    archive.put(named(7), segment_bytes(named(7))[:1000])
    archive.put(named(8), segment_bytes(named(8)))
    assert [name for name, _ in series(archive, named(5), 100)] == [named(5), named(6)]
    with pytest.raises(UnusableArchive):
        series(archive, named(7), 100)
    with pytest.raises(WalNotFound):
        series(archive, named(9), 100)
    with pytest.raises(WalError, match="no WAL segment"):
        series(archive, "00000002.history", 1)
