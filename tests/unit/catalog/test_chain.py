"""Chains of incremental backups."""

import pytest

from barman.catalog.chain import children, descendants, find_root, leaves_first, walk_to_root
from barman.catalog.view import CatalogView
from barman.errors import CatalogError, CorruptRecord
from barman.values import replace
from tests.support.catalog_builder import make_info

ROOT, A, B, C, D = (f"2026010{day}T120000" for day in range(1, 6))


def view_of(*infos, **others):
    return CatalogView({info.backup_id: info for info in infos}, **others)


def child(backup_id, parent, *listed):
    return make_info(backup_id, parent_backup_id=parent, children_backup_ids=listed)


# ROOT ── A ── C
#      └─ B ── D
TREE = view_of(
    make_info(ROOT, children_backup_ids=(B, A)), child(A, ROOT, C), child(B, ROOT, D), child(C, A), child(D, B)
)


def ids(infos):
    return [info.backup_id for info in infos]


def test_a_backup_leads_to_its_root():
    assert ids(walk_to_root(TREE.backups[C], TREE)) == [C, A, ROOT]
    assert ids(walk_to_root(TREE.backups[ROOT], TREE)) == [ROOT]


def test_a_tree_is_deleted_leaves_first_in_the_order_of_the_lists():
    assert ids(leaves_first(TREE.backups[ROOT], TREE)) == [D, B, C, A, ROOT]
    assert ids(leaves_first(TREE.backups[A], TREE)) == [C, A]


def test_descendants_come_after_their_parents():
    found = ids(descendants(TREE.backups[ROOT], TREE))
    assert sorted(found) == [A, B, C, D]
    assert found.index(A) < found.index(C)
    assert found.index(B) < found.index(D)
    assert descendants(TREE.backups[D], TREE) == ()


def test_a_child_that_its_parent_does_not_list_is_a_child_all_the_same():
    view = view_of(make_info(ROOT, children_backup_ids=(B,)), child(A, ROOT), child(B, ROOT))
    assert ids(children(view.backups[ROOT], view)) == [B, A]
    assert ids(leaves_first(view.backups[ROOT], view)) == [B, A, ROOT]


def test_a_listed_child_that_is_gone_or_has_another_parent_is_none():
    view = view_of(make_info(ROOT, children_backup_ids=(A, B, D, D)), child(B, A), child(D, ROOT))
    assert ids(children(view.backups[ROOT], view)) == [D]


def test_a_missing_parent_is_an_error_and_never_taken_for_no_parent():
    view = view_of(child(C, A))
    with pytest.raises(CatalogError, match=f"{C} needs its parent {A}"):
        walk_to_root(view.backups[C], view)
    assert find_root(view.backups[C], view) is None


def test_an_unreadable_parent_gives_its_own_error():
    view = view_of(child(C, A), corrupt={A: CorruptRecord("meta/a line 1")})
    with pytest.raises(CorruptRecord, match="meta/a"):
        walk_to_root(view.backups[C], view)


def test_a_circle_ends_in_an_error_and_not_in_an_endless_loop():
    view = view_of(child(A, B, B), child(B, A, A))
    with pytest.raises(CatalogError, match="its own ancestor"):
        walk_to_root(view.backups[A], view)
    assert ids(leaves_first(view.backups[A], view)) == [B, A]
    itself = child(C, C)
    assert ids(leaves_first(itself, view_of(itself))) == [C]


def test_a_chain_of_thousands_does_not_exhaust_the_stack():
    names = [f"{20000101 + number:08d}T000000" for number in range(3000)]
    infos = [make_info(ROOT)]
    base = infos[0]
    for parent, name in zip([ROOT, *names], names, strict=False):
        infos.append(replace(base, backup_id=name, parent_backup_id=parent))
    view = view_of(*infos)
    assert len(leaves_first(infos[0], view)) == 3001
