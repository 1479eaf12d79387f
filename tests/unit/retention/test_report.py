"""Retention: the examples of the reference, and every catalog against an independent oracle."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barman.backup.retention_plan import RetentionRules, retention_steps, without
from barman.catalog.view import CatalogView
from barman.retention.policy import RecoveryWindow, Redundancy
from barman.retention.report import report
from tests.support.catalog_builder import make_info

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


def backup(age, **changes):
    """A backup that ended so many days ago."""
    end = NOW - timedelta(days=age)
    return make_info(end.strftime("%Y%m%dT%H%M%S"), end_time=end, **changes)


def view_of(infos, keep=None, broken=()):
    return CatalogView(
        {info.backup_id: info for info in infos}, keep=keep or {}, unrestorable=dict.fromkeys(broken, "a hole")
    )


def newest_first(found):
    return [found[backup_id] for backup_id in sorted(found, reverse=True)]


AGES = (1, 5, 9, 20)
WEEK = RecoveryWindow(7, "DAY")
V, OB, PO, N = "VALID", "OBSOLETE", "OBSOLETE*", "-"
KF, KS = "KEEP:FULL", "KEEP:STANDALONE"


@pytest.mark.parametrize(
    ("policy", "minimum", "keep", "failed", "expected"),
    [
        (Redundancy(2), 0, {}, None, [V, V, OB, OB]),
        (Redundancy(2), 3, {}, None, [V, V, V, OB]),
        (Redundancy(2), 0, {2: "full"}, None, [V, V, KF, OB]),
        (Redundancy(2), 0, {}, 1, [V, N, V, OB]),
        (Redundancy(2), 0, {1: "standalone"}, None, [V, KS, OB, OB]),
        (WEEK, 0, {}, None, [V, V, V, OB]),
        (WEEK, 4, {}, None, [V, V, V, PO]),
        (WEEK, 0, {2: "full"}, None, [V, V, KF, OB]),
        (WEEK, 4, {2: "full"}, None, [V, V, KF, PO]),
        (WEEK, 0, {}, 1, [V, N, V, OB]),
        (WEEK, 4, {}, 1, [V, N, V, PO]),
        (WEEK, 0, {1: "standalone"}, None, [V, KS, V, OB]),
    ],
)
def test_the_examples_of_the_reference(policy, minimum, keep, failed, expected):
    infos = [backup(age, status="FAILED" if number == failed else "DONE") for number, age in enumerate(AGES)]
    kept = {infos[number].backup_id: target for number, target in keep.items()}
    assert newest_first(report(view_of(infos, kept), policy, minimum, NOW)) == expected


@pytest.mark.parametrize("policy", [Redundancy(0), RecoveryWindow(0, "DAY")])
def test_no_policy_makes_the_last_good_backup_obsolete(policy):
    infos = [backup(1, status="FAILED"), backup(2), backup(3)]
    assert newest_first(report(view_of(infos), policy, 0, NOW)) == [N, V, OB]


def test_a_window_without_end_keeps_everything():
    infos = [backup(age) for age in (1, 100, 5000)]
    assert newest_first(report(view_of(infos), RecoveryWindow(10**12, "MONTH"), 0, NOW)) == [V, V, V]


@pytest.mark.parametrize("status", ["WAITING_FOR_WALS", "STARTED", "EMPTY", "FAILED", "SYNCING"])
def test_only_done_backups_are_judged_and_counted(status):
    infos = [backup(1, status=status), backup(2), backup(3)]
    assert newest_first(report(view_of(infos), Redundancy(1), 0, NOW)) == [N, V, OB]


def test_a_chain_lives_and_dies_with_its_root():
    old = backup(20)
    infos = [backup(2), old, backup(15, parent_backup_id=old.backup_id)]
    infos.append(backup(1, parent_backup_id=infos[2].backup_id))
    assert newest_first(report(view_of(infos), Redundancy(1), 0, NOW)) == [OB, V, OB, OB]
    assert newest_first(report(view_of(infos), RecoveryWindow(30, "DAY"), 0, NOW)) == [V, V, V, V]


@pytest.mark.parametrize(("target", "newer", "child"), [("full", 1, V), ("standalone", 0, V), ("standalone", 1, OB)])
def test_the_children_of_a_kept_root(target, newer, child):
    root = backup(20)
    infos = [root, backup(19, parent_backup_id=root.backup_id), *(backup(age) for age in range(1, newer + 1))]
    found = report(view_of(infos, {root.backup_id: target}), Redundancy(1), 0, NOW)
    assert found[root.backup_id] == f"KEEP:{target.upper()}"
    assert found[infos[1].backup_id] == child


def test_a_broken_chain_is_not_judged_and_does_not_count():
    lost = backup(1, parent_backup_id="20200101T000000")
    assert newest_first(report(view_of([lost, backup(2), backup(3)]), Redundancy(1), 0, NOW)) == [N, V, OB]


def test_a_kept_incremental_holds_its_whole_chain():
    root = backup(20)
    child = backup(19, parent_backup_id=root.backup_id)
    found = report(view_of([backup(1), root, child], {child.backup_id: "standalone"}), Redundancy(1), 0, NOW)
    assert newest_first(found) == [V, KS, KF]


def test_a_done_backup_without_end_never_covers_the_start_of_the_window():
    from barman.values import replace

    infos = [replace(backup(30), end_time=None), backup(40), backup(50)]
    assert newest_first(report(view_of(infos), WEEK, 0, NOW)) == [V, V, OB]


@pytest.mark.parametrize(
    ("policy", "minimum", "expected"),
    [
        (Redundancy(1), 0, [N, V, OB, OB]),
        (Redundancy(3), 0, [N, V, V, V]),
        (RecoveryWindow(3, "DAY"), 0, [N, V, OB, OB]),
        (RecoveryWindow(3, "DAY"), 2, [N, V, PO, OB]),
    ],
)
def test_a_backup_that_cannot_be_restored_counts_for_nothing(policy, minimum, expected):
    infos = [backup(age) for age in (4, 5, 9, 20)]
    assert newest_first(report(view_of(infos, broken=[infos[0].backup_id]), policy, minimum, NOW)) == expected


def test_a_backup_that_cannot_be_restored_goes_where_it_would_go_as_a_good_one():
    infos = [backup(age) for age in (1, 2, 3)]
    assert newest_first(report(view_of(infos, broken=[infos[2].backup_id]), Redundancy(1), 0, NOW)) == [V, OB, OB]
    assert newest_first(report(view_of(infos, broken=[infos[1].backup_id]), Redundancy(2), 0, NOW)) == [V, N, V]


def test_where_nothing_can_be_restored_nothing_goes():
    infos = [backup(age) for age in (1, 2, 30)]
    every = [info.backup_id for info in infos]
    assert newest_first(report(view_of(infos, broken=every), Redundancy(1), 0, NOW)) == [N, N, N]
    assert newest_first(report(view_of(infos, broken=every), WEEK, 0, NOW)) == [N, N, N]


@pytest.mark.parametrize(
    ("policy", "minimum", "expected"),
    [
        (Redundancy(1), 0, [V, V, OB, OB]),
        (Redundancy(2), 0, [V, V, V, OB]),
        (WEEK, 0, [V, V, V, OB]),
        (WEEK, 3, [V, V, V, PO]),
    ],
)
def test_a_backup_of_the_future_makes_none_obsolete(policy, minimum, expected):
    """A clock was wrong for a while: what is taken now would go at once, and so would all until that day."""
    assert newest_first(report(view_of([backup(age) for age in (-400, 0, 9, 20)]), policy, minimum, NOW)) == expected


def test_a_day_between_two_clocks_is_no_future():
    assert newest_first(report(view_of([backup(-1), backup(0)]), Redundancy(1), 0, NOW)) == [V, OB]


# --- the oracle: the rules once more, written as sets instead of a walk


def oracle(infos, keep, policy, minimum, broken=frozenset()):  # noqa: C901  as many branches as rules
    by_id = {info.backup_id: info for info in infos}

    def root_of(info):
        while info is not None and info.parent_backup_id is not None:
            info = by_id.get(info.parent_backup_id)
        return info

    good = [i for i in infos if i.parent_backup_id is None and i.status == "DONE" and i.backup_id not in broken]
    good = [i for i in good if i.end_time <= NOW + timedelta(days=1)]
    newer = {info.backup_id: sum(other.backup_id > info.backup_id for other in good) for info in infos}
    expected = {}
    for info in infos:
        root = root_of(info)
        if root is None or root.status != "DONE" or info.status == "EMPTY":
            expected[info.backup_id] = "-"
            continue
        rank = newer[root.backup_id]
        if isinstance(policy, Redundancy):
            within = valid = rank < max(1, policy.count, minimum)
            word = "VALID" if valid else "OBSOLETE"
        else:
            edge = NOW - timedelta(days=policy.count)
            older_than_window = [i for i in good if i.backup_id >= root.backup_id and i.end_time < edge]
            # Required: inside the window, or the newest of those outside.
            valid = not [i for i in older_than_window if i is not root]
            within = not older_than_window
            word = "VALID" if valid else ("OBSOLETE*" if rank < minimum else "OBSOLETE")
        if word != "OBSOLETE" and info.backup_id in broken:
            word = "-"
        tree = [i for i in infos if root_of(i) is root and i is not root]
        target = "full" if any(i.backup_id in keep for i in tree) else keep.get(root.backup_id)
        if info is root:
            expected[info.backup_id] = f"KEEP:{target.upper()}" if target else word
        elif info.backup_id in keep:
            expected[info.backup_id] = f"KEEP:{keep[info.backup_id].upper()}"
        elif target == "full":
            expected[info.backup_id] = "-" if info.backup_id in broken else "VALID"
        elif target == "standalone":
            expected[info.backup_id] = ("-" if info.backup_id in broken else "VALID") if within else "OBSOLETE"
        else:
            expected[info.backup_id] = word
    return expected


@st.composite
def catalogs(draw):
    ages = draw(st.lists(st.integers(-3, 40), unique=True, max_size=9))
    infos = []
    for age in sorted(ages, reverse=True):
        # Mostly DONE; a backup may end long after it began, out of order with its neighbours.
        status = draw(st.sampled_from(["DONE"] * 4 + ["FAILED", "WAITING_FOR_WALS", "STARTED", "EMPTY", "SYNCING"]))
        parent = draw(st.none() | st.sampled_from([i.backup_id for i in infos])) if infos else None
        late = draw(st.sampled_from([0, 0, 0, 3]))
        info = backup(age, status=status, parent_backup_id=parent)
        infos.append(
            make_info(info.backup_id, status=status, parent_backup_id=parent, end_time=NOW - timedelta(days=age - late))
        )
    lost = draw(st.sets(st.sampled_from([i.backup_id for i in infos]), max_size=1)) if infos else set()
    infos = [info for info in infos if info.backup_id not in lost]
    keep = {
        info.backup_id: draw(st.sampled_from(["full", "standalone"])) for info in infos if draw(st.integers(0, 5)) == 0
    }
    broken = draw(st.sets(st.sampled_from([i.backup_id for i in infos]), max_size=3)) if infos else set()
    return infos, keep, draw(st.sampled_from([set(), broken]))


POLICIES = st.builds(Redundancy, st.integers(0, 5)) | st.builds(RecoveryWindow, st.integers(0, 30), st.just("DAY"))


@settings(max_examples=200)
@given(catalogs(), POLICIES, st.integers(0, 5))
def test_the_report_equals_the_rules(catalog, policy, minimum):
    infos, keep, broken = catalog
    assert report(view_of(infos, keep, broken), policy, minimum, NOW) == oracle(infos, keep, policy, minimum, broken)


@settings(max_examples=150)
@given(catalogs(), POLICIES, st.integers(0, 5))
def test_holes_only_ever_make_retention_delete_less(catalog, policy, minimum):
    infos, keep, broken = catalog
    with_holes, without = (report(view_of(infos, keep, bad), policy, minimum, NOW) for bad in (broken, ()))
    assert {i for i in with_holes if with_holes[i] == OB} <= {i for i in without if without[i] == OB}


@settings(max_examples=150)
@given(catalogs(), POLICIES, st.integers(0, 5))
def test_whatever_the_policy_enough_good_backups_stay(catalog, policy, minimum):
    infos, keep, broken = catalog
    view = view_of(infos, keep, broken)
    found = report(view, policy, minimum, NOW)
    good = [info for info in infos if info.counts_for_redundancy and info.backup_id not in broken]
    stay = [info for info in good if found[info.backup_id] != "OBSOLETE"]
    assert len(stay) >= min(len(good), max(1, minimum))
    for backup_id in keep:
        assert found[backup_id] != "OBSOLETE"
    for info in infos:
        if (
            found[info.backup_id] != "OBSOLETE"
            and info.parent_backup_id in view.backups
            and found[info.backup_id] != "-"
        ):
            assert found[info.parent_backup_id] != "OBSOLETE", "a parent never goes before its child"


@settings(max_examples=150)
@given(catalogs(), POLICIES, st.integers(0, 5))
def test_what_goes_changes_nothing_for_what_is_judged_after_it(catalog, policy, minimum):
    """So a dry run need not judge ten thousand backups anew before each of a thousand steps."""
    infos, keep, broken = catalog
    rules = RetentionRules(policy, minimum, NOW, lambda _: [])

    def steps(*, alone):
        current = [view_of(infos, keep, broken)]
        for step in retention_steps(lambda: current[0], rules, alone=alone):
            yield step
            if step.goes:
                current[0] = without(current[0], step.plan.backups)

    assert list(steps(alone=True)) == list(steps(alone=False))
