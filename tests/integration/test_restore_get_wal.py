"""A restored server that fetches its WAL from Barman itself."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.support.fix_postgres import REPOSITORY, BarmanHome, Cluster, ClusterFactory, wait_until


def settle(home: BarmanHome, owner: int) -> None:
    """Let the user who runs PostgreSQL run Barman too: restore_command runs as that user."""
    home.globals["barman_user"] = pwd.getpwuid(owner).pw_name
    home.write()
    for path in (home.directory, *home.directory.rglob("*")):
        os.chown(path, owner, -1, follow_symlinks=False)
    for path in (home.directory, *home.directory.parents):
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 1:
            path.chmod(path.stat().st_mode | 0o11)


def install_command(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.chmod(0o755)
    script = directory / "barman"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {shutil.which(sys.executable)} -m barman "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


@pytest.mark.parametrize("standby", [False, True], ids=["primary", "standby"])
def test_a_server_fetches_its_wal(
    pg: Cluster,
    pg_factory: ClusterFactory,
    barman_home: BarmanHome,
    monkeypatch: pytest.MonkeyPatch,
    standby: bool,
) -> None:
    install_command(pg_factory.scratch(), monkeypatch)
    barman_home.add_server("pg", pg, archiver="on", compression="gzip", recovery_options="get-wal")
    pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("pg"))
    settle(barman_home, pg.data.stat().st_uid)
    pg.restart()
    pg.create_ledger()
    barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    barman_home.run("backup", "pg", "--wait").ok()
    pg.insert(3)
    wal = pg.switch_wal()
    wait_until((barman_home.path("pg", "incoming") / wal).exists, "the segment arrives")
    rows = pg.ledger()
    pg.insert(2, "received, and not finished")
    # A standby gets whole segments only.
    rows = rows if standby else pg.ledger()
    name = pg.current_wal()
    pg.stop("immediate")
    received = barman_home.path("pg", "streaming", f"{name}.partial")
    shutil.copy(pg.data / "pg_wal" / name, received)
    os.chown(received, pg.data.stat().st_uid, -1)
    pg.destroy()

    destination = pg_factory.scratch() / "restored"
    options = ("--standby-mode",) if standby else ()
    done = barman_home.run("restore", "pg", "latest", str(destination), *options).ok()
    assert (f"The newest WAL segment '{received}' carries records up to" in done.out) is not standby
    assert "WARNING: 'get-wal' is in the specified 'recovery_options'." in done.out
    assert f"barman -c {barman_home.config_file} get-wal" in (destination / "postgresql.auto.conf").read_text()
    assert not any((destination / "pg_wal").glob("0*"))
    cluster = pg_factory.adopt(pg.version, destination)
    wait_until(lambda: cluster.ledger() == rows, "every row is there")
    wait_until(lambda: cluster.value("SELECT pg_is_in_recovery()") is standby, "it is what it should be")


def test_a_recovery_never_ends_where_its_archive_is_sick_and_goes_on_when_it_is_well(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generated restore_command of a server on this host: neither a failure of Barman nor a hole promotes."""
    pg = newest_pg
    install_command(pg_factory.scratch(), monkeypatch)
    barman_home.add_server("pg", pg, archiver="on", recovery_options="get-wal")
    pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("pg"))
    settle(barman_home, pg.data.stat().st_uid)
    pg.restart()
    pg.create_ledger()
    barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    barman_home.run("backup", "pg", "--wait").ok()
    names = []
    for _ in range(3):
        pg.insert(3)
        names.append(pg.switch_wal())
    rows = pg.ledger()
    wait_until((barman_home.path("pg", "incoming") / names[-1]).exists, "the last segment arrives")
    barman_home.run("archive-wal", "pg").ok()
    pg.destroy()
    destination = pg_factory.scratch() / "restored"
    barman_home.run("restore", "pg", "latest", str(destination)).ok()
    cluster = pg_factory.adopt(pg.version, destination, start=False)

    def has_promoted() -> bool:
        return "archive recovery complete" in cluster.log_text() or any((destination / "pg_wal").glob("*.history"))

    # A hole, then no archive at all: the server waits for what must be there, and finds it when it is.
    archived = next(barman_home.path("pg", "wals").rglob(names[1]))
    aside = barman_home.path("pg", "aside")
    archived.rename(aside)
    cluster.start(wait=False)
    process = cluster.process
    assert process is not None
    wait_until(lambda: f'restored log file "{names[0]}" from archive' in cluster.log_text(), "it recovers", 60)
    time.sleep(2)
    wals = archived.parent
    wals.rename(wals.with_name("unmounted"))
    time.sleep(2)
    assert cluster.is_running
    assert not has_promoted()

    # Barman fails as a whole, and the recovery has passed the end of the backup: the server stops, and can go on later.
    moved = barman_home.config_file.with_name("elsewhere.conf")
    barman_home.config_file.rename(moved)
    aside.rename(wals.with_name("unmounted") / names[1])
    wals.with_name("unmounted").rename(wals)
    wait_until(lambda: process.poll() is not None, "the server stops", 60)
    assert f'restored log file "{names[1]}" from archive' in cluster.log_text()
    assert not has_promoted()
    assert (destination / "recovery.signal").exists()
    cluster.stop()
    moved.rename(barman_home.config_file)
    cluster.start(wait=False)
    wait_until(lambda: has_promoted() and cluster.ledger() == rows, "every row is there", 60)
