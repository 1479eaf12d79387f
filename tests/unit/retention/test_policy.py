"""The grammar of retention policies."""

from datetime import datetime, timedelta, timezone

import pytest

from barman.errors import ConfigError
from barman.retention.policy import RecoveryWindow, Redundancy, parse


@pytest.mark.parametrize(
    ("text", "policy", "canonical"),
    [
        ("REDUNDANCY 2", Redundancy(2), "REDUNDANCY 2"),
        ("  redundancy   0 ", Redundancy(0), "REDUNDANCY 0"),
        ("RECOVERY WINDOW OF 7 DAYS", RecoveryWindow(7, "DAY"), "RECOVERY WINDOW OF 7 DAYS"),
        ("recovery window of 1 day", RecoveryWindow(1, "DAY"), "RECOVERY WINDOW OF 1 DAYS"),
        ("Recovery  Window\tOf 02 Weeks", RecoveryWindow(2, "WEEK"), "RECOVERY WINDOW OF 2 WEEKS"),
        ("RECOVERY WINDOW OF 3 MONTH", RecoveryWindow(3, "MONTH"), "RECOVERY WINDOW OF 3 MONTHS"),
    ],
)
def test_a_policy_is_parsed_and_prints_canonically(text, policy, canonical):
    assert parse(text) == policy
    assert str(policy) == canonical
    assert parse(canonical) == policy


@pytest.mark.parametrize(
    "text",
    [
        "",
        "REDUNDANCY",
        "REDUNDANCY -1",
        "REDUNDANCY 1.5",
        "REDUNDANCY two",
        "REDUNDANCY2",
        "RECOVERY WINDOW OF DAYS",
        "RECOVERY WINDOW OF 7",
        "RECOVERY WINDOW OF 7 YEARS",
        "RECOVERY WINDOW OF 7 DAYSS",
        "REDUNDANCY 2 RECOVERY WINDOW OF 7 DAYS",
        "REDUNDANCY " + "9" * 5000,
        "KEEP ALL",
    ],
)
def test_anything_else_is_refused_with_what_can_be_written(text):
    with pytest.raises(ConfigError, match="cannot parse retention policy") as caught:
        parse(text)
    assert "REDUNDANCY n" in caught.value.hint


def test_a_month_has_31_days_and_a_window_without_end_starts_before_all_dates():
    now = datetime(2026, 11, 22, tzinfo=timezone.utc)
    assert RecoveryWindow(1, "MONTH").starts(now) == now - timedelta(days=31)
    assert RecoveryWindow(2, "WEEK").starts(now) == now - timedelta(days=14)
    assert RecoveryWindow(10**17, "MONTH").starts(now) is None
    assert RecoveryWindow(900_000, "DAY").starts(now) is None
