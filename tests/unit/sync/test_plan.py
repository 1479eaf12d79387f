"""Which backups and WAL files a passive node copies, in which order, and what it says of the others."""

from datetime import datetime, timedelta, timezone

import pytest

from barman.catalog.view import CatalogView
from barman.retention.policy import Redundancy, parse
from barman.sync.plan import (
    Action,
    LocalRules,
    covered_backups,
    decide_backup,
    merged_children,
    plan_backups,
    plan_wals,
)
from barman.values import replace
from tests.support.catalog_builder import make_info
from tests.unit.sync.documents import A, B, C, D, E, info, record, segment, wal

NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
KEEP_ONE = LocalRules(Redundancy(1), 0, NOW)


def local(*records, **changes):
    return CatalogView({item.backup_id: item for item in records}, server_name="main", **changes)


def theirs(*backups, **changes):
    """A primary with these backups; a pair is an incremental and its parent."""
    records = []
    for item in backups:
        backup_id, parent = item if isinstance(item, tuple) else (item, None)
        moment = datetime.strptime(backup_id, "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)
        records.append(
            record(
                backup_id,
                parent_backup_id=parent,
                begin_time_iso=moment.isoformat(),
                end_time_iso=(moment + timedelta(seconds=2)).isoformat(),
            )
        )
    return info(*records, **changes)


def copied(primary, backup_id, **changes):
    """The local record of a complete copy."""
    return replace(primary.backups[backup_id], **changes)


def actions(decisions):
    return [(item.backup_id, item.action) for item in decisions]


def test_what_is_not_here_is_copied_oldest_first():
    assert actions(plan_backups(theirs(B, A, C), local())) == [(A, "copy"), (B, "copy"), (C, "copy")]


def test_the_decision_table_for_a_backup_that_the_primary_has():
    primary = theirs(A)
    done = decide_backup(primary, local(copied(primary, A)), A)
    assert (done.action, done.text) == (Action.PRESENT, f"Backup {A} is already synced with main server")
    for status in ("FAILED", "SYNCING", "EMPTY", "STARTED"):
        assert decide_backup(primary, local(copied(primary, A, status=status)), A).action == Action.COPY
    assert decide_backup(primary, local(copied(primary, A, status="WAITING_FOR_WALS")), A).action == Action.PRESENT
    assert decide_backup(primary, local(), A).action == Action.COPY


def test_the_decision_table_for_a_backup_that_the_primary_does_not_have():
    primary, here = theirs(), make_info(A)
    absent = decide_backup(primary, local(), A)
    assert (absent.action, absent.text) == (Action.ABSENT, f"Backup {A} is absent on main server")
    purge = decide_backup(primary, local(replace(here, status="FAILED")), A)
    assert purge.action == Action.PURGE
    assert purge.text.endswith("incomplete locally, purging local backup")
    alone = decide_backup(primary, local(here), A)
    assert alone.action == Action.LOCAL_ONLY
    assert alone.text.endswith("(local copy only)")


def test_a_run_purges_broken_copies_only():
    """A failed backup of the time when this node was active itself is the operator's."""
    broken = make_info(A, status="FAILED", mode="passive")
    own = make_info(B, status="FAILED", mode="postgres")
    assert actions(plan_backups(theirs(), local(broken, own, make_info(C)))) == [(A, "purge")]


# --- obsolete for the local policy


def test_the_first_sync_does_not_copy_what_local_retention_would_delete_at_once():
    decisions = plan_backups(theirs(A, B, C), local(), KEEP_ONE)
    assert actions(decisions) == [(C, "copy"), (A, "obsolete"), (B, "obsolete")]
    assert decisions[1].text == f"Remote backup main/{A} is obsolete for local retention policies."
    assert len(plan_backups(theirs(A, B, C), local(), replace(KEEP_ONE, minimum_redundancy=2))) == 3
    wanted = plan_backups(theirs(A, B, C), local(), replace(KEEP_ONE, minimum_redundancy=2))
    assert [item.backup_id for item in wanted if item.action == "copy"] == [B, C]


def test_a_window_keeps_the_backup_that_it_begins_with():
    rules = LocalRules(parse("RECOVERY WINDOW OF 17 DAYS"), 0, NOW)
    decisions = plan_backups(theirs(A, B, C, D), local(), rules)
    assert [item.backup_id for item in decisions if item.action == "copy"] == [B, C, D]


def test_local_backups_that_the_primary_has_no_more_count():
    primary = theirs(A, B)
    assert decide_backup(primary, local(make_info(E)), B, KEEP_ONE).action == Action.OBSOLETE
    assert decide_backup(primary, local(make_info(E, status="FAILED")), B, KEEP_ONE).action == Action.COPY


def test_a_copy_that_waits_for_its_wal_makes_older_backups_obsolete_all_the_same():
    """Else each cron run would fetch one more old backup until the WAL of the newest has come."""
    primary = theirs(A, B)
    waiting = copied(primary, B, status="WAITING_FOR_WALS")
    assert decide_backup(primary, local(waiting), A, KEEP_ONE).action == Action.OBSOLETE


def test_what_is_kept_on_either_side_is_not_obsolete():
    assert decide_backup(theirs(A, B), local(keep={A: "full"}), A, KEEP_ONE).action == Action.COPY
    assert decide_backup(theirs(A, B, keep={A: "standalone"}), local(), A, KEEP_ONE).action == Action.COPY


def test_the_children_of_an_obsolete_backup_are_obsolete():
    decisions = plan_backups(theirs(A, (B, A), C), local(), KEEP_ONE)
    assert actions(decisions) == [(C, "copy"), (A, "obsolete"), (B, "obsolete")]


# --- parents


def test_a_child_waits_for_its_parent():
    decisions = plan_backups(theirs(A, (B, A), (C, B)), local())
    assert [(item.backup_id, item.action, item.after) for item in decisions] == [
        (A, "copy", None), (B, "copy", A), (C, "copy", B),
    ]  # fmt: skip


def test_a_child_whose_parent_is_here_can_be_copied():
    primary = theirs(A, (B, A))
    assert decide_backup(primary, local(copied(primary, A)), B).after is None
    # Here, though the primary has deleted it: the chain is whole on this side.
    orphan = theirs((B, A))
    assert decide_backup(orphan, local(make_info(A)), B) == decide_backup(primary, local(copied(primary, A)), B)


@pytest.mark.parametrize("parent", [A, B, E])
def test_a_child_whose_parent_is_nowhere_is_passed_over(parent):
    """E is of the future, B its own parent: whatever a record says, nobody waits for ever."""
    decisions = plan_backups(theirs((B, parent), C), local())
    assert actions(decisions) == [(C, "copy"), (B, "parent-missing")]
    assert parent in decisions[1].text


def test_a_chain_whose_root_is_missing_is_passed_over_to_its_last_member():
    primary = theirs((B, A), (C, B), D)
    assert actions(plan_backups(primary, local())) == [(D, "copy"), (B, "parent-missing"), (C, "parent-missing")]


def test_backups_that_are_each_others_parents_are_passed_over():
    assert {item.action for item in plan_backups(theirs((A, B), (B, A)), local())} == {"parent-missing"}


def test_a_parent_with_a_later_id_comes_first_all_the_same():
    """Clocks can go back."""
    assert actions(plan_backups(theirs((A, B), B), local())) == [(B, "copy"), (A, "copy")]


# --- what failed before


def test_a_backup_that_always_fails_holds_up_no_other():
    primary = theirs(A, B, C)
    here = local(copied(primary, A, status="FAILED", mode="passive"))
    assert actions(plan_backups(primary, here)) == [(B, "copy"), (C, "copy"), (A, "copy")]


def test_the_children_of_what_failed_come_after_it():
    primary = theirs(A, (B, A), C, (D, C))
    here = local(copied(primary, A, status="FAILED", mode="passive"))
    assert [item.backup_id for item in plan_backups(primary, here)] == [C, D, A, B]


def test_a_chain_of_thousands_is_ordered_too():
    ids = [f"2026{1000 + number:04d}T000000" for number in range(1200)]
    chain = info(*(record(i, parent_backup_id=ids[n - 1] if n else None) for n, i in enumerate(ids)))
    assert [item.backup_id for item in plan_backups(chain, local())] == ids


# --- conflicts


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"systemid": "1"}, "systemid"),
        ({"timeline": 2}, "timeline"),
        ({"begin_time": datetime(2026, 11, 1, 0, 0, 5, tzinfo=timezone.utc)}, "begin_time"),
        ({"end_xlog": None}, ""),
        ({"systemid": None}, ""),
        ({"begin_time": datetime(2026, 11, 1, 0, 0, 0, 999, tzinfo=timezone.utc)}, ""),
    ],
)
def test_another_backup_with_the_same_id_is_told_and_left_alone(change, word):
    primary = theirs(A)
    decision = decide_backup(primary, local(copied(primary, A, **change)), A)
    assert decision.action == (Action.CONFLICT if word else Action.PRESENT)
    if word:
        assert f"is another backup on the primary: {word} is" in decision.text


