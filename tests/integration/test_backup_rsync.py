"""Backups with rsync over ssh and locally, restored and started: the proof of a backup tool."""

import json
import shutil
import time
from pathlib import Path

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until
from tests.support.fix_sshd import Sshd


def archive(home: BarmanHome, pg: Cluster, sshd: Sshd, **options: str) -> None:
    """Scenario 2a: rsync over ssh, WAL by archive_command."""
    settings = {"backup_method": "rsync", "ssh_command": sshd.command, "archiver": "on"}
    settings.update(reuse_backup="link", parallel_jobs="2", **options)
    home.add_server("main", pg, **settings)
    if pg.value("SHOW archive_mode") == "off":
        pg.configure(archive_mode="on", archive_command=home.accept_wal("main"))
        pg.restart()


def latest(home: BarmanHome) -> Path:
    return max(path for path in home.path("main", "base").iterdir())


def plain_files(backup: Path) -> list[Path]:
    """The files of a backup, without our own record of it."""
    found = [path for path in backup.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in found if path != backup / "backup.info"]


def recover(home: BarmanHome, factory: ClusterFactory, pg: Cluster, backup: str, place: Path, *options: str) -> Cluster:
    home.run("recover", *options, "main", backup, str(place)).ok()
    return factory.adopt(pg.version, place)


@pytest.mark.parametrize("pg", ["15", "18"], indirect=True)
def test_a_chain_of_backups_restores_to_the_latest_change_whatever_is_deleted(
    barman_home: BarmanHome, pg: Cluster, sshd: Sshd, pg_factory: ClusterFactory
) -> None:
    archive(barman_home, pg, sshd)
    archiving = barman_home
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
    shared = [path for path in plain_files(second) if path.stat().st_nlink > 1]
    assert len(shared) > 500
    assert all(path.samefile(first / path.relative_to(second)) for path in shared)
    own = sum(path.stat().st_size for path in plain_files(second) if path not in shared)
    total = sum(path.stat().st_size for path in plain_files(second))
    shown = json.loads(archiving.run("-f", "json", "show-backup", "main", second.name).ok().out)["main"]
    assert shown["base_backup_information"]["disk_usage_bytes"] == total
    assert shown["base_backup_information"]["incremental_size_bytes"] == own
    # What is on disk beyond the first backup is what changed, and what is always new.
    assert own < total / 10
    archiving.run("backup", "main", "--wait", "--manifest").ok()
    third = latest(archiving)
    assert "DONE" in archiving.run("show-backup", "main", "latest").ok().out
    archiving.run("delete", "main", second.name).ok()
    assert "successfully verified" in archiving.run("verify-backup", "main", third.name).ok().out
    pg.insert(5)
    last = pg.switch_wal()
    ledger = pg.ledger()
    wait_until((archiving.path("main", "incoming") / last).exists, "the last segment has arrived")
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
