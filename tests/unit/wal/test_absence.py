"""What speaks against the absence of a file."""

import shutil
from pathlib import Path

import pytest

from barman.wal.absence import why_expected
from tests.support.needs import ordinary_permissions
from tests.support.wal_archive import Archive
from tests.support.wal_builder import MB, segment_bytes

HISTORY_2 = b"1\t0/580000\tpromoted\n"


def named(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}00000000{number:08X}"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(str(tmp_path))
    for number in (2, 3):
        made.put(named(number), segment_bytes(named(number)))
    return made


def why(archive: Archive, name: str) -> str | None:
    return why_expected(archive.wals, name, lambda _path: MB)


def test_the_end_of_the_wal_is_just_the_end(archive: Archive) -> None:
    assert why(archive, named(4)) is None
    assert why(archive, "00000002.history") is None
    assert why(archive, named(2) + ".00000028.backup") is None


@pytest.mark.parametrize("queue", ["incoming", "streaming"])
@pytest.mark.parametrize("suffix", ["", ".partial"])
def test_later_wal_may_still_be_in_a_queue(archive: Archive, queue: str, suffix: str) -> None:
    path = Path(getattr(archive.layout, f"{queue}_directory"))
    (path / (named(4) + suffix)).touch()
    assert why(archive, named(4)) is None
    (path / (named(6, timeline=2) + suffix)).touch()
    assert why(archive, named(4)) is None
    (path / (named(5) + suffix)).touch()
    assert named(5) in (why(archive, named(4)) or "")


def test_a_segment_that_was_refused_is_missed(archive: Archive) -> None:
    errors = Path(archive.layout.errors_directory)
    (errors / f"{named(4)}.partial.20260101T000000Z.unknown").touch()
    (errors / f"{named(3)}.20260101T000000Z.duplicate").touch()
    assert why(archive, named(4)) is None
    (errors / f"{named(4)}.20260101T000000Z.unknown").touch()
    assert "refused" in (why(archive, named(4)) or "")


def test_a_timeline_that_another_one_left_later_has_not_ended_before(archive: Archive) -> None:
    archive.put("00000002.history", HISTORY_2)
    assert "went on until 0/580000" in (why(archive, named(4)) or "")
    # The segment of the switch has the child's name in the archive.
    assert why(archive, named(5)) is None


def test_segments_from_before_a_timeline_never_were(archive: Archive) -> None:
    archive.put("00000002.history", HISTORY_2)
    archive.put(named(7, timeline=2), segment_bytes(named(7, timeline=2)))
    assert why(archive, named(4, timeline=2)) is None
    assert "later" in (why(archive, named(5, timeline=2)) or "")


def test_a_damaged_history_proves_nothing(archive: Archive) -> None:
    archive.put("00000002.history", b"garbage\n")
    archive.put("00000003.history", b"\x1f\x8bgarbage\n")
    assert why(archive, named(4)) is None


def test_an_archive_that_cannot_be_read_has_not_been_asked(archive: Archive) -> None:
    shutil.rmtree(archive.layout.wals_directory)
    for name in (named(4), "00000002.history"):
        assert archive.layout.wals_directory in (why(archive, name) or "")


def test_a_directory_without_permission_is_told(archive: Archive) -> None:
    directory = Path(archive.layout.wal_path(named(4))).parent
    directory.chmod(0)
    try:
        with ordinary_permissions():
            assert "Permission denied" in (why(archive, named(4)) or "")
    finally:
        directory.chmod(0o700)
