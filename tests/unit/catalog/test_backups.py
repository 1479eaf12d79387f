"""BackupStore on real directories."""

import os

import pytest

from barman.catalog.backups import BackupStore
from barman.errors import CatalogError, UnknownBackup
from barman.values import replace
from tests.support.catalog_builder import (
    UPSTREAM_RECORD,
    add_backup,
    add_data,
    add_upstream_backup,
    make_catalog,
    make_info,
    read,
    write,
)

A, B, C = "20260101T120000", "20260102T120000", "20260103T120000"


@pytest.fixture(name="catalog")
def fixture_catalog(tmp_path):
    return make_catalog(str(tmp_path))


def test_a_saved_record_is_read_again_and_has_a_copy_beside_the_data(catalog):
    info = add_backup(catalog, A)
    assert catalog.backups.read(A) == info
    assert catalog.backups.list() == ({A: info}, {})
    assert read(catalog.layout.legacy_backup_info(A)) == read(catalog.layout.backup_info(A))


def test_a_backup_without_directory_gets_no_copy(catalog):
    catalog.backups.save(make_info(A))
    assert os.listdir(catalog.layout.meta_directory) == [f"{A}-backup.info"]
    assert os.listdir(catalog.layout.basebackups_directory) == []


def test_saving_brings_a_missing_meta_directory_back(catalog):
    os.rmdir(catalog.layout.meta_directory)
    catalog.backups.save(make_info(A))
    assert catalog.backups.read(A).backup_id == A


def test_saving_leaves_no_temporary_file(catalog):
    add_backup(catalog, A)
    found = [name for _, _, files in os.walk(catalog.layout.backup_directory) for name in files if name.endswith("tmp")]
    assert found == []


def test_the_record_in_meta_wins_over_the_one_in_base(catalog):
    add_upstream_backup(catalog.layout, A, legacy=True, status="STARTED")
    add_upstream_backup(catalog.layout, A, status="DONE")
    assert catalog.backups.read(A).status == "DONE"
    assert [info.status for info in catalog.backups.list()[0].values()] == ["DONE"]


def test_a_stale_copy_left_by_a_crash_is_not_preferred_and_is_mended_by_the_next_save(catalog):
    info = add_backup(catalog, A, status="STARTED")
    done = replace(info, status="DONE")
    write(catalog.layout.backup_info(A), UPSTREAM_RECORD)  # a crash came before the copy was written
    assert BackupStore(catalog.layout).read(A).status == "DONE"
    catalog.backups.save(done)
    assert "status=DONE" in read(catalog.layout.legacy_backup_info(A))


def test_a_record_that_exists_only_in_the_old_place_is_read_and_saved_in_the_new(catalog):
    add_upstream_backup(catalog.layout, A, legacy=True)
    records, damaged = catalog.backups.list()
    assert (list(records), damaged) == ([A], {})
    catalog.backups.save(replace(records[A], status="FAILED"))
    assert catalog.backups.list()[0][A].status == "FAILED"
    assert os.path.exists(catalog.layout.backup_info(A))


def test_records_are_listed_by_ascending_id(catalog):
    for backup_id in (B, A, C):
        add_backup(catalog, backup_id)
    assert list(catalog.backups.list()[0]) == [A, B, C]


def test_an_unreadable_record_takes_no_other_one_down(catalog):
    add_backup(catalog, A)
    write(catalog.layout.backup_info(B), b"\xff\xfe\x00")
    write(catalog.layout.backup_info(C), "status=DONE\nsize=big\n")
    os.mkdir(os.path.join(catalog.layout.meta_directory, "20260104T120000-backup.info"))
    write(os.path.join(catalog.layout.meta_directory, "strange-backup.info"), "status=DONE\n")
    records, damaged = catalog.backups.list()
    assert list(records) == [A]
    assert sorted(damaged) == [B, C, "20260104T120000", "strange"]
    assert catalog.layout.backup_info(C) + " line 2" in damaged[C].message


def test_a_record_that_links_into_nowhere_is_absent_and_not_an_error(catalog):
    os.symlink("/nowhere", catalog.layout.backup_info(A))
    assert catalog.backups.list() == ({}, {})


def test_a_pipe_in_the_place_of_a_record_does_not_hang_the_catalog(catalog):
    os.mkfifo(catalog.layout.backup_info(A))
    assert list(catalog.backups.list()[1]) == [A]


def test_a_huge_record_is_not_read_into_memory(catalog):
    write(catalog.layout.backup_info(A), "status=DONE\n")
    os.truncate(catalog.layout.backup_info(A), 1 << 40)
    assert "bytes" in catalog.backups.list()[1][A].message


def test_an_empty_record_without_data_has_not_begun(catalog):
    write(catalog.layout.backup_info(A), "")
    assert catalog.backups.read(A).status == "EMPTY"


