"""Backups with pg_basebackup from real servers, through the command line, as an operator takes them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from barman.catalog.backup_info import BackupInfo
from barman.catalog.catalog import Catalog
from tests.support import needs
from tests.support.catalog_builder import make_layout
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until
from tests.support.invariants import Expectations, check_invariants

pytestmark = pytest.mark.postgres

STREAMING = {"streaming_archiver": "on", "slot_name": "barman", "create_slot": "auto", "immediate_checkpoint": "true"}


def catalog_of(home: BarmanHome, name: str = "main") -> Catalog:
    return Catalog(make_layout(str(home.home), name))


def only_backup(home: BarmanHome) -> BackupInfo:
    (info,) = catalog_of(home).snapshot().backups.values()
    return info


@pytest.fixture
def streaming(pg: Cluster, barman_home: BarmanHome) -> BarmanHome:
    """A fresh streaming-only server: no slot, no receiver, no WAL yet."""
    pg.create_ledger()
    pg.insert(100)
    barman_home.add_server("main", pg, **STREAMING)
    return barman_home


@pytest.fixture
def archiving(newest_pg: Cluster, barman_home: BarmanHome) -> BarmanHome:
    """A server whose WAL comes by archive_command alone."""
    newest_pg.create_ledger()
    barman_home.add_server("main", newest_pg, archiver="on", immediate_checkpoint="true")
    command = barman_home.accept_wal("main")
    newest_pg.configure(archive_mode="on", archive_command=command.replace("'", "''"))
    newest_pg.restart()
    newest_pg.insert(10)
    newest_pg.switch_wal()
    return barman_home


# --- the first backup


def test_the_first_backup_of_a_fresh_streaming_server_needs_no_ritual(streaming: BarmanHome) -> None:
    done = streaming.run("backup", "main").ok()
    info = only_backup(streaming)
    assert info.status == "DONE"
    assert done.err == ""
    told = done.out.splitlines()
    assert told[0] == "Starting streaming archiver for server main"
    assert told[1].startswith("Starting backup using postgres method for server main in ")
    assert told[2].startswith("Backup start at LSN: ")
    assert told[3] == f"Starting backup copy via pg_basebackup for {info.backup_id}"
    assert told[4].startswith("Copy done (time: ")
    assert told[5:7] == ["Finalising the backup.", "This is the first backup for server main"]
    assert told[7].startswith("Backup size: ")
    assert told[8] == f"Backup end at LSN: {info.end_xlog} ({info.end_wal}, {info.end_offset:08X})"
    assert told[9].startswith("Backup completed (start time: ")
    check_invariants(catalog_of(streaming).layout, Expectations(backups=[info.backup_id]))


def test_the_record_says_where_the_backup_begins_and_ends(streaming: BarmanHome, pg: Cluster) -> None:
    streaming.run("backup", "main").ok()
    info = only_backup(streaming)
    data = Path(catalog_of(streaming).layout.data_directory(info.backup_id))
    assert info.backup_label == (data / "backup_label").read_text()
    assert f"START WAL LOCATION: {info.begin_xlog} (file {info.begin_wal})" in info.backup_label
    manifest = json.loads((data / "backup_manifest").read_text())
    (needed,) = manifest["WAL-Ranges"]
    assert (str(info.begin_xlog), str(info.end_xlog)) == (needed["Start-LSN"], needed["End-LSN"])
    assert (info.mode, info.timeline, info.systemid) == ("postgres", 1, pg.system_id)
    assert info.version == int(str(pg.value("SHOW server_version_num")))
    files = [path for path in data.rglob("*") if path.is_file() and not path.is_symlink()]
    assert info.size == info.deduplicated_size == sum(path.stat().st_size for path in files)
    identity = json.loads(streaming.path("main", "identity.json").read_text())
    assert identity == {"systemid": pg.system_id, "version": pg.version}


def test_the_result_in_json_is_the_record(streaming: BarmanHome) -> None:
    done = streaming.run("-f", "json", "backup", "main", "--name", "nightly").ok()
    document = json.loads(done.out)
    info = only_backup(streaming)
    assert document["backup_id"] == info.backup_id
    assert document["backup_name"] == info.backup_name == "nightly"
    assert document["status"] == "DONE"
    assert document["begin_xlog"] == str(info.begin_xlog)
    assert set(document["copy_stats"]) == {"copy_time", "total_time"}
    assert document["_INFO"][1].startswith("Starting backup using postgres method")


def test_a_second_backup_finds_the_receiver_at_work(streaming: BarmanHome) -> None:
    streaming.run("backup", "main").ok()
    second = streaming.run("backup", "main").ok()
    assert "Starting streaming archiver" not in second.out
    assert "This is the first backup" not in second.out
    assert [info.status for info in catalog_of(streaming).snapshot().backups.values()] == ["DONE", "DONE"]


def test_a_missing_slot_without_leave_to_create_it_is_named_and_nothing_is_written(
    newest_pg: Cluster, barman_home: BarmanHome
) -> None:
    barman_home.add_server("main", newest_pg, **{**STREAMING, "create_slot": "manual"})
    done = barman_home.run("backup", "main")
    assert done.rc == 1
    assert "Impossible to start the backup. Check the log for more details, or run 'barman check main'" in done.err
    assert "barman receive-wal --create-slot main" in done.err
    assert not catalog_of(barman_home).snapshot().backups


# --- WAL by archive_command


def test_wal_that_does_not_arrive_leaves_the_backup_waiting_and_says_so(
    archiving: BarmanHome, newest_pg: Cluster
) -> None:
    archiving.run("archive-wal", "main").ok()
    newest_pg.configure(archive_command="true")  # PostgreSQL believes that its WAL is safe
    newest_pg.reload()
    done = archiving.run("backup", "main").ok()
    info = only_backup(archiving)
    assert info.status == "WAITING_FOR_WALS"
    assert done.err.startswith("WARNING: IMPORTANT: ")
    assert "WAITING_FOR_WALS" in done.err.splitlines()[0]
    assert done.err.rstrip().endswith("Hint: execute the backup command with '--wait'")
    assert "has been removed" in done.out  # the WAL from before it is of no use to anybody
    late = archiving.run("backup", "--wait", "--wait-timeout", "1", "main")
    assert late.rc == 1
    assert "has not been received in 1 seconds" in late.err


def test_with_wait_a_backup_of_an_archiving_server_is_done(archiving: BarmanHome) -> None:
    done = archiving.run("backup", "--wait", "--wait-timeout", "60", "main").ok()
    info = only_backup(archiving)
    assert info.status == "DONE"
    assert f"Waiting for the WAL file {info.end_wal} from server 'main' (max: 60 seconds)" in done.out


def test_wal_from_before_the_first_backup_goes_when_the_backup_is_good(
    archiving: BarmanHome, newest_pg: Cluster
) -> None:
    for _ in range(3):
        newest_pg.switch_wal()
    old = newest_pg.switch_wal()
    wait_until(lambda: archiving.path("main", "incoming", old).exists(), "the segment is delivered")
    archiving.run("archive-wal", "main").ok()
    done = archiving.run("backup", "--wait", "main").ok()
    assert "WAL segments preceding the current backup have been found:" in done.out
    assert f"\t{old} from server main has been removed" in done.out
    segments = [name for name in catalog_of(archiving).wals.list_names() if len(name) == 24]
    assert min(segments) == only_backup(archiving).begin_wal


# --- what a cluster may look like


def test_tablespaces_are_copied_and_linked(streaming: BarmanHome, pg: Cluster, pg_factory: ClusterFactory) -> None:
    place = pg_factory.scratch() / "odd = place"
    place.mkdir()
    shutil.chown(place, pg.data.owner())
    pg.sql(f"CREATE TABLESPACE tsa LOCATION '{place}'")
    pg.sql("CREATE TABLE far TABLESPACE tsa AS SELECT generate_series(1, 10000) AS n")
    streaming.run("backup", "main").ok()
    info = only_backup(streaming)
    (space,) = info.tablespaces
    layout = catalog_of(streaming).layout
    directory = layout.tablespace_directory(info.backup_id, space.oid)
    assert (space.name, space.location) == ("tsa", str(place))
    assert os.readlink(os.path.join(layout.data_directory(info.backup_id), "pg_tblspc", str(space.oid))) == directory
    assert any(name.startswith(f"PG_{pg.version}_") for name in os.listdir(directory))
    files = [path for path in Path(layout.backup_directory_of(info.backup_id)).rglob("*") if path.name != "backup.info"]
    assert info.size == sum(path.stat().st_size for path in files if path.is_file() and not path.is_symlink())


def test_configuration_outside_the_data_directory_is_named(
    newest_pg: Cluster, barman_home: BarmanHome, pg_factory: ClusterFactory
) -> None:
    hba = pg_factory.scratch() / "pg_hba.conf"
    shutil.copy(newest_pg.data / "pg_hba.conf", hba)
    shutil.chown(hba, newest_pg.data.owner())
    newest_pg.configure(hba_file=str(hba))
    newest_pg.restart()
    barman_home.add_server("main", newest_pg, **STREAMING)
    done = barman_home.run("backup", "main").ok()
    assert f"\t{hba}" in done.err
    barman_home.add_server("main", newest_pg, **STREAMING, backup_options="external_configuration")
    assert str(hba) not in barman_home.run("backup", "main").ok().err


def test_the_rate_is_limited_and_judged_before(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("main", newest_pg, **STREAMING)
    refused = barman_home.run("backup", "--bwlimit", "31", "main")
    assert refused.rc == 1
    assert "31 kB/s is out of range" in refused.err
    assert not catalog_of(barman_home).snapshot().backups
    started = time.monotonic()
    barman_home.run("backup", "--bwlimit", "8192", "main").ok()
    assert time.monotonic() - started > (only_backup(barman_home).size or 0) / (8192 * 1024) / 2


# --- failures


def test_a_server_that_dies_during_the_copy_leaves_a_failed_backup(streaming: BarmanHome, pg: Cluster) -> None:
    process = streaming.start("backup", "--bwlimit", "1024", "main")
    wait_until(lambda: copying(streaming), "the copy has begun")
    pg.stop("immediate")
    out, err = process.communicate(timeout=60)
    info = only_backup(streaming)
    assert process.returncode == 1
    assert "Backup failed copying files.\nDETAILS: data transfer failure on directory" in err
    assert info.status == "FAILED"
    assert (info.error or "").startswith("failure copying files (data transfer failure on directory '")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backup_says_so_and_leaves_no_program_behind(
    newest_pg: Cluster, barman_home: BarmanHome, number: signal.Signals
) -> None:
    barman_home.add_server("main", newest_pg, **STREAMING)
    process = barman_home.start("backup", "--bwlimit", "1024", "main")
    wait_until(lambda: copying(barman_home), "the copy has begun")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    info = only_backup(barman_home)
    assert process.returncode == 1
    assert (info.status, info.error) == ("FAILED", f"failure copying files (interrupted by {number.name})")
    assert f"DETAILS: interrupted by {number.name}" in err
    assert not copies_running(barman_home)


def test_a_killed_backup_is_failed_by_the_next_one(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("main", newest_pg, **STREAMING)
    process = barman_home.start("backup", "--bwlimit", "1024", "main")
    wait_until(lambda: copying(barman_home), "the copy has begun")
    process.kill()
    process.wait()
    assert only_backup(barman_home).status == "STARTED"
    wait_until(lambda: not copies_running(barman_home), "pg_basebackup ends with the process that started it")
    done = barman_home.run("backup", "main").ok()
    first, second = catalog_of(barman_home).snapshot().backups.values()
    assert (first.status, first.error) == ("FAILED", f"failure copying files (process {process.pid} is gone)")
    assert second.status == "DONE"
    assert f"Backup {first.backup_id} of server main has been marked as FAILED" in done.err


def test_two_backups_at_once_are_refused(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("main", newest_pg, **STREAMING)
    process = barman_home.start("backup", "--bwlimit", "4096", "main")
    wait_until(lambda: copying(barman_home), "the copy has begun")
    second = barman_home.run("backup", "main")
    assert second.rc == 1
    assert "Another backup process is running" in second.err
    process.communicate(timeout=60)
    assert only_backup(barman_home).status == "DONE"


def test_missing_programs_are_named_before_anything_is_written(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("main", newest_pg, **STREAMING, path_prefix="/nonexistent")
    done = barman_home.run("backup", "main", env={"PATH": "/nonexistent"})
    if "pg_basebackup" not in done.err:
        pytest.skip("a package directory of this host has a fitting pg_basebackup")
    assert done.rc == 1
    assert not catalog_of(barman_home).snapshot().backups


def test_a_wrong_password_is_told_and_never_shown(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    newest_pg.sql("ALTER ROLE streaming_barman PASSWORD 'right'")
    hba = newest_pg.data / "pg_hba.conf"
    rules = "local replication streaming_barman scram-sha-256\nlocal all streaming_barman scram-sha-256\n"
    hba.write_text(rules + hba.read_text())
    newest_pg.reload()
    streaming = f"{newest_pg.streaming_conninfo} password=wr0ng-s3cret"
    barman_home.add_server("main", newest_pg, **STREAMING, streaming_conninfo=streaming)
    done = barman_home.run("backup", "main")
    assert done.rc == 1
    assert "password authentication failed" in done.err
    assert "wr0ng-s3cret" not in done.out + done.err + barman_home.log_text()
    barman_home.add_server(
        "main", newest_pg, **STREAMING, streaming_conninfo=streaming.replace("wr0ng-s3cret", "right")
    )
    barman_home.run("backup", "main").ok()


def test_retries_are_announced_and_the_last_failure_counts(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    flaky = barman_home.directory / "bin"
    flaky.mkdir()
    counter = barman_home.directory / "tries"
    script = flaky / "pg_basebackup"
    real = newest_pg.program("pg_basebackup")
    script.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {real} --version\necho >> {counter}\n'
        f'[ $(wc -l < {counter}) -lt 3 ] && {{ echo "pg_basebackup: error: no luck" >&2; exit 1; }}\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    barman_home.add_server("main", newest_pg, **STREAMING, path_prefix=f"{flaky}:{newest_pg.bindir}")
    done = barman_home.run("backup", "--retry-times", "1", "--retry-sleep", "0", "main")
    assert done.rc == 1
    assert "(attempt 1)" in done.err
    assert "no luck" in (only_backup(barman_home).error or "")
    barman_home.run("delete", "main", "last-failed").ok()
    counter.unlink()
    barman_home.run("backup", "--retry-times", "2", "--retry-sleep", "0", "main").ok()
    assert only_backup(barman_home).status == "DONE"


@pytest.fixture
def small_disk(barman_home: BarmanHome) -> Iterator[Path]:
    """A full disk in the making: a tmpfs of 12 MB where backups go."""
    place = barman_home.directory / "small"
    place.mkdir()
    with needs.small_disk(place, "12m"):
        yield place


def test_a_full_disk_fails_the_backup_and_its_cause_is_recorded(
    newest_pg: Cluster, barman_home: BarmanHome, small_disk: Path
) -> None:
    barman_home.add_server("main", newest_pg, **STREAMING, basebackups_directory=str(small_disk))
    done = barman_home.run("backup", "main")
    (record,) = barman_home.path("main", "meta").glob("*-backup.info")
    assert done.rc == 1
    assert "No space left on device" in done.err
    assert "status=FAILED" in record.read_text()
    assert "No space left on device" in record.read_text()


def copying(home: BarmanHome) -> bool:
    """Whether pg_basebackup has written a file into some backup."""
    return any(home.path("main", "base").glob("*/data/base/*/*"))


def copies_running(home: BarmanHome) -> list[int]:
    """The pids of pg_basebackup runs into this home: they have its directory in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"pg_basebackup" in arguments and str(home.home).encode() in arguments:
            found.append(int(entry.name))
    return found


