import random

from barman.postgres.lsn import Lsn
from barman.postgres.timeline import Switch, TimelineHistory
from barman.postgres.wal_name import WalSegment
from barman.restore.wals import WalArchive, descendants, follow, run_ends

SIZE = 16 * 1024 * 1024


def lsn(segment, offset=0):
    return Lsn(segment * SIZE + offset)


def archive(segments, histories=(), partials=None, ends=None):
    return WalArchive(
        SIZE,
        {timeline: frozenset(numbers) for timeline, numbers in segments.items()},
        {1: TimelineHistory(1), **{history.timeline: history for history in histories}},
        partials={timeline: frozenset(numbers) for timeline, numbers in (partials or {}).items()},
        partial_ends=ends or {},
    )


def names(chain):
    return [(segment.timeline, segment.number(SIZE)) for segment in chain.found]


ONE = TimelineHistory(1)
TWO = TimelineHistory(2, (Switch(1, lsn(5, 100)),))


def test_one_timeline_is_followed_to_its_newest_segment():
    chain = follow(archive({1: {2, 3, 4}}), ONE, 3)
    assert names(chain) == [(1, 3), (1, 4)]
    assert chain.holes == ()


def test_a_hole_ends_what_is_found_and_is_counted():
    chain = follow(archive({1: {2, 3, 6, 7, 9}}), ONE, 2)
    assert names(chain) == [(1, 2), (1, 3)]
    assert [(hole.first.number(SIZE), hole.count) for hole in chain.holes] == [(4, 2), (8, 1)]
    assert chain.holes[0].before is not None
    assert chain.holes[0].before.number(SIZE) == 3


def test_a_position_beyond_the_archive_is_a_hole():
    chain = follow(archive({1: {2, 3}}), ONE, 2, until=5)
    assert [(hole.first.number(SIZE), hole.count) for hole in chain.holes] == [(4, 2)]


def test_nothing_after_a_demanded_position_is_looked_at():
    chain = follow(archive({1: {2, 3, 5, 9}}), ONE, 2, until=3)
    assert chain.holes == ()
    assert names(chain) == [(1, 2), (1, 3)]


def test_an_empty_archive_misses_the_first_segment():
    chain = follow(archive({}), ONE, 2, until=2)
    assert [(hole.first.number(SIZE), hole.before) for hole in chain.holes] == [(2, None)]


def test_a_switch_is_crossed_and_the_child_wins_its_segment():
    chain = follow(archive({1: {3, 4, 5, 6, 7}, 2: {5, 6}}, [TWO]), TWO, 3)
    assert names(chain) == [(1, 3), (1, 4), (1, 5), (2, 5), (2, 6)]
    assert chain.holes == ()


def test_the_child_missing_at_the_switch_is_a_hole_when_it_goes_on():
    chain = follow(archive({1: {3, 4, 5}, 2: {6}}, [TWO]), TWO, 3)
    assert [(hole.first.timeline, hole.first.number(SIZE)) for hole in chain.holes] == [(2, 5)]


def test_the_parents_segment_ends_the_path_when_the_child_has_none():
    chain = follow(archive({1: {3, 4, 5, 6}}, [TWO]), TWO, 3)
    assert names(chain) == [(1, 3), (1, 4), (1, 5)]
    assert chain.holes == ()


def test_a_switch_on_a_boundary_leaves_the_parent_before_it():
    history = TimelineHistory(2, (Switch(1, lsn(5)),))
    chain = follow(archive({1: {3, 4, 5}, 2: {5}}, [history]), history, 3)
    assert names(chain) == [(1, 3), (1, 4), (2, 5)]


def test_a_path_ends_with_an_unfinished_segment():
    chain = follow(archive({1: {3}}, partials={1: {4}}), ONE, 3)
    assert names(chain) == [(1, 3), (1, 4)]
    assert chain.partial == chain.last == WalSegment.numbered(4, 1, SIZE)


def test_an_unfinished_segment_in_the_middle_is_a_hole():
    for partials in ({4}, {4, 5}):
        chain = follow(archive({1: {3, 5}} if partials == {4} else {1: {3}}, partials={1: partials}), ONE, 3)
        assert names(chain) == [(1, 3)]
        assert [hole.first.number(SIZE) for hole in chain.holes] == [4]
        assert chain.partial is None


def test_an_unfinished_segment_that_does_not_follow_breaks_the_path():
    chain = follow(archive({1: {3}}, partials={1: {6}}), ONE, 3)
    assert [(hole.first.number(SIZE), hole.count) for hole in chain.holes] == [(4, 2)]
    assert follow(archive({1: {3}}, partials={1: {6}}), ONE, 3, until=3).holes == ()


def test_the_childs_unfinished_segment_is_read_instead_of_the_parents():
    chain = follow(archive({1: {3, 4}}, [TWO], partials={1: {5}, 2: {5}}), TWO, 3)
    assert names(chain) == [(1, 3), (1, 4), (2, 5)]
    whole = follow(archive({1: {3, 4}, 2: {5, 6}}, [TWO], partials={1: {5}}), TWO, 3)
    assert names(whole) == [(1, 3), (1, 4), (2, 5), (2, 6)]
    with_copy = follow(archive({1: {3, 4, 5}}, [TWO], partials={2: {5}}), TWO, 3)
    assert names(with_copy) == [(1, 3), (1, 4), (1, 5), (2, 5)]


def test_the_parents_unfinished_segment_is_read_up_to_the_switch_only():
    held = {"segments": {1: {3, 4}}, "histories": [TWO], "partials": {1: {5}}}
    segment = WalSegment.numbered(5, 1, SIZE)
    assert names(follow(archive(**held, ends={segment: lsn(5, 100)}), TWO, 3)) == [(1, 3), (1, 4), (1, 5)]
    for ends in ({}, {segment: lsn(5, 108)}):
        assert names(follow(archive(**held, ends=ends), TWO, 3)) == [(1, 3), (1, 4)]
        assert names(follow(archive(**held, ends=ends), ONE, 3)) == [(1, 3), (1, 4), (1, 5)]


def test_descendants_must_leave_after_the_end_of_the_backup():
    late = TimelineHistory(3, (Switch(1, lsn(9)),))
    stranger = TimelineHistory(4, (Switch(2, lsn(9)),))
    found = descendants(archive({}, [TWO, late, stranger]), 1, lsn(6))
    assert [history.timeline for history in found] == [1, 3]


def test_run_ends_are_the_numbers_without_successor():
    assert run_ends({1, 2, 3, 7, 9, 10}) == [3, 7, 10]


def test_found_and_holes_agree_with_a_walk_by_hand():
    chooser = random.Random(8)
    for _ in range(300):
        held = frozenset(number for number in range(2, 30) if chooser.random() < 0.8)
        until = chooser.choice([None, chooser.randrange(2, 35)])
        chain = follow(archive({1: held}), ONE, 2, until)
        end = until if until is not None else max(held, default=1)
        missing = [number for number in range(2, end + 1) if number not in held]
        assert sum(hole.count for hole in chain.holes) == len(missing)
        expected = list(range(2, missing[0] if missing else end + 1))
        assert [number for _, number in names(chain)] == expected
