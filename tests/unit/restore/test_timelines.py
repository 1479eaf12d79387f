from datetime import datetime, timezone

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo
from barman.postgres.lsn import Lsn
from barman.postgres.timeline import Switch, TimelineHistory
from barman.postgres.version import PgVersion
from barman.restore.request import RestoreRequest
from barman.restore.target import parse_target
from barman.restore.timelines import choose_timeline, written_timeline
from barman.restore.wals import WalArchive

SIZE = 16 * 1024 * 1024
PG15, PG11 = PgVersion(150018), PgVersion(110022)


def lsn(segment, offset=0):
    return Lsn(segment * SIZE + offset)


def target(**options):
    return parse_target(RestoreRequest("latest", "/dest", **options))


def at(seconds):
    return str(datetime.fromtimestamp(seconds, tz=timezone.utc))


BACKUP = BackupInfo(
    BackupId("20260101T000000"), "pg", timeline=1, begin_xlog=lsn(2, 40), end_xlog=lsn(3, 40), version=150018
)
# Timeline 2 left 1 in segment 5 at second 1000; timeline 3 left 1 in segment 7 at second 2000.
TWO = TimelineHistory(2, (Switch(1, lsn(5, 100)),))
THREE = TimelineHistory(3, (Switch(1, lsn(7, 100)),))


def archive(segments, *histories, times=None):
    return WalArchive(
        SIZE,
        segments,
        {1: TimelineHistory(1), **{history.timeline: history for history in histories}},
        history_times={2: 1000.0, 3: 2000.0} if times is None else times,
    )


def chosen(archive_, **options):
    choice = choose_timeline(BACKUP, target(**options), archive_)
    return choice.history.timeline if choice.history else choice.refusal


FAILOVER = archive({1: {2, 3, 4}, 2: {5, 6, 7}}, TWO)
BRANCH = archive({1: {2, 3, 4, 5, 6, 7}, 2: {5, 6}}, TWO)


def test_without_a_target_the_newest_descendant_is_followed():
    assert chosen(FAILOVER) == 2
    assert chosen(archive({1: {2}}, TWO, THREE)) == 3


def test_a_timeline_that_left_before_the_end_of_the_backup_is_not_followed():
    early = TimelineHistory(2, (Switch(1, lsn(2, 90)),))
    assert chosen(archive({1: {2, 3}}, early)) == 1
    assert "before the backup ended" in chosen(archive({1: {2, 3}}, early), target_tli="2")


def test_immediate_stays_on_the_timeline_of_the_backup():
    assert chosen(FAILOVER, target_immediate=True) == 1


def test_a_moment_after_a_failover_is_on_the_new_timeline():
    assert chosen(FAILOVER, target_time=at(1500)) == 2


def test_a_moment_before_a_failover_is_on_both_and_the_newer_one_is_followed():
    assert chosen(FAILOVER, target_time=at(500)) == 2


def test_a_moment_that_only_an_abandoned_branch_saw_is_on_that_branch():
    assert chosen(BRANCH, target_time=at(500)) == 1
    assert chosen(BRANCH, target_time=at(1500)) == 2


def test_a_position_follows_the_newest_timeline_that_has_it():
    assert chosen(BRANCH, target_lsn=str(lsn(6, 5))) == 2
    assert chosen(BRANCH, target_lsn=str(lsn(7, 5))) == 1
    choice = choose_timeline(BACKUP, target(target_lsn=str(lsn(4, 5))), BRANCH)
    assert choice.note == ""


def test_a_given_timeline_must_exist_and_descend():
    assert chosen(FAILOVER, target_tli="9") == "timeline 9 does not exist in the WAL archive"
    stranger = TimelineHistory(4, (Switch(3, lsn(7)),))
    assert "is not a descendant" in chosen(archive({1: {2}}, stranger), target_tli="4")
    assert chosen(BRANCH, target_tli="current") == 1
    assert chosen(BRANCH, target_tli="latest") == 2


def written(archive_, timeline, version=PG15, *, follows=False, **options):
    history = archive_.histories.get(timeline, TimelineHistory(timeline))
    return written_timeline(history, target(**options), archive_, version, 1, follows=follows)


def test_the_number_is_written_unless_a_word_means_the_same():
    assert written(FAILOVER, 2) == "2"
    assert written(FAILOVER, 2, target_tli="latest") == "latest"
    assert written(FAILOVER, 1, target_tli="current") == "current"
    assert written(FAILOVER, 1, PG11, target_tli="current") == ""


def test_a_server_that_follows_is_left_its_default_while_that_is_right():
    assert written(FAILOVER, 2, follows=True) == ""
    assert written(FAILOVER, 1, follows=True) == "1"
    assert written(FAILOVER, 2, PG11, follows=True) == "2"


def test_latest_is_replaced_where_a_gap_in_the_histories_would_stop_the_server():
    gap = archive({1: {2, 3, 4, 5, 6, 7}, 3: {7}}, THREE)
    assert written(gap, 3, target_tli="latest") == "3"


def test_a_timeline_without_history_file_is_named_by_word():
    lone = WalArchive(SIZE, {2: {5}}, {2: TimelineHistory(2)})
    history = lone.histories[2]
    assert written_timeline(history, target(), lone, PG15, 2, follows=False) == "current"
    assert written_timeline(history, target(), lone, PG11, 2, follows=False) == ""
