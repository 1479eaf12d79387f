"""Sizes, neighbours and timelines of backups, from a catalog on disk."""

import os

import pytest

from barman.catalog.wal_file import WalFile
from barman.config.loader import load_settings
from barman.postgres.wal_name import WalSegment
from barman.server.server import Server
from barman.status.backup_details import show_backup
from barman.status.backups import WalUsage, list_backups
from barman.status.diagnose import describe_backup
from tests.support.catalog_builder import SEGMENT_SIZE, add_backup, add_chain, write
from tests.support.fix_upstream import INACTIVE_SERVER, write_config


@pytest.fixture
def server(tmp_path):
    path = write_config(str(tmp_path), {"main": {**INACTIVE_SERVER, "retention_policy": "REDUNDANCY 1"}})
    server = Server(load_settings(path, {}).servers["main"])
    server.catalog.ensure_directories()
    return server


def index(server, *numbers, timeline=1, size=100, hours=1):
    files = [
        WalFile(WalSegment.numbered(number, timeline, SEGMENT_SIZE).name, size, number * 3600.0 * hours)
        for number in numbers
    ]
    with open(server.catalog.layout.xlogdb, "ab") as file:
        file.write(b"".join(item.line() for item in files))


def shown(server, backup_id):
    view = server.catalog.snapshot()
    return show_backup(server.config, server.catalog, view.backups[backup_id], view)


def test_wal_belongs_to_a_backup_until_the_end_of_the_next(server):
    add_backup(server.catalog, "20261101T000000", begin=4, end=5, size=1000)
    add_backup(server.catalog, "20261102T000000", begin=8, end=8, size=5000)
    index(server, *range(2, 12))
    rows = list_backups(server.config, server.catalog).rows
    assert [(row.info.backup_id, row.size, row.following_wals) for row in rows] == [
        ("20261102T000000", 5100, WalUsage(3, 300)),
        ("20261101T000000", 1200, WalUsage(3, 300)),
    ]
    # Lines of an index are no WAL: what cannot be restored counts for nothing.
    assert [row.retention for row in rows] == ["-", "-"]
    for number in (4, 5, 8):
        write(server.catalog.layout.wal_path(WalSegment.numbered(number, 1, SEGMENT_SIZE).name), "")
    assert [row.retention for row in list_backups(server.config, server.catalog).rows] == ["VALID", "OBSOLETE"]


def test_failed_backups_do_not_end_the_wal_of_others(server):
    add_backup(server.catalog, "20261101T000000", begin=4, end=4)
    add_backup(server.catalog, "20261102T000000", begin=6, end=6, status="FAILED")
    index(server, 4, 5, 6, 7)
    failed, done = list_backups(server.config, server.catalog).rows
    assert failed.following_wals == WalUsage()
    assert done.following_wals == WalUsage(3, 300)


def test_a_missing_index_is_built_from_the_archive(server):
    add_backup(server.catalog, "20261101T000000", begin=4, end=4)
    for number in (4, 5):
        write(server.catalog.layout.wal_path(WalSegment.numbered(number, 1, SEGMENT_SIZE).name), "x" * 10)
    (row,) = list_backups(server.config, server.catalog).rows
    assert (row.required_wals, row.following_wals) == (WalUsage(1, 10), WalUsage(1, 10))


def test_an_unreadable_record_hides_no_other(server):
    add_backup(server.catalog, "20261101T000000", begin=4, end=4)
    write(server.catalog.layout.backup_info("20261102T000000"), "status=DONE\nnonsense\n")
    result = list_backups(server.config, server.catalog)
    assert [row.info.backup_id for row in result.rows] == ["20261101T000000"]
    assert [backup_id for backup_id, _ in result.unreadable] == ["20261102T000000"]


def test_a_backup_that_is_half_deleted_is_not_listed_as_good(server):
    add_backup(server.catalog, "20261101T000000", begin=4, end=4)
    server.catalog.backups.mark_deleting("20261101T000000")
    (row,) = list_backups(server.config, server.catalog).rows
    assert row.info.status == "FAILED"
    assert shown(server, "20261101T000000").info.error == "the deletion of this backup was not finished"


def test_a_server_without_directories_has_no_backups(tmp_path):
    path = write_config(str(tmp_path), {"main": INACTIVE_SERVER})
    server = Server(load_settings(path, {}).servers["main"])
    assert list_backups(server.config, server.catalog).rows == ()
    assert not os.path.exists(server.catalog.layout.backup_directory)


def test_the_rate_counts_all_segments_from_the_begin(server):
    add_backup(server.catalog, "20261101T000000", begin=4, end=5)
    index(server, *range(4, 9))
    found = shown(server, "20261101T000000")
    assert found.wals_per_second * 3600 == pytest.approx(5 / 4)
    assert found.last_available == WalSegment.numbered(8, 1, SEGMENT_SIZE).name


def test_neighbours_are_complete_backups(server):
    add_backup(server.catalog, "20261101T000000", begin=4, end=4)
    add_backup(server.catalog, "20261102T000000", begin=5, end=5, status="FAILED")
    add_backup(server.catalog, "20261103T000000", begin=6, end=6)
    found = shown(server, "20261103T000000")
    assert (found.previous_id, found.next_id) == ("20261101T000000", None)


def test_timelines_that_leave_after_the_end_of_the_backup_are_reachable(server):
    add_backup(server.catalog, "20261101T000000", begin=4, end=4)
    write(server.catalog.layout.history(2), "1\t0/3000000\tbefore\n")
    write(server.catalog.layout.history(3), "1\t0/7000000\tafter\n")
    write(server.catalog.layout.history(4), "1\t0/7000000\tafter\n3\t0/9000000\tlater\n")
    write(server.catalog.layout.history(5), "damaged")
    assert shown(server, "20261101T000000").timelines == (3, 4)


def test_a_chain_has_a_root_and_a_length(server):
    add_chain(server.catalog, "20261101T000000", "20261102T000000", "20261103T000000")
    found = shown(server, "20261103T000000")
    assert (found.root_id, found.chain_size) == ("20261101T000000", 3)
    assert shown(server, "20261101T000000").root_id is None


def test_diagnose_describes_a_record_by_its_keys(server):
    info = add_backup(server.catalog, "20261101T000000", begin=4, end=4)
    found = describe_backup(info)
    assert found["begin_time"] == info.begin_time.astimezone().isoformat()
    assert found["backup_label"] == repr(info.backup_label)
    assert found["begin_xlog"] == "0/4000028"
    assert found["tablespaces"] == [["tsa", 16390, "/srv/tsa"]]
    assert found["children_backup_ids"] is None
    assert "backup_name" not in found
    assert "source" not in found