def test_a_backup_whose_local_record_cannot_be_read_is_not_copied_over():
    from barman.errors import CorruptRecord

    decision = decide_backup(theirs(A), local(corrupt={A: CorruptRecord("torn")}), A)
    assert (decision.action, "cannot be read" in decision.text) == (Action.CONFLICT, True)


def test_the_children_of_a_parent_are_those_of_both_sides():
    """N5: a list that follows the primary alone forgets a child that is kept here only."""
    primary = info(record(A, children_backup_ids=f"{B},{C}"))
    here = local(make_info(A), make_info(C, parent_backup_id=A), make_info(D, parent_backup_id=A), make_info(E))
    assert merged_children(A, primary, here) == (B, C, D)
    assert merged_children(A, theirs(), here) == (C, D)


# --- WAL


def names(wals):
    return [file.name for file in wals]


def test_wal_is_copied_by_set_difference_histories_first():
    listed = [wal(segment(6)), wal("00000003.history"), wal(segment(5)), wal(segment(7, 2)), wal(segment(4))]
    primary = info(record(A), wals=listed, last_name="")
    assert names(plan_wals(primary, {segment(5)})) == ["00000003.history", segment(4), segment(6), segment(7, 2)]


def test_a_file_that_came_late_on_an_old_timeline_is_copied():
    primary = info(wals=[wal(segment(9, 2))], late_wals=[wal(segment(8)), wal("00000002.history")])
    assert names(plan_wals(primary, {segment(9, 2)})) == ["00000002.history", segment(8)]


def test_a_partial_segment_is_copied_only_where_the_whole_one_is_nowhere():
    partials = [wal(f"{segment(number)}.partial") for number in (4, 5, 6)]
    primary = info(wals=[*partials, wal(segment(4))], last_name="")
    assert names(plan_wals(primary, {segment(5)})) == [segment(4), f"{segment(6)}.partial"]


def test_what_no_local_backup_needs_is_not_fetched_again_and_again():
    primary = info(wals=[wal(segment(number)) for number in range(3, 9)])
    here = local(make_info(B, begin=5))
    assert names(plan_wals(primary, (), here)) == [segment(number) for number in range(5, 9)]
    assert len(plan_wals(primary, (), local())) == 6, "no backup yet: nothing is known of what will be needed"
    syncing = local(make_info(A, begin=4, status="SYNCING"), make_info(B, begin=5))
    assert names(plan_wals(primary, (), syncing))[0] == segment(4)


def test_a_position_speaks_for_the_backups_whose_wal_was_planned():
    here = local(make_info(A), make_info(B, status="FAILED"), make_info(C, status="SYNCING"))
    assert covered_backups(here) == {A, C}
