"""`recovery-window`, and what `status`, `show-backup` and `check` say of it, on a catalog without a PostgreSQL."""

import json
import os
import time

import pytest

from barman.postgres.wal_name import WalSegment
from tests.support.catalog_builder import SEGMENT_SIZE, SYSTEM_ID, add_backup, write
from tests.support.offline import OfflineHome
from tests.support.wal_builder import segment_bytes


def name(number, timeline=1):
    return WalSegment.numbered(number, timeline, SEGMENT_SIZE).name


@pytest.fixture
def home(tmp_path):
    return OfflineHome(tmp_path)


def put(home, *numbers, timeline=1, age=60.0):
    for number in numbers:
        path = home.catalog.layout.wal_path(name(number, timeline))
        write(path, b"")
        os.truncate(path, SEGMENT_SIZE)
        os.utime(path, (time.time() - age, time.time() - age))


def window(home, *arguments):
    done = home.run("-f", "json", "recovery-window", "main", *arguments)
    assert done.rc == 0, done.said
    return json.loads(done.out)["main"]


def test_a_hole_is_told_by_every_command_and_each_names_the_next_one(home):
    add_backup(home.catalog, "20261101T000000", begin=4, end=5)
    add_backup(home.catalog, "20261102T000000", begin=7, end=9)
    add_backup(home.catalog, "20261103T000000", begin=10, end=10)
    put(home, 4, 5, 6, 7, 9, 10, age=100)
    put(home, 11, age=60)
    done = home.run("recovery-window", "main")
    assert done.rc == 0
    lines = done.out.splitlines()
    assert lines[0] == "Server main:"
    assert lines[1].startswith("  Recoverable            : ")
    assert "1 minute" in lines[2]
    assert f"(LSN 0/C000000, {name(11)})" in done.out
    assert (
        f"Missing WAL          : {name(8)}; not restorable: 20261102T000000; cannot go beyond it: 20261101T000000"
        in (done.out)
    )
    found = window(home)
    assert found["current_timeline"] == 1
    assert found["recoverable"] is found["reaches_end"] is True
    assert (found["gaps"], found["missing_wals"], found["latest_wal"]) == (1, 1, name(11))
    assert 60 <= found["behind_seconds"] < 100
    (line,) = found["timelines"]
    assert [item["latest_wal"] for item in line["windows"]] == [name(7), name(11)]
    assert [item["backup_ids"] for item in line["windows"]] == [["20261101T000000"], ["20261103T000000"]]
    assert line["gaps"][0]["not_restorable"] == ["20261102T000000"]
    assert [item["restorable"] for item in line["backups"]] == [True, False, True]

    status = json.loads(home.run("-f", "json", "status", "main").out)["main"]["recovery_window"]
    assert status["description"] == "Recovery window"
    assert "1 WAL segment missing: see 'barman recovery-window main'" in status["message"]

    shown = json.loads(home.run("-f", "json", "show-backup", "main", "20261101T000000").out)["main"]
    reach = shown["wal_information"]["recovery"]
    assert (reach["restorable"], reach["recoverable_until_wal"]) == (True, name(7))
    assert reach["stopped_by"]["first"] == name(8)
    text = home.run("show-backup", "main", "20261101T000000").out
    assert f"({name(7)}, LSN 0/8000000)" in text
    assert f"Missing WAL          : {name(8)}" in text
    broken = home.run("show-backup", "main", "20261102T000000").out
    assert f"Recoverable until    : not restorable: WAL segment {name(8)}" in broken

    os.unlink(home.catalog.layout.wal_path(name(10)))
    put(home, 12)
    check = home.run("check", "main")
    assert name(10) in check.out
    assert "'barman recovery-window main'" in check.out


