"""Rules of `check-wal-archive` and `check-archived-wal-range`, and how their results look."""

import pytest

from barman.catalog.xlogdb import RebuildResult
from barman.errors import WalError
from barman.output.views.wals import RebuildResultView, WalArchiveCheckView, WalRangeCheckView
from barman.wal.usable import WalArchiveCheck, WalRangeCheck, judge_archive, judge_range

FIRST, SECOND, THIRD = (f"00000001000000000000000{number}" for number in (1, 2, 3))


def test_an_archive_must_be_empty_or_hold_older_timelines_only() -> None:
    assert judge_archive([], None) is None
    assert judge_archive([FIRST], None) == "Expected empty archive"
    assert judge_archive([FIRST], 2) is None
    files = [FIRST, "00000002.history", "000000020000000000000003.partial", "000000030000000000000003"]
    assert judge_archive(files, 3) == "Found 1 file in WAL archive equal to or newer than timeline 3"
    assert judge_archive(files, 2) == "Found 3 files in WAL archive equal to or newer than timeline 2"


def test_missing_segments_of_a_range_are_named() -> None:
    result = judge_range("main", FIRST, THIRD, 1 << 24, {FIRST, THIRD})
    assert result == WalRangeCheck("main", FIRST, THIRD, (SECOND,))
    lower = judge_range("main", FIRST.lower(), "00000001000000000000000a", 1 << 24, set())
    assert lower.missing_wals is not None
    assert lower.missing_wals[-1] == "00000001000000000000000A"


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (FIRST + ".partial", THIRD),
        (FIRST, "00000002.history"),
        ("a/b", THIRD),
        (THIRD, FIRST),
        (FIRST, "000000020000000000000003"),
    ],
)
def test_other_ranges_are_refused_with_exit_code_one(begin: str, end: str) -> None:
    with pytest.raises(WalError) as caught:
        judge_range("main", begin, end, 1 << 24, set())
    assert caught.value.exit_code == 1


def test_the_range_view_is_that_of_the_reference() -> None:
    lines: list[str] = []
    WalRangeCheckView.console(WalRangeCheck("main", FIRST, THIRD, (SECOND,)), lines.append)
    assert lines == ["Server main:", "\tWAL sequence check for server main: 1 missing segment(s):", f"\t\t{SECOND}"]
    lines.clear()
    WalRangeCheckView.console(WalRangeCheck("main", FIRST, THIRD), lines.append)
    assert lines == ["Server main:", "\tWAL sequence check for server main: all segments are present"]
    assert WalRangeCheckView.json(WalRangeCheck("main", FIRST, THIRD)) == {
        "main": {"begin_wal": FIRST, "end_wal": THIRD, "missing_wals": []}
    }
    lines.clear()
    unknown = WalRangeCheck("main", FIRST, THIRD, None)
    WalRangeCheckView.console(unknown, lines.append)
    assert lines == ["Server main:"]
    assert WalRangeCheckView.json(unknown) == {"main": {"begin_wal": FIRST, "end_wal": THIRD}}


def test_the_archive_view_is_that_of_the_reference() -> None:
    lines: list[str] = []
    WalArchiveCheckView.console(WalArchiveCheck("main"), lines.append)
    assert lines == ["Server main:", " - WAL archive check for server main passed"]
    assert WalArchiveCheckView.json(WalArchiveCheck("main")) == {"main": "WAL archive check for server main passed"}
    lines.clear()
    failed = WalArchiveCheck("main", "Expected empty archive")
    WalArchiveCheckView.console(failed, lines.append)
    assert lines == ["Server main:"]
    assert WalArchiveCheckView.json(failed) == {"main": {}}


def test_a_rebuild_ends_with_its_counts() -> None:
    lines: list[str] = []
    result = RebuildResult("main", 1, 2, 3, 4)
    RebuildResultView.console(result, lines.append)
    assert lines == ["Done rebuilding xlogdb for server main (history: 1, backup_labels: 2, wal_file: 3)"]
    assert RebuildResultView.json(result) == {"_INFO": lines}