def test_an_empty_record_of_a_backup_with_data_is_damage_and_not_an_empty_backup(catalog):
    write(catalog.layout.backup_info(A), "")
    add_data(catalog.layout, A)
    records, damaged = catalog.backups.list()
    assert (records, list(damaged)) == ({}, [A])
    assert damaged[A].hint == ""
    write(catalog.layout.legacy_backup_info(A), UPSTREAM_RECORD)
    assert catalog.layout.legacy_backup_info(A) in catalog.backups.list()[1][A].hint


def test_other_files_of_meta_are_no_records(catalog):
    for name in (
        f"{A}-keep",
        f"{A}-backup.info.tmp",
        f".{A}-backup.info.77.tmp",
        f".{A}.deleting",
        ".wal-index",
        ".x-backup.info",
    ):
        write(os.path.join(catalog.layout.meta_directory, name), "x")
    os.mkdir(os.path.join(catalog.layout.basebackups_directory, ".import-x"))
    assert catalog.backups.list() == ({}, {})


def test_a_missing_server_directory_is_an_empty_catalog(tmp_path):
    assert make_catalog(str(tmp_path)).layout.server_name == "main"
    assert BackupStore(make_catalog(str(tmp_path), "other").layout).list() == ({}, {})
    with pytest.raises(UnknownBackup):
        BackupStore(make_catalog(str(tmp_path)).layout).read(A)


@pytest.mark.parametrize("backup_id", ["../../etc/passwd", "", "latest", A + "/"])
def test_what_is_no_id_never_becomes_a_path(catalog, backup_id):
    with pytest.raises(UnknownBackup):
        catalog.backups.read(backup_id)
    with pytest.raises(CatalogError, match="not a backup id"):
        catalog.backups.save(replace(make_info(A), backup_id=backup_id))


def test_a_record_without_mode_gets_the_configured_one(catalog):
    write(catalog.layout.backup_info(A), "status=DONE\n")
    assert BackupStore(catalog.layout, mode="postgres").read(A).mode == "postgres"
    assert BackupStore(catalog.layout).read(A).mode is None


def test_listing_sees_what_others_changed_since(catalog):
    add_backup(catalog, A, status="STARTED")
    assert catalog.backups.list()[0][A].status == "STARTED"
    other = BackupStore(catalog.layout)
    other.save(replace(other.read(A), status="DONE"))
    assert catalog.backups.list()[0][A].status == "DONE"
    assert catalog.backups.list()[0][A] is catalog.backups.list()[0][A]
    other.remove_record(A)
    assert catalog.backups.list() == ({}, {})


def test_a_removed_record_does_not_come_back_to_life_from_its_copy(catalog):
    add_backup(catalog, A)
    catalog.backups.remove_record(A)
    assert catalog.backups.list() == ({}, {})
    assert not os.path.exists(catalog.layout.legacy_backup_info(A))
    catalog.backups.remove_record(A)


def test_deletions_that_have_begun_are_found_even_without_a_record(catalog):
    catalog.backups.mark_deleting(A)
    write(catalog.layout.upstream_delete_marker(B), "delete")
    write(os.path.join(catalog.layout.meta_directory, ".nonsense.deleting"), "")
    assert catalog.backups.find_deleting() == ({A}, {B})
    catalog.backups.clear_deleting(A)
    catalog.backups.clear_deleting(B)
    assert os.listdir(catalog.layout.meta_directory) == [".nonsense.deleting"]


def test_orphans_are_records_whose_data_are_gone(catalog):
    add_backup(catalog, A)
    catalog.backups.save(make_info(B))
    write(catalog.layout.legacy_backup_info(C), UPSTREAM_RECORD)
    catalog.backups.save(make_info("20260104T120000", status="EMPTY"))
    assert catalog.backups.find_orphans(catalog.backups.list()[0].values()) == [B, C]


def test_the_old_layout_with_pgdata_is_no_orphan(catalog):
    os.makedirs(os.path.join(catalog.layout.backup_directory_of(A), "pgdata"))
    catalog.backups.save(make_info(A))
    assert catalog.backups.find_orphans(catalog.backups.list()[0].values()) == []
    assert catalog.layout.data_directory(A).endswith(f"{A}/pgdata")
    assert catalog.layout.tablespace_directory(A, 16390).endswith(f"{A}/pgdata/pg_tblspc/16390")


def test_strays_are_data_without_a_record(catalog):
    add_backup(catalog, A)
    add_data(catalog.layout, B)
    os.mkdir(catalog.layout.backup_directory_of(C))
    os.mkdir(os.path.join(catalog.layout.basebackups_directory, "lost+found"))
    assert catalog.backups.find_strays(catalog.backups.list()[0]) == [B]
