"""Which backups claim to be DONE and cannot be restored: by the directories, for every place of a hole."""

import os
from pathlib import Path

import pytest

from barman.catalog.catalog import Catalog
from barman.errors import CatalogError
from barman.postgres.wal_name import HistoryName
from barman.wal.restorable import judged
from tests.support.catalog_builder import add_backup, make_catalog, make_info, write
from tests.support.needs import ordinary_permissions
from tests.unit.backup.support import SEGMENT, segment

A, B = "20260101T000000", "20260102T000000"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = make_catalog(str(tmp_path))
    add_backup(catalog, A, begin=2, end=5, xlog_segment_size=SEGMENT, tablespaces=())
    for number in range(2, 6):
        write(catalog.layout.wal_path(segment(number)), "")
    return catalog


def broken(catalog: Catalog) -> dict[str, str]:
    return {str(backup_id): reason for backup_id, reason in judged(catalog, catalog.snapshot()).unrestorable.items()}


@pytest.mark.parametrize("missing", [2, 3, 5])
def test_a_hole_anywhere_from_begin_to_end_is_named(catalog: Catalog, missing: int) -> None:
    assert broken(catalog) == {}
    os.unlink(catalog.layout.wal_path(segment(missing)))
    assert broken(catalog) == {A: f"WAL segment {segment(missing)}, without which it is not consistent, is missing"}
    view = judged(catalog, catalog.snapshot())
    assert (view.redundancy(), catalog.snapshot().redundancy()) == (0, 1)


def test_wal_beyond_the_backup_is_no_part_of_it(catalog: Catalog) -> None:
    write(catalog.layout.wal_path(segment(9)), "")
    assert broken(catalog) == {}


def test_the_segment_of_a_promotion_counts_under_its_new_name(catalog: Catalog) -> None:
    os.rename(catalog.layout.wal_path(segment(5)), catalog.layout.wal_path(segment(5)) + ".partial")
    assert list(broken(catalog)) == [A]
    write(catalog.layout.wal_path(segment(5, timeline=2)), "")
    position = 5 * SEGMENT + 4096
    write(os.path.join(catalog.layout.wals_directory, HistoryName(2).name), f"1\t0/{position:X}\tno recovery target\n")
    assert broken(catalog) == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"begin_wal": None}, "its record does not say which WAL it needs"),
        ({"end_wal": segment(5, timeline=2)}, "it begins on another timeline"),
    ],
)
def test_a_record_that_makes_no_sense_is_no_good_backup(
    catalog: Catalog, changes: dict[str, object], reason: str
) -> None:
    add_backup(catalog, B, **{"begin": 2, "end": 5, "xlog_segment_size": SEGMENT, "tablespaces": (), **changes})
    assert reason in broken(catalog)[B]
    assert A not in broken(catalog)


def test_what_is_not_done_is_not_judged(catalog: Catalog) -> None:
    for status in ("FAILED", "WAITING_FOR_WALS", "STARTED"):
        catalog.backups.save(make_info(B, status=status, begin=90, end=91))
        assert B not in broken(catalog)


def test_a_deletion_that_has_begun_and_data_that_are_gone_are_told(catalog: Catalog) -> None:
    catalog.backups.save(make_info(B, begin=2, end=5, xlog_segment_size=SEGMENT))
    catalog.backups.mark_deleting(A)
    assert broken(catalog) == {A: "its deletion has begun", B: "its data are gone"}


def test_an_archive_that_cannot_be_read_is_an_error_and_never_a_hole(catalog: Catalog) -> None:
    for path in (catalog.layout.wals_directory, catalog.layout.hash_directory(segment(2))):
        os.chmod(path, 0)
        try:
            with ordinary_permissions(), pytest.raises(CatalogError, match="cannot read the WAL archive"):
                broken(catalog)
        finally:
            os.chmod(path, 0o700)
        assert broken(catalog) == {}
