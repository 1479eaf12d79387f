"""Backups with rsync over ssh and locally, restored and started: the proof of a backup tool."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until
from tests.support.fix_sshd import Sshd


@pytest.fixture
def archiving(barman_home: BarmanHome, pg: Cluster, sshd: Sshd) -> BarmanHome:
    """Scenario 2a: rsync over ssh, WAL by archive_command."""
    barman_home.add_server(
        "main",
        pg,
        backup_method="rsync",
        ssh_command=sshd.command,
        archiver="on",
        reuse_backup="link",
        parallel_jobs="2",
    )
    pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("main"))
    pg.restart()
    return barman_home


def latest(home: BarmanHome) -> Path:
    return max(path for path in home.path("main", "base").iterdir())


def recover(home: BarmanHome, factory: ClusterFactory, pg: Cluster, backup: str, place: Path, *options: str) -> Cluster:
    home.run("recover", *options, "main", backup, str(place)).ok()
    return factory.adopt(pg.version, place)


def test_a_chain_of_backups_restores_to_the_latest_change_whatever_is_deleted(
    archiving: BarmanHome, pg: Cluster, pg_factory: ClusterFactory
) -> None:
    pg.create_ledger()
    space = pg_factory.scratch() / "space"
    space.mkdir()
    shutil.chown(space, pg.data.stat().st_uid)
    pg.sql(f"CREATE TABLESPACE far LOCATION '{space}'")
    pg.sql("CREATE TABLE far_away TABLESPACE far AS SELECT generate_series(1, 1000) AS id")
    pg.sql("CHECKPOINT")
    time.sleep(3)
    archiving.run("backup", "main", "--wait").ok()
    first = latest(archiving)
    pg.insert(10)
    second_run = archiving.run("backup", "main", "--wait").ok()
    second = latest(archiving)
    assert first != second
    assert "Starting backup copy via rsync/SSH" in second_run.out
    shared = [path for path in second.rglob("*") if path.is_file() and path.stat().st_nlink > 1]
    assert len(shared) > 500
    archiving.run("backup", "main", "--wait").ok()
    third = latest(archiving)
    assert "DONE" in archiving.run("show-backup", "main", "latest").ok().out
    archiving.run("delete", "main", second.name).ok()
    pg.insert(5)
    pg.switch_wal()
    ledger = pg.ledger()
    time.sleep(1)
    pg.stop()
    archiving.run("archive-wal", "main").ok()
    for backup in (first, third):
        place = pg_factory.scratch() / "restored"
        moved = pg_factory.scratch() / "moved"
        restored = recover(archiving, pg_factory, pg, backup.name, place, "--tablespace", f"far:{moved}")
        assert restored.ledger() == ledger
        assert restored.value("SELECT count(*) FROM far_away") == 1000
        restored.stop()


def test_local_rsync_needs_no_ssh(barman_home: BarmanHome, newest_pg: Cluster, pg_factory: ClusterFactory) -> None:
    pg = newest_pg
    barman_home.add_server("main", pg, backup_method="local-rsync", archiver="on")
    pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("main"))
    pg.restart()
    pg.create_ledger()
    pg.insert(3)
    out = barman_home.run("backup", "main", "--wait").ok().out
    assert "via local rsync" in out
    ledger = pg.ledger()
    pg.stop()
    restored = recover(barman_home, pg_factory, pg, "latest", pg_factory.scratch() / "restored")
    assert restored.ledger()[: len(ledger)] == ledger


def test_a_host_that_cannot_be_reached_refuses_the_backup(archiving: BarmanHome, sshd: Sshd) -> None:
    sshd.stop()
    ran = archiving.run("backup", "main")
    assert ran.rc == 1
    assert "ssh" in ran.out + ran.err
    assert not list(archiving.path("main", "base").iterdir())


def test_a_link_cut_during_the_copy_fails_the_backup_and_the_next_one_is_good(
    archiving: BarmanHome, pg: Cluster, sshd: Sshd
) -> None:
    pg.sql("CREATE TABLE big AS SELECT generate_series(1, 300000) AS id, repeat('x', 100) AS t")
    archiving.add_server(
        "main", pg, backup_method="rsync", ssh_command=sshd.command, archiver="on", bandwidth_limit="4000"
    )
    running = archiving.start("backup", "main")
    base = archiving.path("main", "base")
    limit = time.monotonic() + 60
    while not (base.exists() and any(path.name.startswith("1") for path in base.glob("*/data/base/*/*"))):
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert sshd.cut()
    out, err = running.communicate(timeout=60)
    assert running.returncode == 1, out + err
    assert "FAILED" in archiving.run("list-backups", "main").ok().out
    archiving.run("backup", "main", "--bwlimit", "0", "--wait").ok()
    assert pg.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'barman'") == 0


def test_an_unreadable_file_fails_the_backup_and_names_it(archiving: BarmanHome, pg: Cluster, sshd: Sshd) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to have a file that the user of sshd cannot read")
    (pg.data / "foreign").write_text("x")
    (pg.data / "foreign").chmod(0o600)
    ran = archiving.run("backup", "main")
    assert ran.rc == 1
    assert "foreign" in ran.out + ran.err
    assert "Permission denied" in ran.out + ran.err


def test_a_killed_backup_leaves_no_rsync_and_is_marked_by_the_next_command(
    archiving: BarmanHome, pg: Cluster, sshd: Sshd
) -> None:
    pg.sql("CREATE TABLE big AS SELECT generate_series(1, 200000) AS id, repeat('x', 100) AS t")
    archiving.add_server(
        "main", pg, backup_method="rsync", ssh_command=sshd.command, archiver="on", bandwidth_limit="1000"
    )
    running = archiving.start("backup", "main")
    base = archiving.path("main", "base")
    wait_until(lambda: any(base.glob("*/data/base/1/*")), "the copy has begun", 60)
    running.kill()
    running.wait()
    directory = str(next(base.iterdir()))
    wait_until(lambda: not _processes_about(directory), "rsync has ended", 20)
    archiving.run("backup", "main", "--bwlimit", "0", "--wait").ok()
    lines = archiving.run("list-backups", "main").ok().out
    assert lines.count("FAILED") == 1


def _processes_about(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace") if entry.name.isdigit() else ""
        except OSError:
            continue
        if text in words:
            found.append(words)
    return found
