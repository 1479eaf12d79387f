"""The judge of crash tests must see each kind of damage."""

import os
import shutil

import pytest

from tests.support.catalog_builder import add_backup, add_chain, make_catalog, write
from tests.support.invariants import Expectations, check_invariants, violations

A, B, C = "20260101T120000", "20260102T120000", "20260103T120000"
WAL = "000000010000000000000004"


@pytest.fixture(name="catalog")
def fixture_catalog(tmp_path):
    catalog = make_catalog(str(tmp_path))
    add_backup(catalog, A)
    add_chain(catalog, B, C)
    write(catalog.layout.wal_path(WAL), b"wal")
    write(catalog.layout.xlogdb, f"{WAL}\t3\t1700000000.0\tNone\tNone\n")
    return catalog


def found(catalog, **expected):
    return "\n".join(violations(catalog.layout, Expectations(**expected)))


def test_a_sound_catalog_passes(catalog):
    check_invariants(catalog.layout, Expectations(backups=(A, B, C), wals=(WAL,), segment_size=3))


def test_each_kind_of_damage_is_named(catalog):
    layout = catalog.layout
    write(layout.backup_info("20260104T120000"), "rubbish")
    write(layout.legacy_backup_info(A), "status=STARTED\n")
    write(layout.delete_marker(A), "")
    shutil.rmtree(layout.data_directory(B))
    write(layout.keep("20260105T120000"), "full")
    write(os.path.join(layout.wals_directory, "000000010000000000000009"), b"")
    write(layout.xlogdb, f"{WAL}\t3\n{WAL}\t3\t1.0\tNone\tNone\n{'0' * 24}\t3\t1.0\tNone\tNone\ntorn")
    write(os.path.join(layout.meta_directory, ".x.4711.tmp"), "")
    text = found(catalog, backups=(A, "20260106T120000"), wals=("000000010000000000000005",), absent_backups=(A,))
    for part in (
        "unreadable record",
        "stale copy of a record",
        "is being deleted and still called good",
        f"{B} (DONE) has no data",
        "keep annotation without a backup",
        "archived in the wrong place",
        "archived file of 0 bytes",
        "damaged line",
        f"twice in the WAL index: {WAL}",
        f"in the WAL index and not archived: {'0' * 24}",
        "archived and not in the WAL index: 000000010000000000000009",
        "torn last line",
        ".x.4711.tmp",
        ".deleting",
        "good backup 20260106T120000 is lost",
        "archived WAL is lost: 000000010000000000000005",
        f"deleted backup {A} has a record",
        f"deleted backup {A} has a directory",
    ):
        assert part in text
    with pytest.raises(AssertionError, match="the catalog is broken"):
        check_invariants(layout)


def test_missing_wal_and_a_lost_parent_are_named(catalog):
    os.unlink(catalog.layout.wal_path(WAL))
    catalog.backups.remove_record(B)
    text = found(catalog, indexed=False)
    assert f"backup {A} (DONE) needs WAL that is not archived: {WAL}" in text
    assert f"backup {C} (DONE) has lost its parent {B}" in text
