"""Deleting is the cure for a full disk, so it must work on one."""

import os
import tempfile

import pytest

from barman.backup.delete import delete_backup
from barman.catalog.backup_id import BackupId
from barman.report import MemoryReporter
from tests.support import needs
from tests.support.catalog_builder import add_backup
from tests.unit.backup.support import SEGMENT, archive_segments, archived, make_server

OLD, NEW = BackupId("20260101T000000"), BackupId("20260102T000000")


@pytest.fixture
def small_disk():
    place = tempfile.mkdtemp(prefix="barman-full-")
    try:
        with needs.small_disk(place, "24m"):
            yield place
    finally:
        os.rmdir(place)


def fill(place):
    with open(os.path.join(place, "filler"), "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    assert os.statvfs(place).f_bavail == 0


def test_a_backup_can_be_deleted_when_not_a_block_is_free(small_disk):
    server = make_server(small_disk)
    archive_segments(server.catalog, 1, 8)
    for backup_id, begin in ((OLD, 2), (NEW, 5)):
        add_backup(server.catalog, backup_id, begin=begin, end=begin, xlog_segment_size=SEGMENT, tablespaces=())
    big = os.path.join(server.catalog.layout.data_directory(OLD), "big")
    with open(big, "wb") as file:
        file.write(bytes(4 << 20))
    fill(small_disk)

    delete_backup(server, OLD, MemoryReporter())

    view = server.catalog.snapshot()
    assert set(view.backups) == {NEW}
    assert view.backups[NEW].status == "DONE"
    assert not view.deleting
    assert not os.path.exists(server.catalog.layout.backup_directory_of(OLD))
    assert archived(server.catalog)[0].endswith("05")
    assert os.statvfs(small_disk).f_bavail > 0
