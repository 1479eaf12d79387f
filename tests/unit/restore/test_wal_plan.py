from datetime import datetime, timezone

import pytest

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo
from barman.postgres.lsn import Lsn
from barman.postgres.timeline import TimelineHistory
from barman.postgres.wal_name import WalSegment
from barman.restore.partial import PartialFacts, with_partials
from barman.restore.request import RestoreRequest
from barman.restore.target import parse_target
from barman.restore.wal_plan import plan_wal
from barman.restore.wals import WalArchive
from barman.values import replace

SIZE = 16 * 1024 * 1024
NOW = 10_000.0


def at(seconds):
    return datetime.fromtimestamp(seconds, tz=timezone.utc)


BACKUP = BackupInfo(
    BackupId("20260101T000000"),
    "pg",
    timeline=1,
    begin_wal="000000010000000000000002",
    begin_xlog=Lsn(2 * SIZE + 40),
    end_wal="000000010000000000000003",
    end_xlog=Lsn(3 * SIZE + 40),
    end_time=at(300),
)


def plan(numbers, backup=BACKUP, partial=None, end=None, **options):
    request = RestoreRequest("latest", "/dest", **options)
    ends = [number for number in numbers if number + 1 not in numbers]
    archive = WalArchive(
        SIZE,
        {1: frozenset(numbers)},
        {1: TimelineHistory(1)},
        times={WalSegment.numbered(number, 1, SIZE): number * 100.0 for number in ends},
    )
    if partial is not None:
        segment = WalSegment.numbered(partial, 1, SIZE)
        found = PartialFacts(segment, "/streaming/x.partial", partial * 100.0, None if end is None else Lsn.parse(end))
        archive = with_partials(archive, {segment: found})
    return plan_wal(request, backup, parse_target(request), archive, NOW)


def test_a_complete_chain_has_nothing_against_it():
    found = plan({2, 3, 4})
    assert found.refusals == found.warnings == ()
    assert found.chain is not None
    assert len(found.chain.found) == 3


@pytest.mark.parametrize("numbers", [set(), {2}, {3}, {2, 4}])
def test_wal_that_the_backup_itself_needs_is_demanded(numbers):
    found = plan(numbers)
    assert "cannot become consistent without it" in found.refusals[0]
    assert found.gap


def test_a_hole_before_the_end_is_refused_and_named():
    found = plan({2, 3, 5})
    assert found.refusals == (
        "WAL segment 000000010000000000000004 is not in the archive although later WAL is: "
        "recovery cannot go beyond it",
    )


def test_a_hole_may_be_accepted_and_the_loss_is_told():
    found = plan({2, 3, 5}, allow_missing_wal=True)
    assert found.refusals == ()
    assert "every change from position 0/4000000 on is lost" in found.warnings[0]
    assert found.chain is not None
    assert len(found.chain.found) == 2


def test_a_moment_before_the_hole_is_reached():
    assert plan({2, 3, 5}, target_time=str(at(299.5 + 0.6))).refusals != ()
    found = plan({2, 3, 4, 6}, target_time=str(at(350)))
    assert found.refusals == ()
    assert "the target time lies before it" in found.warnings[0]


def test_immediate_does_not_mind_a_later_hole():
    assert plan({2, 3, 5}, target_immediate=True).refusals == ()


def test_a_position_must_be_archived_and_after_the_backup():
    assert plan({2, 3, 4, 6}, target_lsn="0/4000028").refusals == ()
    assert "the target LSN 0/5000028 cannot be reached" in plan({2, 3, 4}, target_lsn="0/5000028").refusals[0]
    assert "is before the backup end LSN" in plan({2, 3, 4}, target_lsn="0/2000028").refusals[0]


def test_the_segment_after_a_position_goes_along_when_it_is_there():
    """The record that recovery stops at may begin or end in it."""
    together = plan({2, 3, 4, 5, 6}, target_lsn="0/4000028").chain
    alone = plan({2, 3, 4}, target_lsn="0/4000028").chain
    assert together is not None
    assert alone is not None
    assert [segment.name[-1] for segment in together.found] == ["2", "3", "4", "5"]
    assert [segment.name[-1] for segment in alone.found] == ["2", "3", "4"]


