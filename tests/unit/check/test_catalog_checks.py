"""Checks of the repository, on a server that is never asked."""

import os
import time
from datetime import datetime, timedelta, timezone

import pytest

from barman.check.run import run_checks
from barman.clock import Deadline
from barman.config.loader import load_settings
from barman.postgres.wal_name import WalSegment
from barman.server.server import Server
from tests.support.catalog_builder import SEGMENT_SIZE, SYSTEM_ID, add_backup, add_chain, write
from tests.support.fix_upstream import INACTIVE_SERVER, write_config
from tests.support.wal_builder import write_segment


class Repository:
    def __init__(self, home):
        self.home = home
        self.configure()
        self.catalog = self.server.catalog
        self.catalog.ensure_directories()

    def configure(self, **options):
        path = write_config(self.home, {"main": {**INACTIVE_SERVER, **options}})
        self.server = Server(load_settings(path, {}).servers["main"])

    def archive(self, *numbers, timeline=1, listed=True, size=SEGMENT_SIZE):
        for number in numbers:
            name = WalSegment.numbered(number, timeline, SEGMENT_SIZE).name
            path = self.catalog.layout.wal_path(name)
            write(path, b"")
            os.truncate(path, size)
            if listed:
                with open(self.catalog.layout.xlogdb, "a", encoding="ascii") as file:
                    file.write(f"{name}\t{size}\t{time.time()}\tNone\tNone\n")

    def check(self):
        return {line.name: line for line in run_checks(self.server, Deadline(None)).results}

    def hint(self, name):
        line = self.check()[name]
        assert not line.ok
        return line.hint


@pytest.fixture
def repository(tmp_path):
    return Repository(str(tmp_path))


def name_of(number, timeline=1):
    return WalSegment.numbered(number, timeline, SEGMENT_SIZE).name


def recent(**back):
    return (datetime.now(timezone.utc) - timedelta(**back)).strftime("%Y%m%dT%H%M%S")


def test_a_fresh_repository_without_wal_and_backups_is_fine(repository):
    report = repository.check()
    assert [line.name for line in report.values() if not line.ok] == []
    assert "WAL archive" not in report


def test_the_lines_of_an_idle_server_come_in_the_known_order(repository):
    assert list(repository.check()) == [
        "directories",
        "retention policy settings",
        "backup maximum age",
        "backup minimum size",
        "wal maximum age",
        "wal size",
        "compression settings",
        "failed backups",
        "minimum redundancy requirements",
        "systemid coherence",
        "archiver errors",
    ]


def test_a_good_backup_with_its_wal_is_fine(repository):
    add_backup(repository.catalog, recent(hours=1), begin=4, end=5)
    repository.archive(4, 5, 6, 7)
    report = repository.check()
    assert [line.name for line in report.values() if not line.ok] == []
    assert report["wal size"].hint == "32.0 MiB"


def test_a_hole_after_the_newest_backup_is_red_and_does_not_block_its_remedy(repository):
    add_backup(repository.catalog, recent(hours=1), begin=4, end=5)
    repository.archive(4, 5, 6, 9)
    line = repository.check()["WAL archive"]
    assert (line.ok, line.blocking) == (False, False)
    assert f"{name_of(7)} to {name_of(8)} (2 segments)" in line.hint


def test_wal_that_is_lost_before_the_unfinished_segment_is_red(repository):
    add_backup(repository.catalog, recent(hours=1), begin=4)
    repository.archive(4, 5)
    streaming = repository.catalog.layout.streaming_directory
    write_segment(streaming, f"{name_of(6)}.partial", segment_size=SEGMENT_SIZE, system_id=int(SYSTEM_ID))
    assert "WAL archive" not in repository.check()
    received = os.path.join(streaming, f"{name_of(8)}.partial")
    os.rename(os.path.join(streaming, f"{name_of(6)}.partial"), received)
    assert "WAL archive" not in repository.check(), "it is not what its name says"
    os.unlink(received)
    write_segment(streaming, f"{name_of(8)}.partial", segment_size=SEGMENT_SIZE, system_id=int(SYSTEM_ID))
    assert f"{name_of(6)} to {name_of(7)}" in repository.hint("WAL archive")
    for number in (6, 7):
        write(os.path.join(streaming, name_of(number)), "waits for the archiver")
    assert "WAL archive" not in repository.check()


def test_a_hole_before_the_newest_backup_is_not_its_business(repository):
    add_backup(repository.catalog, recent(hours=2), begin=2, end=2)
    add_backup(repository.catalog, recent(hours=1), begin=5, end=5)
    repository.archive(2, 5, 6)
    assert "WAL archive" not in repository.check()