# --- the proof


def test_a_backup_that_is_called_done_can_be_started(
    streaming: BarmanHome, pg: Cluster, pg_factory: ClusterFactory
) -> None:
    streaming.run("backup", "main").ok()
    pg.insert(50, "after the backup")
    rows = pg.ledger()
    last = pg.switch_wal()
    pg.switch_wal()
    archive = catalog_of(streaming).wals

    def arrived() -> bool:
        streaming.run("archive-wal", "main").ok()
        return archive.exists(last)

    wait_until(arrived, "the last segment is archived")
    pg.destroy()
    layout = catalog_of(streaming).layout
    restored = pg_factory.scratch() / "restored"
    shutil.copytree(layout.data_directory(only_backup(streaming).backup_id), restored)
    wals = pg_factory.scratch() / "wals"
    wals.mkdir()
    for name in archive.list_names():
        shutil.copy(layout.wal_path(name), wals)
    wals.chmod(0o755)
    for path in wals.iterdir():
        path.chmod(0o644)
    (restored / "recovery.signal").touch()
    with open(restored / "postgresql.auto.conf", "a", encoding="utf-8") as file:
        file.write(f"restore_command = 'cp {wals}/%f %p'\n")
    cluster = pg_factory.adopt(pg.version, restored)
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "recovery has ended")
    assert cluster.ledger() == rows


def test_a_backup_is_verified_against_its_manifest_and_damage_is_found(streaming: BarmanHome) -> None:
    streaming.run("backup", "main").ok()
    good = streaming.run("verify-backup", "main", "latest").ok()
    assert good.out.splitlines()[:2] == ["Verifying backup 'latest' on server ['main']", "Calling pg_verifybackup"]
    assert "backup successfully verified" in good.out
    data = Path(catalog_of(streaming).layout.data_directory(only_backup(streaming).backup_id))
    (data / "global" / "1262").write_bytes(b"\0" * (data / "global" / "1262").stat().st_size)
    bad = streaming.run("verify-backup", "main", "latest")
    assert bad.rc == 1
    assert f"verify backup failure on directory '{data}'" in bad.err
    assert "global/1262" in bad.err
    refused = streaming.run("generate-manifest", "main", "latest")
    assert refused.rc == 1
    assert f"File {data}/backup_manifest already exists." in refused.err
    (data / "backup_manifest").unlink()
    streaming.run("generate-manifest", "main", "latest").ok()
    streaming.run("verify-backup", "main", "latest").ok()
