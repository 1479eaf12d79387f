"""delete, check-backup and retention through the command line, on backups of a real server."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from barman.catalog.backup_info import BackupInfo
from barman.catalog.catalog import Catalog
from tests.support.catalog_builder import make_layout
from tests.support.fix_postgres import BarmanHome, Cluster
from tests.support.invariants import Expectations, check_invariants

pytestmark = pytest.mark.postgres


def catalog_of(home: BarmanHome) -> Catalog:
    return Catalog(make_layout(str(home.home), "main"))


def backups(home: BarmanHome) -> list[BackupInfo]:
    return list(catalog_of(home).snapshot().backups.values())


@pytest.fixture
def two_backups(newest_pg: Cluster, barman_home: BarmanHome) -> BarmanHome:
    """Two good backups with WAL between them."""
    barman_home.add_server(
        "main",
        newest_pg,
        streaming_archiver="on",
        slot_name="barman",
        create_slot="auto",
        immediate_checkpoint="true",
    )
    barman_home.run("backup", "main", "--name", "first-one").ok()
    newest_pg.switch_wal()
    barman_home.run("backup", "main").ok()
    assert [info.status for info in backups(barman_home)] == ["DONE", "DONE"]
    return barman_home


def test_a_deleted_backup_takes_its_wal_along_and_the_rest_stays_restorable(two_backups: BarmanHome) -> None:
    first, second = backups(two_backups)
    done = two_backups.run("delete", "main", "first-one").ok()
    told = done.out.splitlines()
    assert told[:2] == [f"Deleting backup {first.backup_id} for server main", "Delete associated WAL segments:"]
    assert told[2] == f"\t{first.begin_wal}"
    assert told[-1].startswith(f"Deleted backup {first.backup_id} (start time: ")
    segments = [name for name in catalog_of(two_backups).wals.list_names() if len(name) == 24]
    assert min(segments) == second.begin_wal
    check_invariants(catalog_of(two_backups).layout, Expectations(backups=[second.backup_id]))


def test_a_deletion_in_json_is_its_lines(two_backups: BarmanHome) -> None:
    document = json.loads(two_backups.run("-f", "json", "delete", "main", "oldest").ok().out)
    assert set(document) == {"_INFO"}
    assert document["_INFO"][1] == "Delete associated WAL segments:"


def test_a_refused_deletion_exits_1_and_names_the_backup(two_backups: BarmanHome) -> None:
    first, _ = backups(two_backups)
    two_backups.run("keep", "--target", "full", "main", first.backup_id).ok()
    done = two_backups.run("delete", "main", first.backup_id)
    assert done.rc == 1
    assert "WARNING: Skipping delete of backup" in done.err
    assert f"ERROR: Cannot delete backup (main {first.backup_id})" in done.err
    assert len(backups(two_backups)) == 2


def test_an_unknown_backup_is_an_error(two_backups: BarmanHome) -> None:
    done = two_backups.run("delete", "main", "20200101T000000")
    assert done.rc == 1
    assert "Unknown backup '20200101T000000' for server 'main'" in done.err


def test_minimum_redundancy_keeps_the_last_backups(two_backups: BarmanHome) -> None:
    two_backups.servers["main"]["minimum_redundancy"] = "2"
    two_backups.write()
    done = two_backups.run("delete", "main", "oldest")
    assert done.rc == 1
    assert "minimum redundancy requires 2 backups, 2 are present" in done.err
    assert len(backups(two_backups)) == 2


def test_check_backup_is_silent_for_a_good_backup_and_red_for_one_that_lost_wal(two_backups: BarmanHome) -> None:
    first, second = backups(two_backups)
    good = two_backups.run("check-backup", "main", first.backup_id).ok()
    assert (good.out, good.err) == ("", "")
    assert second.end_wal is not None
    os.unlink(catalog_of(two_backups).layout.wal_path(second.end_wal))
    lost = two_backups.run("check-backup", "main", "latest")
    assert lost.rc == 1
    assert f"At least one WAL file is missing. The first missing WAL file is {second.end_wal}" in lost.err
    again = two_backups.run("check-backup", "main", second.backup_id)
    assert again.rc == 1
    assert "The validity of a failed backup cannot be checked" in again.err


def test_a_backup_can_be_deleted_while_the_server_is_down(two_backups: BarmanHome, newest_pg: Cluster) -> None:
    newest_pg.stop("immediate")
    two_backups.run("delete", "main", "oldest").ok()
    assert len(backups(two_backups)) == 1


def test_a_deletion_that_was_killed_is_finished_by_the_next_backup(two_backups: BarmanHome) -> None:
    first, _ = backups(two_backups)
    catalog = catalog_of(two_backups)
    catalog.backups.mark_deleting(first.backup_id)
    os.unlink(Path(catalog.layout.data_directory(first.backup_id)) / "backup_label")
    done = two_backups.run("backup", "main").ok()
    assert f"Resuming the deletion of backup {first.backup_id} for server main" in done.out
    left = backups(two_backups)
    assert first.backup_id not in [info.backup_id for info in left]
    check_invariants(catalog.layout, Expectations(backups=[info.backup_id for info in left]))
