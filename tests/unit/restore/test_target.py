import pytest

from barman.errors import RestoreRefused
from barman.restore.request import RestoreRequest
from barman.restore.target import parse_target


def request(**options):
    return RestoreRequest("latest", "/dest", **options)


def refusals(**options):
    with pytest.raises(RestoreRefused) as caught:
        parse_target(request(**options))
    return caught.value.reasons


def test_no_target_is_the_end_of_the_wal():
    target = parse_target(request())
    assert not target.is_point_in_time


def test_a_timeline_alone_steers_the_recovery():
    target = parse_target(request(target_tli="latest"))
    assert target.is_point_in_time
    assert target.describe(3) == "timeline: '3'"


def test_two_targets_are_refused():
    assert refusals(target_xid="700", target_name="x") == (
        "You cannot specify multiple targets for the recovery operation",
    )


def test_every_impossible_value_is_named_at_once():
    found = refusals(target_xid="x1", target_tli="0")
    assert len(found) == 2
    assert "'x1' is not a transaction id" in found[0]
    assert "'0' is not a timeline" in found[1]


@pytest.mark.parametrize("xid", ["2", "-7", "1e3", "", "99999999999999999999999", "٣٤٥"])
def test_what_is_no_transaction_id_is_refused(xid):
    assert "is not a transaction id" in refusals(target_xid=xid)[0]


@pytest.mark.parametrize("name", ["", "x" * 64, "a\nb", "é" * 32])
def test_what_cannot_be_a_restore_point_is_refused(name):
    assert "cannot be the name of a restore point" in refusals(target_name=name)[0]


def test_a_time_without_zone_is_local_and_said():
    target = parse_target(request(target_time="2026-11-22 08:00:00"))
    assert target.time is not None
    assert target.time.tzinfo is not None
    assert "No time zone has been specified" in target.warnings[0]


def test_a_time_with_zone_is_written_with_it():
    target = parse_target(request(target_time="2026-11-22T08:00:00+02"))
    assert target.value == "2026-11-22 08:00:00+02:00"
    assert target.describe(1) == "time: '2026-11-22 08:00:00+02:00'"
    assert target.warnings == ()


def test_an_action_needs_a_target():
    assert refusals(target_action="pause") == ("Can't enable recovery target action when PITR is not required",)


def test_exclusive_counts_where_the_server_knows_it():
    assert parse_target(request(target_lsn="0/3000028", exclusive=True)).exclusive
    target = parse_target(request(target_immediate=True, exclusive=True))
    assert not target.exclusive
    assert target.warnings
    assert target.describe(1) == "immediate: True"
