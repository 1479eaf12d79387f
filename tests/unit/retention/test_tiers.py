"""Tiers: their grammar, what they want by an independent oracle, and years of daily runs."""

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barman.backup.retention_plan import RetentionRules, plan_tiers, retention_steps, with_tiers, without
from barman.catalog.view import CatalogView
from barman.errors import ConfigError
from barman.retention.policy import RecoveryWindow, Redundancy
from barman.retention.report import report
from barman.retention.tiers import Tier, parse_tiers, wanted
from tests.support.catalog_builder import make_info

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12 monthly, 5 YEARLY", "12 MONTHLY, 5 YEARLY"),
        ("5 YEARLY 7 daily", "7 DAILY, 5 YEARLY"),
        ("  04 Weekly ,", "4 WEEKLY"),
    ],
)
def test_texts_that_state_tiers(text, expected):
    assert ", ".join(map(str, parse_tiers(text))) == expected


@pytest.mark.parametrize(
    "text",
    ["", "MONTHLY", "12", "0 DAILY", "-1 DAILY", "3 DAYS", "1 DAILY, 2 DAILY", "x WEEKLY", "1 DAILY 2", "١ DAILY"],
)
def test_texts_that_state_none_are_refused_with_a_hint(text):
    with pytest.raises(ConfigError, match="cannot parse retention tiers") as caught:
        parse_tiers(text)
    assert "n MONTHLY" in caught.value.hint


def full(day, hour=3, **changes):
    return make_info(
        f"{day:%Y%m%d}T{hour:02}0000",
        end_time=datetime(day.year, day.month, day.day, hour + 1, tzinfo=timezone.utc),
        **changes,
    )


def view_of(infos, **more):
    return CatalogView({info.backup_id: info for info in infos}, **more)


def test_the_last_backup_of_each_of_the_newest_periods_is_wanted():
    infos = [full(date(2026, month, day)) for month in (1, 2, 4) for day in (1, 15, 28)]
    found = wanted(view_of(infos), parse_tiers("2 MONTHLY, 1 YEARLY"))
    assert found == {
        "20260428T030000": "the last backup of 2026-04 (2 MONTHLY), the last backup of 2026 (1 YEARLY)",
        "20260228T030000": "the last backup of 2026-02 (2 MONTHLY)",
    }


def test_weeks_are_those_of_iso_8601():
    # The first of January 2027 is a Friday of the last week of 2026.
    infos = [full(date(2026, 12, 31)), full(date(2027, 1, 1)), full(date(2027, 1, 4))]
    assert list(wanted(view_of(infos), parse_tiers("2 WEEKLY"))) == ["20270104T030000", "20270101T030000"]


def test_only_backups_that_can_be_restored_alone_are_wanted():
    root = full(date(2026, 3, 1))
    others = [
        full(date(2026, 3, 5), parent_backup_id=root.backup_id),
        full(date(2026, 3, 6), status="FAILED"),
        full(date(2026, 3, 7)),
        full(date(2026, 3, 8)),
    ]
    view = view_of(
        [root, *others], unrestorable={others[2].backup_id: "a hole"}, deleting=frozenset([others[3].backup_id])
    )
    assert list(wanted(view, parse_tiers("1 MONTHLY"))) == [root.backup_id]


def test_a_wanted_chain_is_archived_whole():
    root = full(date(2026, 3, 1))
    child = full(date(2026, 3, 2), parent_backup_id=root.backup_id)
    newer = full(date(2026, 4, 1))
    tiers = parse_tiers("2 MONTHLY")
    view = view_of([root, child, newer])
    assert report(view, Redundancy(1), 0, NOW, tiers) == {
        root.backup_id: "KEEP:STANDALONE",
        child.backup_id: "KEEP:STANDALONE",
        newer.backup_id: "VALID",
    }
    rules = RetentionRules(Redundancy(1), 0, NOW, lambda _: [], tiers)
    assert plan_tiers(view, rules).hold == (root.backup_id, child.backup_id)