def test_the_keys_of_the_document_stay(home):
    """Programs read them: keys are added, never renamed or removed."""
    add_backup(home.catalog, "20261101T000000", begin=4, end=4)
    put(home, 4, 6)
    found = window(home)
    short = {
        "recoverable reaches_end earliest earliest_timestamp latest latest_timestamp latest_lsn latest_wal",
        "latest_partial_timestamp latest_partial_wal behind behind_seconds gaps missing_wals",
    }
    short = set(" ".join(short).split())
    assert set(found) == short | {"now", "now_timestamp", "current_timeline", "timelines", "problems"}
    (line,) = found["timelines"]
    assert set(line) == {"timeline", "current", "reaches_end", "windows", "gaps", "backups"}
    assert set(line["gaps"][0]) == set("first last count waiting not_restorable cannot_go_beyond".split())
    assert set(line["windows"][0]) == set(
        "earliest earliest_timestamp earliest_lsn latest latest_timestamp latest_lsn latest_wal "
        "latest_partial_timestamp latest_partial_wal backup_ids".split()
    )
    reach = set(
        "restorable reason recoverable_until recoverable_until_timestamp recoverable_until_wal "
        "recoverable_until_lsn stopped_by".split()
    )
    assert set(line["backups"][0]) == reach | {"backup_id", "standalone"}
    status = json.loads(home.run("-f", "json", "status", "main").out)["main"]["recovery_window"]
    assert set(status) == short | {"description", "message"}
    shown = json.loads(home.run("-f", "json", "show-backup", "main", "latest").out)["main"]
    assert set(shown["wal_information"]["recovery"]) == reach


def test_the_window_is_told_per_timeline_and_for_all_servers(home):
    add_backup(home.catalog, "20261101T000000", begin=4, end=4)
    put(home, 4, 5, 6)
    put(home, 6, 7, timeline=2)
    write(home.catalog.layout.history(2), "1\t0/6000100\tno recovery target specified\n")
    out = home.run("recovery-window", "all").out
    assert "  Timeline 1:" in out
    assert "  Timeline 2 (current):" in out
    assert window(home)["latest_wal"] == name(7, 2)


def test_what_waits_in_a_queue_and_what_is_being_received_is_told(home):
    layout = home.catalog.layout
    add_backup(home.catalog, "20261101T000000", begin=4, end=4)
    put(home, 4, 6)
    write(os.path.join(layout.incoming_directory, name(5)), "x")
    found = window(home)
    assert found["timelines"][0]["gaps"][0]["waiting"] == 1
    assert not found["reaches_end"]
    assert "waiting to be archived" in home.run("recovery-window", "main").out
    os.unlink(home.catalog.layout.wal_path(name(6)))
    partial = os.path.join(layout.streaming_directory, name(6) + ".partial")
    foreign = segment_bytes(name(6), segment_size=SEGMENT_SIZE, system_id=7)
    for content in (b"", bytes(64), segment_bytes(name(7))[:100], foreign[:100]):
        write(partial, content)
        assert window(home)["latest_partial_wal"] is None, "nothing of its segment has come yet"
    write(partial, segment_bytes(name(6), segment_size=SEGMENT_SIZE, system_id=int(SYSTEM_ID))[:100])
    found = window(home)
    assert found["latest_partial_wal"] == name(6)
    assert int(found["latest_partial_timestamp"]) >= int(found["latest_timestamp"]) + 50
    assert found["behind_seconds"] < 50
    out = home.run("recovery-window", "main").out
    assert f"behind now (in the unfinished segment {name(6)}.partial)" in out


def test_a_server_without_backups_and_one_that_cannot_be_restored_say_so(home):
    assert "no: there is no backup" in home.run("recovery-window", "main").out
    assert window(home)["recoverable"] is False
    add_backup(home.catalog, "20261101T000000", begin=4, end=5)
    out = home.run("recovery-window", "main").out
    assert "no: no backup can be restored" in out
    assert name(4) in out
    assert window(home)["behind_seconds"] is None


def test_damaged_records_and_histories_are_told_and_hide_nothing(home):
    add_backup(home.catalog, "20261101T000000", begin=4, end=4)
    put(home, 4, 5)
    write(home.catalog.layout.history(2), "garbage\n")
    write(home.catalog.layout.backup_info("20261102T000000"), "\0\0")
    found = window(home)
    assert found["latest_wal"] == name(5)
    assert [text.partition(": ")[0] for text in found["problems"]] == [
        "backup 20261102T000000 is left out",
        "the history of timeline 2 is left out",
    ]
    assert "WARNING: the history of timeline 2 is left out" in home.run("recovery-window", "main").out


def test_an_unknown_server_is_an_error(home):
    assert home.run("recovery-window", "nobody").rc == 1
