"""`metrics`: what is measured, as the parser of the library reads it, and what the samples in the documents ask for."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from barman.postgres.wal_name import WalSegment
from barman.status.metrics import HELP
from tests.support.catalog_builder import SEGMENT_SIZE, add_backup, write
from tests.support.offline import OfflineHome

MONITORING = Path(__file__).resolve().parents[3] / "docs" / "monitoring"


@pytest.fixture
def home(tmp_path):
    home = OfflineHome(tmp_path, streaming_archiver="on", minimum_redundancy="2")
    add_backup(home.catalog, "20261101T000000", begin=4, end=5)
    add_backup(home.catalog, "20261102T000000", begin=8, end=8)
    add_backup(home.catalog, "20261103T000000", begin=9, end=9, status="FAILED")
    for number in (4, 5, 6, 8, 9, 10):
        path = home.catalog.layout.wal_path(WalSegment.numbered(number, 1, SEGMENT_SIZE).name)
        write(path, b"")
        os.truncate(path, SEGMENT_SIZE)
        os.utime(path, (time.time() - 120, time.time() - 120))
    home.catalog.xlogdb.rebuild(None)
    write(os.path.join(home.catalog.layout.incoming_directory, "00000001000000000000000B"), "x")
    return home


def values(text):
    return {
        (sample.name, *(value for key, value in sorted(sample.labels.items()) if key != "server")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_repository_is_measured_without_asking_a_server(home):
    done = home.run("metrics", "--no-checks")
    assert done.rc == 0, done.said
    found = values(done.out)
    assert {key[0] for key in found} <= HELP.keys()
    assert found["barman_scrape_ok",] == 1
    assert found["barman_recoverable",] == found["barman_recovery_reaches_end",] == 1
    assert (found["barman_wal_gaps",], found["barman_wal_missing_segments",]) == (1, 1)
    assert 120 <= found["barman_recovery_behind_seconds",] < 300
    assert found["barman_backups_stopped_by_gap",] == 1
    assert (found["barman_backups", "DONE"], found["barman_backups", "FAILED"]) == (2, 1)
    assert found["barman_last_backup_failed",] == 1
    assert (found["barman_redundancy",], found["barman_minimum_redundancy",]) == (2, 2)
    assert (found["barman_receiver_expected",], found["barman_receiver_running",]) == (1, 0)
    assert found["barman_wal_queue_files", "incoming"] == 1
    assert found["barman_wal_files",] == 6
    assert found["barman_last_backup_size_bytes",] == 4096
    assert ("barman_server_ok",) not in found


def test_the_lines_of_check_are_metrics(home):
    found = values(home.run("metrics", "main").out)
    assert found["barman_server_ok",] == 0
    assert found["barman_check_ok", "PostgreSQL"] == 0
    assert found["barman_check_ok", "directories"] == 1


def test_json_has_the_same_values(home):
    found = json.loads(home.run("-f", "json", "metrics", "--no-checks").out)["metrics"]
    ours = {item["name"]: item["value"] for item in found if item["labels"] == {"server": "main"}}
    assert ours["barman_wal_gaps"] == 1
    assert ours["barman_scrape_ok"] == 1


def test_the_file_is_replaced_whole_and_readable_for_the_collector(home, tmp_path):
    path = tmp_path / "barman.prom"
    path.write_text("# HELP old\n")
    path.chmod(0o600)
    inode = path.stat().st_ino
    done = home.run("metrics", "--no-checks", "--output", str(path))
    assert (done.rc, done.out) == (0, "")
    assert path.stat().st_ino != inode
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_text().endswith("# EOF\n")
    assert [name.name for name in tmp_path.iterdir() if ".tmp" in name.name] == []
    missing = home.run("metrics", "--no-checks", "--output", str(tmp_path / "nowhere" / "x.prom"))
    assert missing.rc == 1
    assert "cannot write" in missing.err
    assert "Traceback" not in missing.said


def test_a_file_of_something_else_is_not_replaced(home, tmp_path):
    for name, content in (("passwd", "root:x:0:0\n"), ("settings.conf", "# a comment\n")):
        path = tmp_path / name
        path.write_text(content)
        done = home.run("metrics", "--no-checks", "--output", str(path))
        assert done.rc == 1
        assert f"'{path}' is not a file of metrics" in done.err
        assert path.read_text() == content
    (tmp_path / "empty").touch()
    assert home.run("metrics", "--no-checks", "--output", str(tmp_path / "empty")).rc == 0


def test_a_server_that_cannot_be_measured_is_told_and_hides_no_other(home):
    os.rename(home.catalog.layout.meta_directory, home.catalog.layout.meta_directory + ".gone")
    write(home.catalog.layout.meta_directory, "a file")
    done = home.run("metrics", "--no-checks")
    assert done.rc == 1
    assert values(done.out)["barman_scrape_ok",] == 0


def test_the_samples_ask_for_metrics_that_exist():
    for name in ("prometheus-alerts.yml", "zabbix-template.yaml", "README.md"):
        asked = set(re.findall(r"\bbarman_[a-z_]+", (MONITORING / name).read_text(encoding="utf-8")))
        assert asked - HELP.keys() == set(), name
        assert asked
