"""Holes, and how far a recovery gets."""

from hypothesis import given
from hypothesis import strategies as st

from barman.postgres.lsn import Lsn
from barman.postgres.timeline import Switch, TimelineHistory
from barman.postgres.wal_name import WalSegment
from barman.wal.gaps import find_holes, find_runs, find_window

SIZE = 1 << 24


def seg(number: int, timeline: int = 1, size: int = SIZE) -> WalSegment:
    return WalSegment.numbered(number, timeline, size)


def names(numbers: list[int], timeline: int = 1) -> list[str]:
    return [seg(number, timeline).name for number in numbers]


def reach(begin: int, history: TimelineHistory, archived: list[str], timeline: int = 1) -> str | None:
    window = find_window(seg(begin, timeline), history, find_runs(archived, SIZE), SIZE)
    return window.last.name if window else None


@given(st.sampled_from([1 << 20, SIZE, 1 << 30]), st.sets(st.integers(0, 300)))
def test_holes_and_runs_together_are_the_whole_range(size: int, numbers: set[int]) -> None:
    archived = [seg(number, 1, size).name for number in numbers]
    missing = set()
    for hole in find_holes([*archived, "00000001.history", archived[0] + ".partial"] if archived else [], size).get(
        1, []
    ):
        span = range(hole.first.number(size), hole.last.number(size) + 1)
        assert len(span) == hole.count
        missing |= set(span)
    expected = set(range(min(numbers), max(numbers) + 1)) - numbers if numbers else set()
    assert missing == expected


def test_timelines_have_their_own_holes() -> None:
    archived = [*names([1, 2, 3]), *names([7, 9], 2)]
    assert list(find_holes(archived, SIZE)) == [2]


def test_a_recovery_ends_at_the_first_hole() -> None:
    assert reach(2, TimelineHistory(1), names([1, 2, 3, 5])) == seg(3).name
    assert reach(4, TimelineHistory(1), names([1, 2, 3, 5])) is None


def test_a_recovery_crosses_a_switch_to_the_timeline_it_follows() -> None:
    history = TimelineHistory(2, (Switch(1, Lsn(5 * SIZE + 100)),))
    archived = [*names([2, 3, 4, 5, 6]), *names([5, 6, 7], 2)]
    assert reach(2, history, archived) == seg(7, 2).name
    assert reach(2, TimelineHistory(1), archived) == seg(6).name
    # Without the parent's copy of the switch segment the child's serves.
    assert reach(2, history, [*names([2, 3, 4]), *names([5, 6], 2)]) == seg(6, 2).name
    # With a hole before the switch nothing after it can be reached.
    assert reach(2, history, [*names([2, 3]), *names([5, 6], 2)]) == seg(3).name
    # The parent goes on after the switch: that is another history.
    assert reach(2, history, names([2, 3, 4, 5, 6, 7])) == seg(5).name


def test_a_timeline_that_does_not_descend_from_the_backup_is_out_of_reach() -> None:
    history = TimelineHistory(3, (Switch(1, Lsn(5 * SIZE)),))
    assert reach(6, history, names([6, 7], 2), timeline=2) is None
    assert reach(6, history, [*names([6, 7]), *names([6, 7], 3)]) is None
