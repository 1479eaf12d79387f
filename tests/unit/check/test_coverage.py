"""Holes in the WAL between a backup and now."""

from barman.check.coverage import Stretch, holes, path_from
from barman.postgres.lsn import Lsn
from barman.postgres.timeline import Switch, TimelineHistory
from barman.postgres.wal_name import WalSegment

SIZE = 16 * 1024 * 1024


def segment(number, timeline=1):
    return WalSegment.numbered(number, timeline, SIZE)


def names(*numbers, timeline=1):
    return [segment(number, timeline).name for number in numbers]


def test_an_unbroken_row_of_segments_has_no_hole():
    assert holes([Stretch(segment(4), None)], {1: names(4, 5, 6)}, SIZE) == []


def test_segments_before_the_backup_are_not_looked_at():
    assert holes([Stretch(segment(4), None)], {1: names(1, 4, 5)}, SIZE) == []


def test_a_hole_is_named_by_its_ends_and_its_length():
    found = holes([Stretch(segment(4), None)], {1: names(4, 8, 9)}, SIZE)
    assert [str(hole) for hole in found] == [f"{segment(5).name} to {segment(7).name} (3 segments)"]


def test_a_missing_first_segment_is_a_hole():
    assert [str(hole) for hole in holes([Stretch(segment(4), None)], {1: names(5)}, SIZE)] == names(4)


def test_what_was_not_written_yet_is_not_missing():
    assert holes([Stretch(segment(4), None)], {}, SIZE) == []


def test_holes_are_found_across_the_border_of_a_log():
    found = holes([Stretch(segment(254), None)], {1: names(254, 257)}, SIZE)
    assert [(hole.first.name, hole.last.name) for hole in found] == [tuple(names(255, 256))]


def test_a_timeline_must_be_complete_up_to_the_switch():
    history = TimelineHistory(2, (Switch(1, Lsn(7 * SIZE + 100)),))
    path = path_from(segment(4), history, SIZE)
    assert path == [Stretch(segment(4), segment(6)), Stretch(segment(7, 2), None)]
    found = holes(path, {1: names(4, 5), 2: names(7, 8, timeline=2)}, SIZE)
    assert [hole.first.name for hole in found] == names(6)


def test_the_segment_of_the_switch_is_read_from_the_new_timeline():
    history = TimelineHistory(2, (Switch(1, Lsn(7 * SIZE + 100)),))
    path = path_from(segment(4), history, SIZE)
    assert holes(path, {1: names(4, 5, 6), 2: names(7, timeline=2)}, SIZE) == []
    found = holes(path, {1: names(4, 5, 6, 7), 2: names(8, timeline=2)}, SIZE)
    assert [hole.first.name for hole in found] == names(7, timeline=2)


def test_a_switch_in_the_first_segment_skips_the_old_timeline():
    history = TimelineHistory(2, (Switch(1, Lsn(4 * SIZE + 100)),))
    assert path_from(segment(4), history, SIZE) == [Stretch(segment(4, 2), None)]


def test_ancestors_before_the_backup_play_no_role():
    history = TimelineHistory(3, (Switch(1, Lsn(2 * SIZE)), Switch(2, Lsn(9 * SIZE))))
    path = path_from(segment(4, 2), history, SIZE)
    assert path == [Stretch(segment(4, 2), segment(8, 2)), Stretch(segment(9, 3), None)]