def test_a_missing_segment_that_waits_for_the_archiver_is_no_hole(repository):
    add_backup(repository.catalog, recent(hours=1), begin=4, end=5)
    repository.archive(4, 5, 7)
    write(os.path.join(repository.catalog.layout.streaming_directory, name_of(6)), b"x")
    assert "WAL archive" not in repository.check()


def test_a_done_backup_without_its_last_wal_is_red(repository):
    add_backup(repository.catalog, recent(hours=1), begin=4, end=5)
    repository.archive(4)
    assert name_of(5) in repository.hint("WAL archive")


def test_a_waiting_backup_gets_time_for_its_last_wal_but_not_for_ever(repository):
    add_backup(repository.catalog, recent(seconds=30), begin=4, end=5, status="WAITING_FOR_WALS")
    repository.archive(4)
    assert "WAL archive" not in repository.check()
    add_backup(repository.catalog, recent(seconds=20), begin=4, end=5, status="WAITING_FOR_WALS",
               end_time=datetime.now(timezone.utc) - timedelta(hours=1))  # fmt: skip
    assert "switch-wal --archive main" in repository.hint("WAL archive")


def test_wal_of_a_newer_timeline_is_followed(repository):
    add_backup(repository.catalog, recent(hours=1), begin=4, end=5)
    repository.archive(4, 5, 6)
    repository.archive(7, 8, timeline=2)
    assert "00000002.history is not in the archive" in repository.hint("WAL archive")
    write(repository.catalog.layout.history(2), "1\t0/7000100\tno recovery target specified\n")
    assert "WAL archive" not in repository.check()
    os.unlink(repository.catalog.layout.wal_path(name_of(6)))
    assert name_of(6) in repository.hint("WAL archive")


def test_a_timeline_that_branched_off_before_the_backup_is_not_followed(repository):
    add_backup(repository.catalog, recent(hours=1), begin=8, end=8)
    repository.archive(8, 9)
    repository.archive(4, 5, timeline=2)
    write(repository.catalog.layout.history(2), "1\t0/4000100\tno recovery target specified\n")
    assert "WAL archive" not in repository.check()


def test_a_short_segment_is_red(repository):
    add_backup(repository.catalog, recent(hours=1), begin=4, end=4)
    repository.archive(4)
    repository.archive(5, size=1000)
    assert "has 1000 bytes instead of 16777216" in repository.hint("WAL archive")


def test_a_segment_without_a_line_is_found(repository):
    add_backup(repository.catalog, recent(hours=1), begin=4, end=4)
    repository.archive(4, 6)
    repository.archive(5, listed=False)
    line = repository.check()["WAL index"]
    assert not line.blocking
    assert name_of(5) in line.hint
    assert "rebuild-xlogdb main" in line.hint


def test_a_line_without_a_segment_is_found(repository):
    add_backup(repository.catalog, recent(hours=1), begin=4, end=4)
    repository.archive(4, 5)
    os.unlink(repository.catalog.layout.wal_path(name_of(5)))
    assert name_of(5) in repository.hint("WAL index")


def test_an_unreadable_record_is_reported_by_name(repository):
    add_backup(repository.catalog, recent(hours=1), begin=4, end=4)
    repository.archive(4)
    path = repository.catalog.layout.backup_info("20260101T000000")
    write(path, "status=DONE\nno equals sign\n")
    assert path in repository.hint("backup catalog")


def test_a_backup_without_data_is_reported(repository):
    backup_id = recent(hours=1)
    add_backup(repository.catalog, backup_id, begin=4, end=4)
    repository.archive(4)
    os.rename(repository.catalog.layout.backup_directory_of(backup_id), os.path.join(repository.home, "elsewhere"))
    assert f"backup {backup_id} is DONE, but its data are missing" in repository.hint("backup catalog")


def test_a_backup_whose_process_is_gone_is_reported(repository):
    backup_id = recent(hours=1)
    add_backup(repository.catalog, backup_id, begin=4, end=4, status="STARTED")
    with repository.catalog.locks.backup():
        assert "backup catalog" not in repository.check()
    assert f"backup {backup_id} is STARTED, but its process is gone" in repository.hint("backup catalog")


def test_an_incremental_backup_without_its_parent_is_reported(repository):
    first, second = recent(hours=2), recent(hours=1)
    add_chain(repository.catalog, first, second, begin=4, end=4)
    repository.archive(4)
    add_backup(repository.catalog, recent(minutes=1), begin=4, end=4)
    assert "backup catalog" not in repository.check()
    repository.catalog.backups.remove_record(first)
    assert first in repository.hint("backup catalog")


def test_failed_backups_and_redundancy_are_counted(repository):
    repository.configure(minimum_redundancy="2")
    add_backup(repository.catalog, recent(hours=2), begin=4, end=4)
    add_backup(repository.catalog, recent(hours=1), begin=5, end=5, status="FAILED")
    repository.archive(4, 5)
    assert repository.hint("failed backups") == "there are 1 failed backups"
    expected = "have 1 non-incremental backups, expected at least 2"
    assert repository.hint("minimum redundancy requirements") == expected


