"""`check` on real servers: green for a correct set-up, red with a reason for everything else."""

import json
import os
import signal
import time

import pytest

from tests.support.catalog_builder import add_backup, make_catalog
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until

HEALTHY = [
    "PostgreSQL",
    "superuser or standard user with backup privileges",
    "PostgreSQL streaming",
    "wal_level",
    "replication slot",
    "directories",
    "retention policy settings",
    "backup maximum age",
    "backup minimum size",
    "wal maximum age",
    "wal size",
    "compression settings",
    "failed backups",
    "minimum redundancy requirements",
    "pg_basebackup",
    "pg_basebackup compatible",
    "pg_basebackup supports tablespaces mapping",
    "systemid coherence",
    "pg_receivexlog",
    "pg_receivexlog compatible",
    "receive-wal running",
    "archiver errors",
]


def check(barman_home: BarmanHome, server: str = "main", *options: str) -> dict[str, tuple[bool, str]]:
    """Name → verdict and hint."""
    ran = barman_home.run("check", server, *options)
    found = {}
    for line in ran.out.splitlines()[1:]:
        name, _, rest = line.strip().partition(": ")
        verdict, _, hint = rest.partition(" ")
        found[name] = (verdict == "OK", hint[1:-1])
    assert ran.rc == (0 if all(ok for ok, _ in found.values()) else 1), ran.out + ran.err
    return found


def failures(found: dict[str, tuple[bool, str]]) -> list[str]:
    return [name for name, (ok, _) in found.items() if not ok]


@pytest.fixture
def streaming(barman_home: BarmanHome, pg: Cluster) -> BarmanHome:
    barman_home.add_server("main", pg, streaming_archiver="on", slot_name="barman", create_slot="auto")
    return barman_home


def test_a_fresh_streaming_server_lacks_nothing_but_its_receiver(streaming: BarmanHome) -> None:
    found = check(streaming)
    assert list(found) == HEALTHY
    assert failures(found) == ["receive-wal running"]
    assert "run 'barman cron'" in found["receive-wal running"][1]
    assert found["replication slot"] == (True, "slot 'barman' will be created when 'receive-wal' starts")


def test_a_missing_slot_that_nobody_creates_is_red(barman_home: BarmanHome, pg: Cluster) -> None:
    barman_home.add_server("main", pg, streaming_archiver="on", slot_name="barman")
    expected = "replication slot 'barman' doesn't exist. Please execute 'barman receive-wal --create-slot main'"
    assert check(barman_home)["replication slot"] == (False, expected)


def test_a_running_receiver_makes_a_fresh_server_green(streaming: BarmanHome) -> None:
    streaming.start("receive-wal", "main")
    wait_until(lambda: streaming.lock_holder("main", "receive-wal"), "the receiver runs")
    found = check(streaming)
    assert list(found) == HEALTHY
    assert failures(found) == []


def test_a_fresh_server_with_archive_command_is_green(barman_home: BarmanHome, pg: Cluster) -> None:
    barman_home.add_server("main", pg, archiver="on")
    pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("main"))
    pg.restart()
    found = check(barman_home)
    assert failures(found) == []
    assert list(found)[-4:] == ["archive_mode", "archive_command", "continuous archiving", "archiver errors"]


def test_an_archiver_that_is_off_or_fails_is_red(barman_home: BarmanHome, pg: Cluster) -> None:
    barman_home.add_server("main", pg, archiver="on")
    found = check(barman_home)
    assert found["archive_mode"] == (False, "please set it to 'on' or 'always'")
    assert found["archive_command"] == (False, "please set it accordingly to documentation")
    pg.configure(archive_mode="on", archive_command="false")
    pg.restart()
    name = pg.switch_wal()
    wait_until(lambda: pg.value("SELECT failed_count FROM pg_stat_archiver"), "archiving failed")
    verdict = check(barman_home)["continuous archiving"]
    assert verdict == (False, f"archive_command fails for {name}: see the PostgreSQL log")


def test_wal_that_is_archived_elsewhere_is_missed(barman_home: BarmanHome, pg: Cluster) -> None:
    barman_home.add_server("main", pg, archiver="on")
    catalog = make_catalog(str(barman_home.home))
    pg.configure(archive_mode="on", archive_command="true")
    pg.restart()
    first = pg.switch_wal()
    path = catalog.layout.wal_path(first)
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.truncate(16 * 1024 * 1024)
    number = int(first[16:], 16)
    add_backup(catalog, time.strftime("%Y%m%dT%H%M%S"), begin=number, end=number, systemid=pg.system_id)
    assert "WAL archive" not in check(barman_home)
    pg.create_ledger()
    pg.switch_wal()
    archived = "SELECT last_archived_wal FROM pg_stat_archiver"
    wait_until(lambda: pg.value(archived) != first, "PostgreSQL archived another segment")
    ok, hint = check(barman_home)["WAL archive"]
    assert not ok
    assert hint.startswith(f"PostgreSQL archived {pg.value(archived)} at ")
    assert hint.endswith("check archive_command")


