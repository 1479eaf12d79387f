"""Every path of the catalog."""

import pytest

from barman.errors import InvalidWalName
from tests.support.catalog_builder import make_layout

ID = "20260101T120000"
LAYOUT = make_layout("/b")


def test_paths_are_those_of_the_original():
    assert LAYOUT.backup_info(ID) == f"/b/main/meta/{ID}-backup.info"
    assert LAYOUT.legacy_backup_info(ID) == f"/b/main/base/{ID}/backup.info"
    assert LAYOUT.keep(ID) == f"/b/main/meta/{ID}-keep"
    assert LAYOUT.legacy_keep(ID) == f"/b/main/base/{ID}/annotations/keep"
    assert LAYOUT.upstream_delete_marker(ID) == f"/b/main/meta/{ID}-delete_this"
    assert LAYOUT.data_directory(ID) == f"/b/main/base/{ID}/data"
    assert LAYOUT.tablespace_directory(ID, 16390) == f"/b/main/base/{ID}/16390"
    assert LAYOUT.backup_manifest(ID) == f"/b/main/base/{ID}/data/backup_manifest"
    assert LAYOUT.identity == "/b/main/identity.json"
    assert LAYOUT.active_model == "/b/main/.active-model.auto"
    assert LAYOUT.primary_info == "/b/main/primary.info"
    assert LAYOUT.sync_wals_info == "/b/main/wals/sync-wals.info"
    assert LAYOUT.xlogdb == "/b/main/wals/main-xlog.db"
    assert LAYOUT.legacy_xlogdb == "/b/main/wals/xlog.db"
    assert LAYOUT.lock("backup") == "/b/.main-backup.lock"
    assert LAYOUT.global_lock("cron") == "/b/.cron.lock"


def test_wal_files_lie_in_the_directory_of_their_log():
    segment = "00000001000000AB000000CD"
    assert LAYOUT.wal_path(segment) == f"/b/main/wals/00000001000000AB/{segment}"
    assert LAYOUT.wal_path(segment.lower()) == f"/b/main/wals/00000001000000AB/{segment.lower()}"
    assert LAYOUT.wal_path(segment + ".partial") == f"/b/main/wals/00000001000000AB/{segment}.partial"
    assert LAYOUT.wal_path("00000002.history") == "/b/main/wals/00000002.history"
    assert LAYOUT.history(2) == "/b/main/wals/00000002.history"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", ".", "main-xlog.db", "00000001000000AB000000CD/x"])
def test_what_is_no_wal_name_never_becomes_a_path(name):
    with pytest.raises(InvalidWalName):
        LAYOUT.wal_path(name)


def test_our_own_files_in_meta_are_none_that_the_original_reads():
    for path in (LAYOUT.delete_marker(ID), LAYOUT.wal_index, LAYOUT.wal_index_sorted, LAYOUT.receiver_state):
        name = path.rpartition("/")[2]
        assert name.startswith(".")
        assert not name.endswith("-backup.info")
