"""Helpers of the view."""

from barman.catalog.view import CatalogView
from tests.support.catalog_builder import make_info

A, B, C, D = (f"2026010{day}T120000" for day in range(1, 5))
VIEW = CatalogView(
    {
        D: make_info(D, status="FAILED"),
        A: make_info(A),
        C: make_info(C, status="WAITING_FOR_WALS"),
        B: make_info(B, parent_backup_id=A),
    }
)


def test_neighbours_are_the_nearest_backups_whose_data_are_complete():
    assert VIEW.previous(C) is VIEW.backups[B]
    assert VIEW.previous(A) is None
    assert VIEW.next(A) is VIEW.backups[B]
    assert VIEW.next(C) is None
    assert VIEW.next(C, ("FAILED",)) is VIEW.backups[D]
    assert VIEW.previous("20260102T130000") is VIEW.backups[B]


def test_latest_and_oldest_have_complete_data():
    assert VIEW.latest() is VIEW.backups[C]
    assert VIEW.oldest() is VIEW.backups[A]
    assert CatalogView({}).latest() is None
    assert CatalogView({}).oldest() is None


def test_lists_are_sorted_and_redundancy_counts_what_can_be_restored_alone():
    assert VIEW.ids == [A, B, C, D]
    assert [info.backup_id for info in VIEW.copy_done] == [A, B, C]
    assert [info.backup_id for info in VIEW.done] == [A, B]
    assert VIEW.redundancy() == 1
