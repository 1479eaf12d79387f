"""What can be recovered, against an oracle that looks at every backup and every segment one by one."""

from datetime import datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from barman.catalog.view import CatalogView
from barman.errors import CorruptRecord
from barman.postgres.lsn import Lsn
from barman.postgres.timeline import Switch, TimelineHistory
from barman.postgres.wal_name import WalSegment
from barman.postgres.wal_run import join_numbers
from barman.restore.wals import WalArchive, follow
from barman.wal.recovery_window import ArchivedWal, find_windows
from tests.support.catalog_builder import SEGMENT_SIZE, make_info

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
NOW = START + timedelta(days=1)
LAST = 24
"""No segment of these tests has a greater number."""


def moment(number):
    """When the segment of that number was written to for the last time."""
    return START + timedelta(minutes=number)


def backup(position, begin, end, **changes):
    end_time = START + timedelta(minutes=end, seconds=-30)
    return make_info(f"20261101T00{position:02d}00", begin=begin, end=end, end_time=end_time, **changes)


def view_of(*infos, **changes):
    return CatalogView({info.backup_id: info for info in infos}, server_name="main", **changes)


def archive(segments, histories=(), **changes):
    return ArchivedWal(
        segment_size=SEGMENT_SIZE,
        runs={timeline: join_numbers(numbers) for timeline, numbers in segments.items()},
        histories={1: TimelineHistory(1), **{history.timeline: history for history in histories}},
        written=lambda segment: moment(segment.number(SEGMENT_SIZE)).timestamp(),
        **changes,
    )


def windows(infos, segments, histories=(), view=None, **changes):
    return find_windows(view or view_of(*infos), [archive(segments, histories, **changes)], NOW)


def name(number, timeline=1):
    return WalSegment.numbered(number, timeline, SEGMENT_SIZE).name


# -- the oracle --------------------------------------------------------------------------------------------------------


def owner(history, number, *, last_byte):
    position = (number + 1) * SEGMENT_SIZE - 1 if last_byte else number * SEGMENT_SIZE
    return history.owner_of(Lsn(position))


def leads_on(history, segments, number):
    """Whether recovery gets through the segment: the timeline that owns its last byte has it."""
    return number in segments.get(owner(history, number, last_byte=True), ())


def ends_in(history, segments, number):
    """Whether recovery gets into the segment at all: a timeline that owns a byte of it has it."""
    owners = {history.timeline, *history.ancestors}
    possible = {
        timeline
        for timeline in owners
        if owner(history, number, last_byte=False) <= timeline <= owner(history, number, last_byte=True)
    }
    return any(number in segments.get(timeline, ()) for timeline in possible)


def recoverable(history, segments, begin, target):
    """Whether a recovery that begins in one segment gets into another: every segment between is there."""
    if target < begin:
        return False
    if all(leads_on(history, segments, number) for number in range(begin, target + 1)):
        return True
    after = any(leads_on(history, segments, number) for number in range(target, LAST + 2))
    before = all(leads_on(history, segments, number) for number in range(begin, target))
    return before and not after and ends_in(history, segments, target)


def descends(history, info):
    if info.timeline == history.timeline:
        return True
    return info.timeline in history.ancestors and history.owner_of(Lsn(info.end_xlog.value - 1)) == info.timeline


# -- catalogs and archives ---------------------------------------------------------------------------------------------

NUMBERS = st.sets(st.integers(0, LAST), max_size=LAST)
MOSTLY = st.sets(st.integers(0, LAST), max_size=4).map(lambda gone: set(range(LAST + 1)) - gone)


