"""What a backup takes on disk, and whether it is what its manifest says."""

import os
from pathlib import Path

import pytest

from barman.backup.inventory import check_against_manifest, take_inventory
from barman.errors import BackupError
from barman.fs.tree import measure
from tests.support.catalog_builder import write


@pytest.fixture
def backup(tmp_path: Path) -> str:
    root = str(tmp_path / "20260101T000000")
    write(os.path.join(root, "data", "PG_VERSION"), "15\n")
    write(os.path.join(root, "data", "base", "1", "2619"), "x" * 8192)
    write(os.path.join(root, "16390", "PG_15_202209061", "5", "1"), "y" * 100)
    os.makedirs(os.path.join(root, "data", "pg_tblspc"))
    os.symlink(os.path.join(root, "16390"), os.path.join(root, "data", "pg_tblspc", "16390"))
    return root


MANIFEST = {"PG_VERSION": 3, "base/1/2619": 8192, "pg_tblspc/16390/PG_15_202209061/5/1": 100}
OIDS = frozenset({"16390"})


def test_every_file_is_counted_once_and_links_are_not(backup: str) -> None:
    inventory = take_inventory(backup)
    assert inventory.size == inventory.deduplicated_size == 8295
    assert set(inventory.files) == {"data/PG_VERSION", "data/base/1/2619", "16390/PG_15_202209061/5/1"}


def test_hard_linked_files_count_in_the_size_alone(backup: str, tmp_path: Path) -> None:
    os.link(os.path.join(backup, "data", "base", "1", "2619"), tmp_path / "previous")
    inventory = take_inventory(backup)
    assert (inventory.size, inventory.deduplicated_size) == (8295, 103)
    sizes = measure(backup)
    assert (sizes.size, sizes.deduplicated_size) == (inventory.size, inventory.deduplicated_size)


def test_a_complete_backup_agrees_with_its_manifest(backup: str) -> None:
    check_against_manifest(take_inventory(backup).files, MANIFEST, OIDS)


@pytest.mark.parametrize("path", ["data/base/1/2619", "16390/PG_15_202209061/5/1"])
def test_a_file_that_is_missing_or_short_is_named(backup: str, path: str) -> None:
    write(os.path.join(backup, path), "z")
    with pytest.raises(BackupError, match=r"1 of 3 files .* \(1 bytes instead of"):
        check_against_manifest(take_inventory(backup).files, MANIFEST, OIDS)
    os.unlink(os.path.join(backup, path))
    with pytest.raises(BackupError, match=r"\(missing\)"):
        check_against_manifest(take_inventory(backup).files, MANIFEST, OIDS)
