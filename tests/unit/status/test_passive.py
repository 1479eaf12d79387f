"""`status`, `metrics` and `diagnose` of a passive node: what lies on its disk, the primary being out of reach."""

import json
import os
import time

import pytest

from barman.status.metrics import HELP
from barman.sync.state import BACKUP, CONTACT, WALS, SyncPosition, note_failure, note_success, write_position
from tests.support.catalog_builder import SEGMENT_SIZE, add_backup, make_info, write
from tests.support.offline import OfflineHome
from tests.unit.check.test_passive import name_of, record_of

HERE, THERE = "20260101T000000", "20260102T000000"


@pytest.fixture
def home(tmp_path):
    return OfflineHome(tmp_path, primary_ssh_command="/nonexistent/ssh primary")


def follow(home):
    """A backup and one segment are here; the primary has a backup and two segments more, written a minute apart."""
    info = add_backup(home.catalog, HERE, begin=4, mode="passive")
    layout = home.catalog.layout
    write(layout.wal_path(name_of(4)), b"")
    os.truncate(layout.wal_path(name_of(4)), SEGMENT_SIZE)
    began = time.time() - 600
    write(layout.xlogdb, f"{name_of(4)}\t{SEGMENT_SIZE}\t{began}\tNone\tNone\n")
    plain = {"size": SEGMENT_SIZE, "compression": None, "encryption": None}
    document = {
        "last_position": 66,
        "last_name": name_of(6),
        "backups": {HERE: record_of(info), THERE: record_of(make_info(THERE, begin=6, tablespaces=()))},
        "wals": [{"name": name_of(4 + n), "time": began + 60 * n, **plain} for n in range(3)],
        "version": "3.19.1",
        "config": {},
    }
    write(layout.primary_info, json.dumps(document))
    write_position(layout, SyncPosition(name_of(4), 66))
    note_success(layout, CONTACT, missing_wals=2, missing_backups=1)
    note_success(layout, WALS)
    note_success(layout, BACKUP, backup_id=HERE)
    note_failure(layout, BACKUP, "rsync: the link was cut")


def values(home):
    done = home.run("-f", "json", "metrics", "--no-checks")
    assert done.rc == 0, done.said
    found = json.loads(done.out)["metrics"]
    assert {item["name"] for item in found} <= HELP.keys()
    return {item["name"]: item["value"] for item in found if item["labels"] == {"server": "main"}}


def test_status_says_how_far_the_node_is_and_programs_get_the_numbers(home):
    follow(home)
    lines = dict(line.strip().split(": ", 1) for line in home.run("status", "main").out.splitlines()[1:])
    assert lines["SSH command to primary server"] == "/nonexistent/ssh primary"
    assert "second" in lines["Last answer of the primary"]
    assert lines["WAL of the primary"].startswith("2 files to copy (32.0 MiB), 2 minutes behind; last copied ")
    assert lines["Backups of the primary"] == f"to copy: {THERE}"
    assert lines["Last failure of the synchronisation"].startswith("rsync: the link was cut at ")
    found = json.loads(home.run("-f", "json", "status", "main").out)["main"]
    assert all(isinstance(item["message"], str) for item in found.values())
    assert time.time() - 60 < found["sync_last_answer"]["timestamp"] <= time.time()
    wals = found["sync_wals"]
    assert (wals["missing"], wals["missing_bytes"], round(wals["behind_seconds"])) == (2, 2 * SEGMENT_SIZE, 120)
    assert (found["sync_backups"]["missing"], found["sync_backups"]["copying"]) == ([THERE], [])


def test_metrics_measure_the_distance_to_the_primary(home):
    follow(home)
    found = values(home)
    assert (found["barman_passive"], found["barman_receiver_expected"]) == (1, 0)
    assert (found["barman_sync_missing_wals"], found["barman_sync_missing_backups"]) == (2, 1)
    assert found["barman_sync_missing_wal_bytes"] == 2 * SEGMENT_SIZE
    assert round(found["barman_sync_behind_seconds"]) == 120
    assert (found["barman_sync_failed"], found["barman_sync_copying_backups"]) == (1, 0)
    for step in ("answer", "wal", "backup"):
        assert time.time() - 60 < found[f"barman_sync_{step}_timestamp_seconds"] <= time.time()


def test_a_node_that_was_never_synchronised_is_told_as_such(home):
    status = home.run("status", "main").out
    assert "Last answer of the primary: none yet: run 'barman cron'" in status
    assert "WAL of the primary: unknown" in status
    found = values(home)
    assert (found["barman_passive"], found["barman_sync_failed"]) == (1, 0)
    assert "barman_sync_answer_timestamp_seconds" not in found
    assert "barman_sync_missing_wals" not in found


def test_damaged_state_files_are_told_and_stop_nothing(home):
    follow(home)
    layout = home.catalog.layout
    for path in (layout.primary_info, layout.sync_wals_info, *(layout.sync_state(s) for s in (CONTACT, WALS, BACKUP))):
        write(path, b'{"wals": [\xff\0')
    for command in ("status main", "check main", "metrics --no-checks", "diagnose", "list-backups main"):
        done = home.run(*command.split())
        assert "Traceback" not in done.said, done.said
        assert "EXCEPTION" not in done.said, done.said
    assert "Last failure of the synchronisation: sync-info of server main: " in home.run("status", "main").out
    assert values(home)["barman_sync_failed"] == 1


def test_diagnose_has_the_standing_and_the_position(home):
    follow(home)
    found = json.loads(home.run("diagnose").out)["servers"]["main"]
    assert found["sync"]["missing_backups"] == [THERE]
    assert found["sync"]["position"] == [name_of(4), 66]
    assert found["sync"]["primary_version"] == "3.19.1"
    assert found["status"] == {}
    assert "system_info" not in found


def test_an_active_server_has_nothing_of_this(tmp_path):
    home = OfflineHome(tmp_path)
    found = values(home)
    assert found["barman_passive"] == 0
    assert not [name for name in found if name.startswith("barman_sync")]
    assert "sync" not in json.loads(home.run("-f", "json", "status", "main").out)["main"]