@st.composite
def worlds(draw):
    switches, histories, position = (), [TimelineHistory(1)], SEGMENT_SIZE
    for timeline in range(2, draw(st.integers(1, 4)) + 1):
        if draw(st.booleans()) and switches:  # a sibling: another child of the same parent
            switches = switches[:-1]
            position = switches[-1].lsn.value if switches else SEGMENT_SIZE
        parent = histories[-1].timeline if len(switches) == len(histories[-1].switches) else None
        parent = parent or (histories[-1].switches[len(switches)].parent)
        position = draw(st.integers(position, LAST * SEGMENT_SIZE).map(lambda v: v - v % (SEGMENT_SIZE // 2)))
        position = max(position, switches[-1].lsn.value if switches else 0)
        switches = (*switches, Switch(parent, Lsn(position)))
        histories.append(TimelineHistory(timeline, switches))
    segments = {history.timeline: draw(st.one_of(MOSTLY, NUMBERS)) for history in histories}
    infos = []
    for index in range(draw(st.integers(1, 5))):
        history = draw(st.sampled_from(histories))
        start = history.switches[-1].lsn.value if history.switches else SEGMENT_SIZE
        begin = draw(st.integers(start // SEGMENT_SIZE, LAST))
        end = min(LAST, begin + draw(st.integers(0, 3)))
        position = Lsn(end * SEGMENT_SIZE + SEGMENT_SIZE // 2 + 256)  # after the switch, wherever it lies
        infos.append(backup(index, begin, end, timeline=history.timeline, end_xlog=position))
    return histories, segments, infos


@settings(max_examples=400, deadline=None)
@given(worlds())
def test_a_backup_reaches_a_segment_if_and_only_if_every_segment_on_the_way_is_archived(world):
    histories, segments, infos = world
    found = windows(infos, segments, histories)
    lines = {line.timeline: line for line in found.lines}
    for history in histories:
        leading = [info for info in infos if descends(history, info)]
        assert [reach.backup_id for reach in lines[history.timeline].backups] if leading else True
        if not leading:
            assert history.timeline not in lines
            continue
        line = lines[history.timeline]
        for info, reach in zip(leading, line.backups, strict=True):
            assert reach.backup_id == info.backup_id
            begin, end = (WalSegment.parse(word).number(SEGMENT_SIZE) for word in (info.begin_wal, info.end_wal))
            for target in range(end, LAST + 2):
                expected = recoverable(history, segments, begin, target)
                reached = reach.until is not None and reach.until.number(SEGMENT_SIZE) >= target
                assert reached == expected, (history, info.backup_id, target)
            check_window(line, reach, info)
        check_gaps(line, history, segments, leading)


def check_window(line, reach, info):
    holding = [window for window in line.windows if info.backup_id in window.backup_ids]
    assert len(holding) == (1 if reach.restorable else 0)
    for window in holding:
        assert window.latest_wal == reach.until
        assert window.earliest <= info.end_time <= window.latest
        assert window.latest_lsn.value <= reach.until.end(SEGMENT_SIZE).value


def check_gaps(line, history, segments, leading):
    missing = {
        number
        for gap in line.gaps
        for number in range(gap.first.number(SEGMENT_SIZE), gap.last.number(SEGMENT_SIZE) + 1)
    }
    spans = [
        [WalSegment.parse(word).number(SEGMENT_SIZE) for word in (info.begin_wal, info.end_wal)] for info in leading
    ]
    begins = [begin for begin, _ in spans]
    strict = {n for n in range(LAST + 2) if leads_on(history, segments, n)}
    there = strict | {n for n in range(LAST + 2) if any(recoverable(history, segments, b, n) for b in begins)}
    needed = {number for begin, end in spans for number in range(begin, end + 1)}
    needed |= set(range(min(begins), max(there, default=-1) + 1))
    assert missing == needed - there
    assert sum(gap.count for gap in line.gaps) == len(missing)
    for gap in line.gaps:
        first, last = gap.first.number(SEGMENT_SIZE), gap.last.number(SEGMENT_SIZE)
        broken, stopped = [], []
        for info, (begin, end) in zip(leading, spans, strict=True):
            if any(first <= number <= last for number in range(begin, end + 1)):
                broken.append(info.backup_id)
            elif recoverable(history, segments, begin, max(first - 1, begin)) and begin < first:
                stopped.append(info.backup_id)
        assert (gap.breaks, gap.stops) == (tuple(broken), tuple(stopped))


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_what_a_window_promises_is_what_a_restore_finds(world):
    """The restore has an arithmetic of its own, made for one backup and for lists of files: both must agree."""
    histories, segments, infos = world
    held = WalArchive(SEGMENT_SIZE, segments, {history.timeline: history for history in histories})
    for line in windows(infos, segments, histories).lines:
        history = held.histories[line.timeline]
        by_id = {info.backup_id: info for info in infos}
        for reach in line.backups:
            info = by_id[reach.backup_id]
            chain = follow(held, history, WalSegment.parse(info.begin_wal).number(SEGMENT_SIZE))
            reached = -1 if chain.reached is None else chain.reached.number(SEGMENT_SIZE)
            end = WalSegment.parse(info.end_wal).number(SEGMENT_SIZE)
            assert reach.restorable == (reached >= end)
            if reach.restorable:
                assert reach.until.number(SEGMENT_SIZE) == reached


# -- what is said ------------------------------------------------------------------------------------------------------


def test_one_backup_and_its_wal_make_one_window():
    (line,) = windows([backup(1, 4, 5)], {1: {4, 5, 6, 7}}).lines
    (window,) = line.windows
    assert window.earliest == backup(1, 4, 5).end_time
    assert window.latest == moment(7)
    assert (window.latest_wal.name, str(window.latest_lsn)) == (name(7), "0/8000000")
    assert line.current
    assert line.gaps == ()


def test_the_true_rpo_is_counted_from_the_last_segment_that_can_be_replayed():
    assert windows([backup(1, 4, 5)], {1: {4, 5, 6}}).behind == (NOW - moment(6)).total_seconds()
    assert windows([backup(1, 4, 5)], {1: {4, 5, 7, 8, 9}}).behind == (NOW - moment(5)).total_seconds()


def test_a_gap_cuts_the_window_in_two_and_names_the_backups_it_stops_and_breaks():
    infos = [backup(1, 2, 3), backup(2, 5, 9), backup(3, 12, 12)]
    (line,) = windows(infos, {1: set(range(2, 15)) - {7, 8}}).lines
    first, second = line.windows
    assert first.backup_ids == ("20261101T000100",)
    assert first.latest_wal.name == name(6)
    assert second.backup_ids == ("20261101T000300",)
    assert second.latest_wal.name == name(14)
    (gap,) = line.gaps
    assert str(gap) == f"{name(7)} to {name(8)} (2 segments)"
    assert gap.stops == ("20261101T000100",)
    assert gap.breaks == ("20261101T000200",)
    reach = line.backups[1]
    assert not reach.restorable
    assert name(7) in reach.reason


def test_a_segment_that_waits_in_a_queue_is_told_from_one_that_is_lost():
    (line,) = windows([backup(1, 4, 4)], {1: {4, 7}}, waiting={WalSegment.parse(name(5))}).lines
    assert [(gap.count, gap.waiting) for gap in line.gaps] == [(2, 1)]


def test_a_backup_that_waits_for_its_wal_is_no_gap():
    (line,) = windows([backup(1, 4, 6, status="WAITING_FOR_WALS")], {1: {4, 5}}).lines
    assert (line.gaps, line.windows) == ((), ())
    assert "is not archived yet" in line.backups[0].reason
    (line,) = windows([backup(1, 4, 6)], {1: {4, 5}}).lines
    assert [str(gap) for gap in line.gaps] == [name(6)]


def test_a_standalone_backup_needs_no_wal_after_its_end():
    kept = backup(1, 2, 3)
    newer = backup(2, 8, 8)
    view = view_of(kept, newer, keep={kept.backup_id: "standalone"})
    (line,) = windows([], {1: {2, 3, 8, 9}}, view=view).lines
    assert line.gaps == ()
    assert [window.latest_wal.name for window in line.windows] == [name(3), name(9)]
    full = view_of(kept, newer, keep={kept.backup_id: "full"})
    (line,) = windows([], {1: {2, 3, 8, 9}}, view=full).lines
    assert [gap.count for gap in line.gaps] == [4]


def test_what_cannot_be_restored_whatever_wal_there_is_opens_no_window():
    orphan = backup(1, 2, 2)
    child = backup(2, 4, 4, parent_backup_id="20261031T000000")
    (line,) = windows([orphan, child], {1: set(range(2, 8))}, without_data={orphan.backup_id}).lines
    assert line.windows == ()
    assert [reach.reason for reach in line.backups] == [
        "its data are gone",
        "backup 20261101T000200 needs its parent 20261031T000000, which is not in the catalog",
    ]


def test_half_deleted_and_failed_backups_do_not_count():
    failed, going, good = backup(1, 2, 2, status="FAILED"), backup(2, 4, 4), backup(3, 6, 6)
    view = view_of(failed, going, good, deleting=frozenset([going.backup_id]))
    (line,) = windows([], {1: {6, 7}}, view=view).lines
    assert [reach.backup_id for reach in line.backups] == [good.backup_id]
    assert line.gaps == ()


def test_the_current_line_is_the_one_that_a_restore_of_the_newest_backup_follows():
    infos = [backup(1, 2, 3), backup(2, 8, 8)]
    histories = [TimelineHistory(2, (Switch(1, Lsn(5 * SEGMENT_SIZE + 100)),)),
                 TimelineHistory(3, (Switch(1, Lsn(9 * SEGMENT_SIZE + 100)),))]  # fmt: skip
    found = windows(infos, {1: set(range(2, 10)), 2: {5, 6}, 3: {9, 10, 11}}, histories)
    assert [(line.timeline, line.current) for line in found.lines] == [(1, False), (2, False), (3, True)]
    assert found.latest.latest_wal.name == name(11, 3)
    assert found.latest.backup_ids == tuple(info.backup_id for info in infos)
    # The older backup leads to timeline 2, which the newer one, taken on timeline 1 later, does not.
    assert found.lines[1].windows[0].backup_ids == (infos[0].backup_id,)
    assert found.reach_of(infos[0].backup_id).until.name == name(11, 3)


def test_without_wal_of_a_new_timeline_its_line_ends_where_the_old_one_was_left():
    history = TimelineHistory(2, (Switch(1, Lsn(6 * SEGMENT_SIZE + 100)),))
    found = windows([backup(1, 4, 4)], {1: {4, 5, 6, 7, 8}}, [history])
    assert found.latest.latest_wal.name == name(6)
    assert found.latest.latest_lsn == Lsn(6 * SEGMENT_SIZE + 100)
    assert found.lines[0].windows[-1].latest_wal.name == name(8)


def test_what_a_receiver_is_writing_is_told_apart():
    partial = {WalSegment.parse(name(6)): moment(20).timestamp(), WalSegment.parse(name(9)): 0.0}
    found = windows([backup(1, 4, 4)], {1: {4, 5}}, partials=partial)
    assert found.latest.latest == moment(5)
    assert (found.latest.partial, found.latest.partial_wal.name) == (moment(20), name(6))
    assert found.latest.newest == moment(20)
    assert found.behind == (NOW - moment(20)).total_seconds()


def test_what_is_received_counts_if_only_waiting_segments_lie_before_it():
    partial = {WalSegment.parse(name(8)): moment(20).timestamp()}
    waiting = {WalSegment.parse(name(number)) for number in (6, 7)}
    assert windows([backup(1, 4, 4)], {1: {4, 5}}, partials=partial).latest.newest == moment(5)
    assert windows([backup(1, 4, 4)], {1: {4, 5}}, partials=partial, waiting=waiting).latest.newest == moment(20)


def test_a_damaged_record_of_a_parent_breaks_the_child_alone():
    child, good = backup(1, 4, 4, parent_backup_id="20261031T000000"), backup(2, 6, 6)
    view = view_of(child, good, corrupt={"20261031T000000": CorruptRecord("record of 20261031T000000 is torn")})
    (line,) = windows([], {1: {4, 5, 6, 7}}, view=view).lines
    assert [reach.reason for reach in line.backups] == ["record of 20261031T000000 is torn", ""]


def test_a_server_without_backups_has_no_lines():
    found = windows([], {1: {4, 5}})
    assert (found.lines, found.current, found.latest, found.behind) == ((), None, None, None)


def test_two_segment_sizes_are_two_archives():
    old = make_info("20261101T000100", begin=4, end=4, xlog_segment_size=1 << 20, end_time=START)
    new = backup(2, 3, 3)
    small = ArchivedWal(1 << 20, {1: ((4, 6),)}, {1: TimelineHistory(1)}, lambda _: moment(6).timestamp())
    found = find_windows(view_of(old, new), [small, archive({1: {3, 4}})], NOW)
    assert [line.windows[0].latest_wal.name for line in found.lines] == [
        WalSegment.numbered(6, 1, 1 << 20).name,
        name(4),
    ]
    assert [line.current for line in found.lines] == [False, True]