def test_age_and_size_limits_say_what_they_compare(repository):
    repository.configure(
        last_backup_maximum_age="1 day", last_backup_minimum_size="1 Mi", last_wal_maximum_age="1 hours"
    )
    assert repository.hint("backup maximum age") == (
        "interval provided: 1 day, latest backup age: No available backups"
    )
    assert repository.hint("wal maximum age") == "No WAL files archived for last backup"
    add_backup(repository.catalog, recent(days=3), begin=4, end=4, size=1024)
    repository.archive(4)
    assert repository.hint("backup maximum age").startswith("interval provided: 1 day, latest backup age: 2 days, 23 ")
    assert repository.hint("backup minimum size") == "last backup size 1.0 KiB < 1.0 MiB minimum"
    assert repository.check()["wal maximum age"].hint.startswith("interval provided: 1 hour, latest wal age: ")


def test_queues_count_complete_files_only(repository):
    incoming = repository.catalog.layout.incoming_directory
    for name in (f"{name_of(9)}.partial", f"{name_of(9)}.tmp", f".{name_of(9)}"):
        write(os.path.join(incoming, name), b"")
    assert "empty incoming directory" not in repository.check()
    write(os.path.join(incoming, name_of(9)), b"")
    assert repository.hint("empty incoming directory") == f"'{incoming}' must be empty when archiver=off"
    repository.configure(archiver="on", max_incoming_wals_queue="1")
    assert "incoming WALs directory" not in repository.check()
    write(os.path.join(incoming, name_of(10)), b"")
    assert repository.hint("incoming WALs directory") == "there are too many WALs in queue: 2, max 1"


def test_an_archived_segment_that_the_receiver_needs_does_not_wait(repository):
    streaming = repository.catalog.layout.streaming_directory
    write(os.path.join(streaming, name_of(9)), b"")
    repository.configure(max_incoming_wals_queue="0")
    assert repository.hint("streaming WALs directory") == "there are too many WALs in queue: 1, max 0"
    repository.configure(archiver="on", streaming_archiver="off")
    assert repository.hint("empty streaming directory") == f"'{streaming}' must be empty when streaming_archiver=off"
    repository.archive(9)
    assert "empty streaming directory" not in repository.check()
    repository.configure(max_incoming_wals_queue="0")
    assert "streaming WALs directory" not in repository.check()


def test_files_that_were_set_aside_are_counted_by_kind(repository):
    errors = repository.catalog.layout.errors_directory
    for suffix in ("duplicate", "duplicate", "unknown"):
        write(os.path.join(errors, f"{len(os.listdir(errors))}.20261122T000000Z.{suffix}"), b"")
    assert repository.hint("archiver errors") == "duplicates: 2, unknown: 1"


def test_a_policy_that_cannot_be_read_is_red(repository):
    repository.configure(retention_policy="AS LONG AS POSSIBLE")
    assert repository.hint("retention policy settings").startswith("see log")


def test_the_newest_backup_being_of_a_kind_that_cannot_be_restored_is_red(repository):
    add_backup(repository.catalog, recent(days=2), encryption="age")
    assert "it is encrypted" in repository.hint("backup catalog")
    add_backup(repository.catalog, recent(days=1))
    assert "backup catalog" not in repository.check()


def test_a_compressed_backup_that_lacks_an_archive_is_red(repository):
    backup_id = recent(days=1)
    add_backup(repository.catalog, backup_id, compression="zstd")
    data = repository.catalog.layout.data_directory(backup_id)
    assert repository.hint("backup catalog").endswith(f"a part of it is missing: {data}/base.tar*")
    write(os.path.join(data, "base.tar.zst"), b"")
    assert repository.hint("backup catalog").endswith(f"a part of it is missing: {data}/16390.tar*")
    write(os.path.join(data, "16390.tar.zst"), b"")
    assert "backup catalog" not in repository.check()
    write(os.path.join(data, "base.tar"), b"")
    assert "are archives of the same directory" in repository.hint("backup catalog")


def test_a_good_backup_that_lacks_a_part_without_which_it_is_not_restored_is_red(repository):
    backup_id = recent(days=1)
    add_backup(repository.catalog, backup_id)
    layout = repository.catalog.layout
    assert "backup catalog" not in repository.check()
    os.unlink(os.path.join(layout.data_directory(backup_id), "global", "pg_control"))
    assert "a part of it is missing" in repository.hint("backup catalog")
    os.rmdir(layout.tablespace_directory(backup_id, 16390))
    assert repository.hint("backup catalog").endswith("16390")
