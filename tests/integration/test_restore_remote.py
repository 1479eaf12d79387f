"""Restores onto another host, over a real sshd: the story, and the bad days of the way there and of the place."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until
from tests.support.fix_sshd import USER, Sshd


def back_up(home: BarmanHome) -> str:
    home.run("switch-wal", "--force", "--archive", "pg").ok()
    home.run("backup", "pg", "--wait").ok()
    return home.run("list-backups", "--minimal", "pg").ok().out.split()[0]


def set_up(home: BarmanHome, pg: Cluster, **options: str) -> None:
    home.add_server("pg", pg, archiver="on", **options)
    pg.configure(archive_mode="on", archive_command=home.accept_wal("pg"))
    pg.restart()
    pg.create_ledger()


def promoted(cluster: Cluster) -> Cluster:
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
    return cluster


def archived(home: BarmanHome, pg: Cluster) -> None:
    """Have everything up to now in the archive."""
    wal = pg.switch_wal()
    wait_until((home.path("pg", "incoming") / wal).exists, "the segment arrives")


@pytest.mark.parametrize("pg", ["15", "18"], indirect=True)
def test_a_cluster_is_recovered_on_another_host_to_a_time(
    pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, sshd: Sshd
) -> None:
    set_up(barman_home, pg, compression="gzip", parallel_jobs="2")
    place = pg_factory.scratch() / "space"
    place.mkdir()
    shutil.chown(place, pg.data.stat().st_uid)
    pg.sql(f"CREATE TABLESPACE far LOCATION '{place}'")
    pg.sql("CREATE TABLE far_away TABLESPACE far AS SELECT generate_series(1, 1000) AS n")
    (pg.data / "a file 'of' $(id)").write_text("x")
    (pg.data / "a file 'of' $(id)").chmod(0o600)
    shutil.chown(pg.data / "a file 'of' $(id)", pg.data.stat().st_uid)
    backup = back_up(barman_home)
    moment = pg.insert(5)
    rows = pg.ledger()
    pg.insert(5, "too late")
    archived(barman_home, pg)
    pg.destroy()
    host = pg_factory.scratch()
    destination, far = host / "it's $(touch pwned) 100%", host / "closed" / 'new "place"'
    # A parent that can only be passed through: the place in it was made by its owner.
    far.mkdir(parents=True)
    shutil.chown(far, USER)
    far.parent.chmod(0o711)

    options = ("--remote-ssh-command", sshd.command, "--target-time", moment.isoformat(), "--target-action", "promote")
    done = barman_home.run("restore", "pg", backup, str(destination), *options, "--tablespace", f"far:{far}").ok()
    assert f"Starting remote restore for server pg using backup {backup}\n" in done.out
    assert f"Remote command: {sshd.command}\n" in done.out
    assert (destination / "a file 'of' $(id)").read_text() == "x"
    for path in (destination, far, *destination.rglob("*"), *far.rglob("*")):
        assert path.lstat().st_uid == pg_factory.scratch().stat().st_uid
        assert path.is_symlink() or not path.lstat().st_mode & 0o077, path
    for directory in (host, pwd.getpwnam(USER).pw_dir, "/"):
        assert "pwned" not in os.listdir(directory)
    assert not (destination / ".barman-restore.unfinished").exists()
    cluster = promoted(pg_factory.adopt(pg.version, destination))
    assert cluster.ledger() == rows
    assert cluster.value("SELECT sum(n) FROM far_away") == 500500
    assert cluster.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'far'") == str(far)
    assert cluster.value("SHOW archive_command") == "false"


@pytest.fixture
def stored(newest_pg: Cluster, barman_home: BarmanHome) -> str:
    """A backup of a server that runs on."""
    set_up(barman_home, newest_pg, parallel_jobs="2")
    newest_pg.insert(5)
    return back_up(barman_home)


def test_what_cannot_succeed_is_refused_before_the_first_byte(
    stored: str, newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, sshd: Sshd
) -> None:
    host = pg_factory.scratch()
    (host / "full").mkdir()
    (host / "full" / ".hidden").write_text("x")
    (host / "file").write_text("x")
    (host / "dangling").symlink_to("nowhere")
    (host / "foreign").mkdir(mode=0o755)
    (host / "closed").mkdir(mode=0o700)
    for name in ("full", "file"):
        shutil.chown(host / name, USER)
    repository = barman_home.path("pg", "wals", "x")

    def refused(destination: object, *options: str) -> str:
        command = ("restore", "pg", stored, str(destination), "--remote-ssh-command", sshd.command)
        done = barman_home.run(*command, *options)
        assert done.rc == 1, done
        return done.err

    for destination, text in (
        (host / "full", "is not empty. It contains '.hidden'"),
        (host / "file", f"destination folder '{host}/file' is not a directory"),
        (host / "file" / "below", f"'{host}/file' is not a directory"),
        (host / "dangling", "is not a directory"),
        (newest_pg.data, "a PostgreSQL server (process"),
        (newest_pg.data / "inside", f"lies in the data directory '{newest_pg.data}'"),
        (repository, "lies in the backup repository"),
        (f"{host}/a\nb", "cannot contain a line end"),
        ("/", "cannot be the root directory"),
    ):
        assert text in refused(destination), destination
    if os.geteuid() == 0:
        for name in ("foreign/x", "closed/x"):
            assert "is not writable" in refused(host / name)
        assert "foreign' is not writable" in refused(host / "foreign")

    # A standby that fetches its WAL.
    standby = host / "standby"
    command = ("restore", "pg", stored, str(standby), "--remote-ssh-command", sshd.command, "--network-compression")
    done = barman_home.run(*command, "--get-wal", "--standby-mode", "--recovery-option-port", "2222").ok()
    assert "WARNING: 'get-wal' is in the specified 'recovery_options'." in done.out
    settings = (standby / "postgresql.auto.conf").read_text()
    user = barman_home.globals["barman_user"]
    expected = f"restore_command = 'barman-wal-restore -U {user} --port 2222 -c {barman_home.config_file} "
    assert expected in settings
    assert " pg %f %p -p 2'\n" in settings
    assert (standby / "standby.signal").exists()
    assert not list((standby / "pg_wal").glob("0*"))

    # Every reason at once, those of the way too.
    sshd.authorize("")
    text = refused(host / "new", "--target-lsn", "F/0")
    assert "the destination host cannot be used" in text
    assert "Permission denied (publickey)" in text
    assert "the target LSN F/0 cannot be reached" in text
    assert "HINT: The host accepts none of this user's keys" in text
    sshd.authorize()
    without = sshd.directory / "without"
    without.mkdir()
    for directory in ("/bin", "/usr/bin"):
        for entry in os.scandir(directory):
            if entry.name != "rsync" and not (without / entry.name).is_symlink():
                (without / entry.name).symlink_to(entry.path)
    sshd.behave(f"PATH={without}; export PATH")
    sshd.restart()
    text = refused(host / "full")
    assert "there is no usable rsync on the destination host" in text
    assert "is not empty" in text
    sshd.stop()
    assert "Connection refused" in refused(host / "new")
    assert sorted(os.listdir(host)) == ["closed", "dangling", "file", "foreign", "full", "standby"]
    assert newest_pg.value("SELECT count(*) FROM ledger") == 5


@pytest.fixture
def small_disk(pg_factory: ClusterFactory) -> Iterator[Callable[[int], Path]]:
    """Mount a file system of so many MB that the user of sshd may write to."""
    with contextlib.ExitStack() as mounted:

        def mount(megabytes: int) -> Path:
            place = pg_factory.scratch()
            mounted.enter_context(needs.small_disk(place, f"{megabytes}m"))
            shutil.chown(place, USER)
            place.chmod(0o700)
            return place

        yield mount


def test_a_restore_that_is_cut_or_fills_the_disk_is_finished_by_the_same_command(
    stored: str,
    newest_pg: Cluster,
    pg_factory: ClusterFactory,
    barman_home: BarmanHome,
    sshd: Sshd,
    small_disk: Callable[[int], Path],
) -> None:
    newest_pg.insert(2, "received, and not finished")
    rows = newest_pg.ledger()
    name = newest_pg.current_wal()
    newest_pg.stop("immediate")
    shutil.copy(newest_pg.data / "pg_wal" / name, barman_home.path("pg", "streaming", f"{name}.partial"))
    command = ("restore", "pg", stored)
    remote = ("--remote-ssh-command", sshd.command)
    done = barman_home.run(*command, str(small_disk(8)), *remote)
    assert done.rc == 1
    assert "not enough space for" in done.err

    destination = small_disk(150)

    marker = destination / ".barman-restore.unfinished"
    left = ""

    def interrupted(fault: Callable[[], object]) -> str:
        nonlocal left
        running = barman_home.start(*command, str(destination), *remote, "--bwlimit", "3000", "--no-retry")
        wait_until(lambda: marker.exists() and marker.read_text() != left, "this restore has begun", 60)
        left = marker.read_text()
        wait_until(lambda: len(list(destination.glob("base/*/*"))) > 50, "files arrive", 60)
        second = barman_home.run(*command, str(destination), *remote)
        assert second.rc == 1
        assert "another restore (process" in second.err
        fault()
        _, text = running.communicate(timeout=60)
        assert running.returncode == 1
        assert "ERROR: Failure copying base backup: rsync of" in text
        assert "is incomplete and cannot be started. Repeat the same command" in text
        assert not (destination / "global" / "pg_control").exists()
        return text

    assert "255 (ssh failed)" in interrupted(sshd.cut)
    killed = barman_home.start(*command, str(destination), *remote, "--bwlimit", "500")
    wait_until(lambda: marker.read_text() != left, "this restore has begun", 60)
    left = marker.read_text()
    wait_until(lambda: _programs_about(destination, "rsync"), "rsync runs", 60)
    killed.kill()
    wait_until(lambda: not _programs_about(destination, "rsync"), "nothing of it goes on", 60)

    def fill() -> None:
        with contextlib.suppress(OSError), open(destination / "filler", "wb") as file:
            while True:
                file.write(bytes(1 << 20))

    text = interrupted(fill)
    assert "No space left on device" in text, text
    assert "files that are not part of it: 'filler'" in barman_home.run(*command, str(destination), *remote).err
    (destination / "filler").unlink()
    done = barman_home.run(*command, str(destination), *remote).ok()
    assert "files differed" in done.out
    assert promoted(pg_factory.adopt(newest_pg.version, destination)).ledger() == rows


def _programs_about(place: Path, name: str) -> list[list[str]]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (
                (entry / "cmdline").read_bytes().decode(errors="replace").split("\0") if entry.name.isdigit() else []
            )
        except OSError:
            continue
        if any(str(place) in word for word in words) and any(os.path.basename(word) == name for word in words[:6]):
            found.append(words)
    return found