def test_a_server_that_fetches_waits_for_wal_that_is_still_to_come():
    found = plan({2, 3, 4}, target_lsn="0/5000028", get_wal=True)
    assert found.refusals == ()
    assert "the restored server waits for it" in found.warnings[0]
    assert plan({2, 3, 5}, get_wal=True).refusals != ()


def test_a_moment_before_the_end_of_the_backup_is_refused():
    assert "is before the backup end time" in plan({2, 3}, target_time=str(at(299))).refusals[0]


def test_a_moment_beyond_the_archive_is_a_warning():
    assert "is later than the newest archived WAL" in plan({2, 3}, target_time=str(at(301))).warnings[0]
    assert "is in the future" in plan({2, 3}, target_time=str(at(NOW + 1))).warnings[0]


def test_every_reason_is_given_at_once():
    found = plan({2}, target_time=str(at(100)))
    assert len(found.refusals) == 2


def test_a_record_without_its_wal_is_refused():
    found = plan({2}, backup=BackupInfo(BackupId("20260101T000000"), "pg", timeline=1))
    assert "has no begin_wal or no end_wal" in found.refusals[0]


def test_a_backup_that_was_overtaken_by_a_promotion_is_refused():
    overtaken = replace(BACKUP, end_wal="000000020000000000000003")
    assert "begins on another timeline (000000010000000000000002)" in plan({2, 3, 4}, overtaken).refusals[0]


def ends_with(found):
    return found.chain.found[-1].number(SIZE), found.chain.partial is not None


def test_the_unfinished_segment_ends_a_recovery_to_latest():
    found = plan({2, 3, 4}, partial=5, end="0/5000100")
    assert (found.refusals, ends_with(found)) == ((), (5, True))
    assert ends_with(plan({2, 3, 4}, partial=5, target_tli="current")) == (5, True)
    assert ends_with(plan({2, 3, 4}, partial=5, target_xid="700")) == (5, True)
    assert ends_with(plan({2, 3, 4}, partial=5, target_immediate=True)) == (3, False)


def test_a_target_time_well_within_the_whole_segments_needs_no_unfinished_one():
    """Well within: the clocks of both hosts may be apart. Segment n was written at second 100 n."""
    assert ends_with(plan(set(range(2, 50)), partial=50, target_time=str(at(600)))) == (49, False)
    assert ends_with(plan(set(range(2, 50)), partial=50, target_time=str(at(1500)))) == (50, True)
    assert ends_with(plan({2, 3, 4}, partial=5, target_time=str(at(450)))) == (5, True)
    assert plan({2, 3, 4}, partial=5, target_time=str(at(450))).warnings == ()
    assert "is later than the newest archived WAL" in plan({2, 3}, partial=4, target_time=str(at(450))).warnings[0]


def test_a_position_after_the_received_records_is_refused():
    assert plan({2, 3, 4}, partial=5, end="0/5000100", target_lsn="0/50000F8").refusals == ()
    found = plan({2, 3, 4}, partial=5, end="0/5000100", target_lsn="0/5000100")
    assert found.refusals == (
        "the records in '000000010000000000000005.partial' end at 0/5000100: "
        "the target LSN 0/5000100 cannot be reached",
    )
    assert plan({2, 3, 4}, partial=5, end="0/5000100", target_lsn="0/5000100", allow_missing_wal=True).refusals == ()
    assert plan({2, 3, 4}, partial=5, target_lsn="0/5000100").refusals == ()


def test_a_backup_that_ended_after_the_received_records_is_refused():
    assert plan({2}, partial=3, end="0/3000028").refusals == ()
    found = plan({2}, partial=3, end="0/3000020")
    assert "ended at 0/3000028 and cannot become consistent" in found.refusals[0]
    assert plan({2}, partial=3, end="0/3000020", target_immediate=True).refusals != ()


def test_wal_that_is_missing_before_the_unfinished_segment_is_refused():
    found = plan({2, 3, 4}, partial=6)
    assert found.refusals == (
        "WAL segment 000000010000000000000005 is not in the archive although '000000010000000000000006.partial' was "
        "received: recovery cannot go beyond it",
    )
    assert (
        "every change from position 0/5000000 on is lost"
        in plan({2, 3, 4}, partial=6, allow_missing_wal=True).warnings[0]
    )
