from datetime import datetime, timezone

import pytest

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo
from barman.catalog.view import CatalogView
from barman.errors import RestoreRefused, UnknownBackup
from barman.postgres.lsn import Lsn
from barman.postgres.timeline import Switch, TimelineHistory
from barman.restore.request import RestoreRequest
from barman.restore.select import select_backup
from barman.restore.target import parse_target


def backup(number, timeline, end, status="DONE"):
    return BackupInfo(
        BackupId(f"2026010{number}T000000"),
        "pg",
        status=status,
        timeline=timeline,
        end_time=datetime(2026, 1, number, tzinfo=timezone.utc),
        end_xlog=Lsn(end),
    )


BACKUPS = [backup(1, 1, 100), backup(2, 1, 200), backup(3, 2, 250), backup(4, 1, 400), backup(5, 2, 500, "FAILED")]
VIEW = CatalogView({info.backup_id: info for info in BACKUPS}, server_name="pg")
HISTORIES = {1: TimelineHistory(1), 2: TimelineHistory(2, (Switch(1, Lsn(220)),))}


def selected(word="auto", **options):
    target = parse_target(RestoreRequest(word, "/dest", **options))
    return int(select_backup(word, VIEW, target, HISTORIES).backup_id[7])


def test_the_newest_complete_backup_is_the_default():
    assert selected() == 4


def test_a_timeline_takes_its_ancestors_as_far_as_they_belong_to_it():
    assert selected(target_tli="2") == 3
    assert selected(target_tli="2", target_time="2026-01-02 12:00:00+00") == 2
    assert selected(target_tli="latest", target_lsn="0/DB") == 2


def test_a_backup_after_the_branch_serves_no_target_on_it():
    assert selected(target_tli="2", target_time="2026-01-04 12:00:00+00") == 3


def test_a_time_takes_the_newest_backup_that_ended_before():
    assert selected(target_time="2026-01-03 00:00:00+00") == 3


def test_a_backup_may_be_named():
    assert selected("20260101T000000", target_xid="800") == 1
    with pytest.raises(UnknownBackup):
        selected("20250101T000000")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"target_name": "x"}, "'target_name' recovery target is not allowed without a backup_id"),
        ({"target_immediate": True}, "'target_immediate' recovery target is not allowed"),
        ({"target_tli": "current"}, "'current' is not a valid timeline keyword"),
        ({"target_tli": "7"}, "timeline 7 does not exist"),
        ({"target_lsn": "0/1"}, "Cannot find any candidate backup for recovery."),
    ],
)
def test_what_cannot_be_searched_is_refused(options, text):
    with pytest.raises(RestoreRefused, match=text):
        selected(**options)