def test_a_server_that_is_down_says_why(streaming: BarmanHome, pg: Cluster) -> None:
    pg.stop()
    found = check(streaming)
    assert failures(found) == [
        "PostgreSQL",
        "replication slot",
        "pg_basebackup compatible",
        "pg_receivexlog compatible",
        "receive-wal running",
    ]
    assert str(pg.port) in found["PostgreSQL"][1]
    assert found["replication slot"][1] == "cannot connect to PostgreSQL"


def test_a_role_without_privileges_is_told(barman_home: BarmanHome, pg: Cluster) -> None:
    pg.sql("CREATE ROLE poor LOGIN")
    barman_home.add_server("main", pg, archiver="on", conninfo=pg.conninfo.replace("user=barman", "user=poor"))
    found = check(barman_home)
    assert not found["no access to backup functions"][0]
    assert "superuser or standard user with backup privileges" not in found


def test_another_cluster_under_the_same_name_is_red(
    barman_home: BarmanHome, pg: Cluster, pg_factory: ClusterFactory
) -> None:
    other = pg_factory.create(pg.version, fresh=True)
    barman_home.add_server("main", pg, archiver="on", streaming_conninfo=other.streaming_conninfo)
    assert check(barman_home)["systemid coherence"] == (
        False,
        "is the streaming DSN targeting the same server of the PostgreSQL connection string?",
    )
    barman_home.add_server("main", pg, archiver="on")
    barman_home.path("main", "identity.json").write_text('{"systemid": "1", "version": "15"}')
    ok, hint = check(barman_home)["systemid coherence"]
    assert not ok
    assert "identity.json" in hint
    # A repository that was copied without it: the backups tell.
    barman_home.path("main", "identity.json").unlink()
    add_backup(make_catalog(str(barman_home.home)), "20260101T000000")
    _, hint = check(barman_home)["systemid coherence"]
    assert hint == "the system Id of the connected PostgreSQL server is not that of backup 20260101T000000"


def test_wal_from_another_host_is_checked_there(
    barman_home: BarmanHome, pg: Cluster, pg_factory: ClusterFactory
) -> None:
    standby = pg_factory.standby_of(pg)
    barman_home.add_server(
        "main",
        pg,
        streaming_archiver="on",
        slot_name="barman",
        wal_conninfo=standby.conninfo,
        wal_streaming_conninfo=standby.streaming_conninfo,
    )
    found = check(barman_home)
    assert [name for name in found if name.endswith("(WAL streaming)")] == [
        "has monitoring privileges (WAL streaming)",
        "PostgreSQL streaming (WAL streaming)",
        "wal_level (WAL streaming)",
        "systemid coherence (WAL streaming)",
        "replication slot (WAL streaming)",
    ]
    assert "replication slot" not in found
    assert "receive-wal --create-slot main" in found["replication slot (WAL streaming)"][1]


def test_a_server_that_does_not_answer_ends_in_a_timeout(barman_home: BarmanHome, pg: Cluster) -> None:
    barman_home.add_server("main", pg, archiver="on")
    assert pg.process is not None
    os.kill(pg.process.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        found = check(barman_home, "main", "--check-timeout", "2")
        assert time.monotonic() - started < 10
    finally:
        os.kill(pg.process.pid, signal.SIGCONT)
    assert found["check timeout"] == (False, "barman check command timed out")


def test_nagios_and_json_tell_the_same(streaming: BarmanHome) -> None:
    ran = streaming.run("check", "--nagios", "main")
    assert ran.rc == 2
    assert ran.out.splitlines()[0] == (
        "BARMAN CRITICAL - server main has issues * main FAILED: receive-wal running|main=0B main_wals=0B"
    )
    found = json.loads(streaming.run("-f", "json", "check", "main").out)["main"]
    assert [name for name, line in found.items() if line["status"] == "FAILED"] == ["receive_wal_running"]


def test_a_failing_server_does_not_hide_the_others(streaming: BarmanHome, pg: Cluster) -> None:
    streaming.add_server("broken", conninfo="host=/nowhere", archiver="on")
    streaming.add_server("idle", conninfo="host=/nowhere", archiver="on", active="off")
    ran = streaming.run("check", "all")
    assert ran.rc == 1
    assert [line for line in ran.out.splitlines() if line.startswith("Server")] == [
        "Server broken:",
        "Server idle (inactive):",
        "Server main:",
    ]
    assert streaming.run("check", "idle").rc == 0