def test_what_a_tier_has_kept_and_no_tier_wants_any_more_is_released_and_goes():
    old, new = full(date(2026, 1, 1)), full(date(2026, 2, 1))
    view = view_of([old, new], keep={old.backup_id: "standalone"}, tiered=frozenset([old.backup_id]))
    rules = RetentionRules(Redundancy(1), 0, NOW, lambda _: [], parse_tiers("1 MONTHLY"))
    changes = plan_tiers(view, rules)
    assert (changes.hold, changes.release) == ((), (old.backup_id,))
    assert [step.backup_id for step in retention_steps(lambda: with_tiers(view, changes), rules)] == [old.backup_id]


def test_a_keep_of_the_operator_is_never_touched():
    old, new = full(date(2026, 1, 1)), full(date(2026, 2, 1))
    for tiers in ("1 MONTHLY", "2 MONTHLY"):
        view = view_of([old, new], keep={old.backup_id: "standalone"})
        changes = plan_tiers(view, RetentionRules(Redundancy(1), 0, NOW, lambda _: [], parse_tiers(tiers)))
        assert (changes.hold, changes.release) == ((), ())


def test_an_archived_backup_whose_wal_was_lost_is_left_to_the_operator():
    old, new = full(date(2026, 1, 1)), full(date(2026, 2, 1))
    view = view_of(
        [old, new],
        keep={old.backup_id: "standalone"},
        tiered=frozenset([old.backup_id]),
        unrestorable={old.backup_id: "a hole"},
    )
    found = report(view, Redundancy(1), 0, NOW, parse_tiers("5 MONTHLY"))
    assert found[old.backup_id] == "KEEP:STANDALONE"


# --- the oracle: periods as intervals of days instead of names

TIERS = st.lists(
    st.builds(Tier, st.integers(1, 5), st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"])),
    unique_by=lambda tier: tier.period,
    min_size=1,
)


def first_day(day, period):
    if period == "DAILY":
        return day
    if period == "WEEKLY":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "MONTHLY" else day.replace(day=1, month=1)


def oracle(days, tiers):
    """Walk back from the newest backup, one period at a time."""
    found = set()
    for tier in tiers:
        left, upto = tier.count, date(2100, 1, 1)
        while left and (older := [day for day in days if day < upto]):
            found.add(max(older))
            upto = first_day(max(older), tier.period)
            left -= 1
    return found


@settings(max_examples=200)
@given(st.sets(st.dates(date(2015, 1, 1), date(2026, 11, 1)), max_size=40), TIERS)
def test_what_is_wanted_equals_the_oracle(days, tiers):
    found = wanted(view_of([full(day) for day in days]), tiers)
    assert set(found) == {f"{day:%Y%m%d}T030000" for day in oracle(days, tiers)}


@settings(max_examples=12, deadline=None)
@given(
    TIERS,
    st.builds(Redundancy, st.integers(1, 4)) | st.builds(RecoveryWindow, st.integers(1, 20), st.just("DAY")),
    st.lists(st.integers(1, 12), min_size=20, max_size=60),
)
def test_years_of_runs_lose_nothing_that_a_tier_wants(tiers, policy, pauses):
    """After each run, what is left has the last backup of each of the newest periods of all backups ever taken."""
    view, taken, day = view_of([]), [], date(2020, 1, 1)
    for pause in pauses:
        day += timedelta(days=pause)
        taken.append(day)
        info = full(day)
        view = view_of([*view.backups.values(), info], keep=view.keep, tiered=view.tiered)
        now = datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)
        rules = RetentionRules(policy, 0, now, lambda _: [], tuple(tiers))
        view = with_tiers(view, plan_tiers(view, rules))
        current = [view]
        announced = [step.backup_id for step in retention_steps(lambda seen=view: seen, rules, alone=True)]
        for step in retention_steps(lambda seen=current: seen[0], rules):
            assert step.goes
            assert step.backup_id == announced.pop(0)
            current[0] = without(current[0], step.plan.backups)
        assert not announced
        view = current[0]
        left = set(view.backups)
        assert {f"{kept:%Y%m%d}T030000" for kept in oracle(taken, tiers)} <= left
        by_policy = report(view, policy, 0, now)
        extra = {backup_id for backup_id in left if by_policy[backup_id] == "OBSOLETE"}
        assert extra == view.tiered == set(view.keep)
        assert extra <= set(wanted(view, tiers))
        assert not any(rules.obsolete(view))
