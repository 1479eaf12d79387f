"""Keep annotations."""

import os

import pytest

from barman.catalog.keep import require_keepable
from barman.errors import CatalogError
from tests.support.catalog_builder import add_backup, make_catalog, make_info, read, write

A, B, C = "20260101T120000", "20260102T120000", "20260103T120000"


@pytest.fixture(name="catalog")
def fixture_catalog(tmp_path):
    return make_catalog(str(tmp_path))


def test_a_backup_is_kept_and_released(catalog):
    assert catalog.keep.get(A) is None
    catalog.keep.set(A, "standalone")
    assert catalog.keep.get(A) == "standalone"
    assert read(catalog.layout.keep(A)) == "standalone"
    catalog.keep.set(A, "full")
    assert catalog.keep.get(A) == "full"
    catalog.keep.release(A)
    catalog.keep.release(A)
    assert catalog.keep.get(A) is None


@pytest.mark.parametrize(
    ("content", "target"), [("", "full"), ("standalone\n", "standalone"), ("other", "full"), (b"\xff", "full")]
)
def test_existence_alone_keeps_and_only_one_word_weakens(catalog, content, target):
    write(catalog.layout.keep(A), content)
    assert catalog.keep.get(A) == target
    assert catalog.keep.list([A, B]) == {A: target}


def test_a_file_that_cannot_be_read_keeps(catalog):
    os.symlink("/nowhere", catalog.layout.keep(A))
    os.mkdir(catalog.layout.keep(B))
    assert catalog.keep.list([A, B, C]) == {A: "full", B: "full"}
    assert catalog.keep.get(A) == "full"


def test_the_old_place_counts_and_is_moved_to_the_new_one(catalog):
    add_backup(catalog, A)
    write(catalog.layout.legacy_keep(A), "standalone")
    assert catalog.keep.list([A]) == {A: "standalone"}
    assert os.path.exists(catalog.layout.legacy_keep(A)), "listing changes nothing"
    assert catalog.keep.get(A) == "standalone"
    assert read(catalog.layout.keep(A)) == "standalone"
    assert not os.path.exists(catalog.layout.legacy_keep(A))


def test_an_old_annotation_that_cannot_be_moved_counts_all_the_same(catalog):
    write(catalog.layout.legacy_keep(A), "standalone")
    os.rmdir(catalog.layout.meta_directory)
    write(catalog.layout.meta_directory, "in the way")
    assert catalog.keep.get(A) == "standalone"


def test_without_meta_directory_nothing_is_kept(catalog):
    os.rmdir(catalog.layout.meta_directory)
    assert catalog.keep.list([A]) == {}


def test_the_new_place_wins_and_release_forgets_both(catalog):
    write(catalog.layout.legacy_keep(A), "standalone")
    write(catalog.layout.keep(A), "full")
    assert catalog.keep.get(A) == "full"
    assert catalog.keep.list([A]) == {A: "full"}
    catalog.keep.release(A)
    assert catalog.keep.get(A) is None


def test_setting_replaces_an_annotation_in_the_old_place(catalog):
    write(catalog.layout.legacy_keep(A), "full")
    catalog.keep.set(A, "standalone")
    assert catalog.keep.list([A]) == {A: "standalone"}
    assert not os.path.exists(catalog.layout.legacy_keep(A))


def test_another_target_is_refused(catalog):
    with pytest.raises(ValueError, match="'forever'"):
        catalog.keep.set(A, "forever")


def test_only_backups_that_are_done_and_restorable_alone_may_be_kept():
    require_keepable(make_info(A))
    with pytest.raises(CatalogError) as caught:
        require_keepable(make_info(A, status="FAILED"))
    assert caught.value.message == (
        f"Cannot add keep to backup {A} because it has status FAILED. Only backups with status DONE can be kept."
    )
    with pytest.raises(CatalogError, match="incremental"):
        require_keepable(make_info(B, parent_backup_id=A))
