"""What a deletion would remove, and why it may not."""

from barman.backup.delete_plan import plan_deletion
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.catalog.view import CatalogView
from barman.errors import CorruptRecord
from barman.values import replace
from tests.support.catalog_builder import make_info

A, B, C = (BackupId(f"2026010{day}T000000") for day in (1, 2, 3))


def view(*infos: BackupInfo, keep: dict[BackupId, str] | None = None, corrupt: str = "") -> CatalogView:
    damaged = {BackupId(corrupt): CorruptRecord("meta/x: line 3 is bad")} if corrupt else {}
    return CatalogView({info.backup_id: info for info in infos}, keep or {}, damaged, "main")


def test_a_backup_alone_is_deleted_alone() -> None:
    plan = plan_deletion(view(make_info(A), make_info(B)), A, 0)
    assert (plan.backups, plan.refusals, plan.warnings) == ((A,), (), ())


def test_incrementals_go_before_what_they_depend_on_and_are_announced() -> None:
    chain = view(make_info(A), make_info(B, parent_backup_id=A), make_info(C, parent_backup_id=B))
    plan = plan_deletion(chain, A, 0)
    assert plan.backups == (C, B, A)
    assert plan.warnings == (
        f"Backup {A} has incremental backups which depend on it. Deleting all backups in the tree",
    )


def test_a_kept_backup_is_refused_naming_the_way_out() -> None:
    plan = plan_deletion(view(make_info(A), keep={A: "standalone"}), A, 0)
    (reason,) = plan.refusals
    assert A in reason
    assert "standalone" in reason
    assert f"barman keep --release main {A}" in reason


def test_a_kept_incremental_protects_what_it_depends_on() -> None:
    plan = plan_deletion(view(make_info(A), make_info(B, parent_backup_id=A), keep={B: "full"}), A, 0)
    assert B in plan.refusals[0]


def test_minimum_redundancy_is_never_undercut() -> None:
    both = view(make_info(A), make_info(B))
    assert not plan_deletion(both, A, 1).refusals
    (reason,) = plan_deletion(both, A, 2).refusals
    assert "requires 2 backups, 2 are present" in reason


def test_minimum_redundancy_counts_only_what_can_be_restored_alone() -> None:
    backups = view(make_info(A), make_info(B, parent_backup_id=A), make_info(C, status=BackupStatus.WAITING_FOR_WALS))
    assert plan_deletion(backups, A, 1).refusals
    assert not plan_deletion(backups, B, 1).refusals
    assert not plan_deletion(backups, C, 1).refusals


def test_the_last_backup_goes_when_an_operator_asks_and_never_by_policy() -> None:
    last = view(make_info(A), make_info(B, status=BackupStatus.FAILED))
    assert not plan_deletion(last, A, 0).refusals
    (reason,) = plan_deletion(last, A, 0, by_policy=True).refusals
    assert "last backup that can be restored" in reason


def test_nothing_is_deleted_while_the_record_of_another_backup_cannot_be_read() -> None:
    (reason,) = plan_deletion(view(make_info(A), corrupt=B), A, 0).refusals
    assert "line 3 is bad" in reason


def test_the_backup_whose_record_cannot_be_read_can_itself_be_deleted() -> None:
    plan = plan_deletion(view(make_info(A), make_info(C, parent_backup_id=B), corrupt=B), B, 0)
    assert (plan.backups, plan.refusals) == ((C, B), ())


def test_all_reasons_are_told_at_once() -> None:
    plan = plan_deletion(view(make_info(A), keep={A: "full"}, corrupt=B), A, 1)
    assert len(plan.refusals) == 3


def test_neither_records_nor_what_can_be_restored_may_fall_below_the_minimum() -> None:
    backups = view(make_info(A), make_info(B), make_info(C))
    broken = replace(backups, unrestorable={C: "a hole"})
    assert plan_deletion(broken, A, 2).refusals
    assert not plan_deletion(broken, C, 2).refusals
    assert not plan_deletion(broken, A, 1).refusals
    nothing_there = replace(backups, unrestorable={A: "a hole", B: "a hole", C: "a hole"})
    assert plan_deletion(nothing_there, A, 3).refusals
    (reason,) = plan_deletion(replace(backups, unrestorable={B: "", C: ""}), A, 0, by_policy=True).refusals
    assert "the last backup that can be restored" in reason
