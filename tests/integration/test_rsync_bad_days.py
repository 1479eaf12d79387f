"""Bad days of a backup with rsync over ssh, each on the real thing: it fails at once and says why, or it is good."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, Completed, wait_until
from tests.support.fix_sshd import Sshd


class Day:
    """A server backed up over ssh, with a table that takes seconds to copy at the configured rate."""

    def __init__(self, home: BarmanHome, pg: Cluster, sshd: Sshd, factory: ClusterFactory) -> None:
        self.home, self.pg, self.sshd, self.factory = home, pg, sshd, factory
        self.options = {"backup_method": "rsync", "ssh_command": sshd.command, "archiver": "on"}
        self.configure()
        pg.configure(archive_mode="on", archive_command=home.accept_wal("main"))
        pg.restart()
        pg.create_ledger()
        pg.insert(10)
        home.run("switch-wal", "--force", "--archive", "main").ok()
        self.base = home.path("main", "base")
        self.base.mkdir(exist_ok=True)

    def configure(self, **options: str) -> None:
        self.home.add_server("main", self.pg, **self.options, **options)

    def backup(self, *options: str) -> Completed:
        return self.home.run("backup", "main", "--immediate-checkpoint", *options)

    def start_slowly(self, *options: str) -> "subprocess.Popen[str]":
        """Begin a backup that copies 6 MB a second, and wait until it has copied some files."""
        before = set(self.base.iterdir())
        running = self.home.start("backup", "main", "--bwlimit", "6000", "--immediate-checkpoint", *options)
        wait_until(
            lambda: [path for path in set(self.base.iterdir()) - before if list(path.glob("data/base/5/*"))],
            "the copy has begun",
        )
        time.sleep(0.5)
        return running

    def newest(self) -> Path:
        return max(self.base.iterdir())

    def assert_failed(self, ran: Completed, *words: str) -> None:
        """The backup failed with these words, and its record says so."""
        said = ran.out + ran.err
        assert ran.rc == 1, said
        for word in words:
            assert word in said
        assert "FAILED" in self.home.run("list-backups", "main").ok().out

    def fail(self, running: "subprocess.Popen[str]") -> Completed:
        out, err = running.communicate(timeout=60)
        return Completed(running.returncode, out, err)

    def processes(self) -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace") if entry.name.isdigit() else ""
            except OSError:
                continue
            if str(self.base) in words:
                found.append(words)
        return found

    def assert_restores(self, backup: str = "latest") -> None:
        """The oracle: restore, start, compare the ledger."""
        place = self.factory.scratch() / "restored"
        self.home.run("recover", "main", backup, str(place)).ok()
        restored = self.factory.adopt(self.pg.version, place)
        assert restored.ledger() == self.pg.ledger()
        restored.stop()


@pytest.fixture
def day(barman_home: BarmanHome, newest_pg: Cluster, sshd: Sshd, pg_factory: ClusterFactory) -> Day:
    return Day(barman_home, newest_pg, sshd, pg_factory)


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in (root / "data").rglob("*")
        if path.is_file()
    }


def test_a_backup_that_broke_off_gives_its_files_to_the_next_one_and_keeps_them(day: Day) -> None:
    pg = day.pg
    pg.sql("CREATE TABLE big AS SELECT generate_series(1, 60000) AS id, repeat('x', 100) AS t")
    pg.sql("CHECKPOINT")
    time.sleep(3)
    # The link goes, and the copy is not to be tried again.
    running = day.start_slowly()
    assert day.sshd.cut()
    day.assert_failed(day.fail(running), "rsync of pgdata (1 of 1) ended with")
    first = day.newest()
    left = snapshot(first)
    assert len(left) > 100
    # The process is killed.
    running = day.start_slowly()
    running.kill()
    running.wait()
    wait_until(lambda: not day.processes(), "rsync has ended with the backup that started it")
    second = day.newest()
    left_second = snapshot(second)
    said = day.backup("--wait", "--reuse-backup", "off").ok()
    assert f"unfinished backup {second.name}" in said.out
    third = day.newest()
    shared = [path for path in (third / "data").rglob("*") if path.is_file() and path.stat().st_nlink > 1]
    assert len(shared) > 500
    assert snapshot(first) == left
    assert snapshot(second) == left_second
    assert day.home.run("list-backups", "main").ok().out.count("FAILED") == 2
    for backup in (first, second):
        day.home.run("delete", "main", backup.name).ok()
    day.assert_restores(third.name)
    # Good backups share nothing when reuse_backup is off.
    assert "unfinished" not in day.backup("--wait").ok().out
    assert not [path for path in day.newest().rglob("*") if path.is_file() and path.stat().st_nlink > 1]


def test_a_cut_link_is_tried_again_and_a_lost_session_is_not(day: Day) -> None:
    day.pg.sql("CREATE TABLE big AS SELECT generate_series(1, 60000) AS id, repeat('x', 100) AS t")
    running = day.start_slowly("--wait", "--retry-times", "3", "--retry-sleep", "0", "--manifest")
    assert day.sshd.cut()
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, out + err
    assert "successfully verified" in day.home.run("verify-backup", "main", "latest").ok().out
    day.assert_restores()

    running = day.start_slowly("--retry-times", "3", "--retry-sleep", "0")
    assert day.pg.value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'barman'"
    )
    day.assert_failed(day.fail(running), "connection lost")
    # At once: the control file, which is copied last, never came.
    assert not (day.newest() / "data/global/pg_control").exists()
    assert not day.processes()


def test_files_that_vanish_and_grow_do_no_harm(day: Day, tmp_path: Path) -> None:
    pg = day.pg
    (pg.data / "vanishing").write_text("x")
    growing = pg.data / "growing"
    growing.write_bytes(b"0" * 6_000_000)
    # Gone between the listing and the copy, as a relation that is dropped.
    day.sshd.behave(f'case "$SSH_ORIGINAL_COMMAND" in *--server*) rm -f {pg.data}/vanishing ;; esac')
    day.sshd.restart()
    over = threading.Event()

    def grow() -> None:
        with open(growing, "ab", buffering=0) as file:
            while not over.wait(0.01):
                file.write(b"1" * 1000)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        day.backup("--wait", "--bwlimit", "20000").ok()
    finally:
        over.set()
        thread.join()
    copied = (day.newest() / "data/growing").read_bytes()
    assert len(copied) >= 6_000_000
    assert growing.read_bytes().startswith(copied)
    assert not (day.newest() / "data/vanishing").exists()
    day.assert_restores()


def test_what_cannot_be_copied_fails_the_backup_by_name(day: Day) -> None:
    pg = day.pg
    space = day.factory.scratch() / "space"
    space.mkdir()
    shutil.chown(space, pg.data.stat().st_uid)
    pg.sql(f"CREATE TABLESPACE far LOCATION '{space}'")
    pg.sql("CREATE TABLE far_away TABLESPACE far AS SELECT 1 AS id")
    pg.sql("CHECKPOINT")
    space.rename(f"{space}.gone")
    day.assert_failed(day.backup(), f"'{space}' (far)", "No such file or directory")
    Path(f"{space}.gone").rename(space)
    if os.geteuid() == 0:
        (pg.data / "foreign").write_text("x")
        (pg.data / "foreign").chmod(0o600)
        day.assert_failed(day.backup(), "foreign", "Permission denied")
        (pg.data / "foreign").unlink()
    day.backup("--wait").ok()


def test_a_host_that_is_not_fit_is_told_by_its_fault(day: Day) -> None:
    place = day.sshd.directory / "bin"
    place.mkdir()
    day.sshd.behave(f"PATH={place}:$PATH")
    day.sshd.restart()

    def install(script: str) -> None:
        (place / "rsync").write_text("#!/bin/sh\n" + script)
        (place / "rsync").chmod(0o755)

    install("echo 'sh: 1: rsync: not found' >&2; exit 127\n")
    day.assert_failed(day.backup(), "rsync: not found", "Install rsync on both hosts")
    # rsync 3.0, which does not know an option that this program needs.
    install("echo 'rsync: on remote machine: --ignore-missing-args: unknown option' >&2; exit 1\n")
    day.assert_failed(day.backup(), "--ignore-missing-args: unknown option", "rsync 3.1 or later")
    # A start-up file that greets.
    day.sshd.behave('echo "Welcome to db"')
    day.sshd.restart()
    ran = day.backup()
    assert ran.rc == 1
    assert "ssh output clean: FAILED" in ran.err
    day.sshd.stop()
    ran = day.backup()
    assert ran.rc == 1
    assert "ssh" in ran.out + ran.err
    day.sshd.settings.pop("ForceCommand")
    day.sshd.start()
    day.backup("--wait").ok()


def test_a_full_disk_fails_the_backup_with_its_cause_and_touches_no_other(day: Day) -> None:
    day.backup("--wait").ok()
    good = day.newest()
    elsewhere = day.home.directory / "elsewhere"
    day.base.rename(elsewhere)
    day.base.mkdir()
    with needs.small_disk(day.base, "15m"):
        day.assert_failed(day.backup(), "No space left on device")
    shutil.rmtree(day.base)
    elsewhere.rename(day.base)
    day.assert_restores(good.name)


def test_a_symlinked_pg_wal_and_configuration_elsewhere_come_along(day: Day) -> None:
    pg = day.pg
    pg.stop()
    other = day.factory.scratch()
    shutil.move(str(pg.data / "pg_wal"), other / "wal")
    (pg.data / "pg_wal").symlink_to(other / "wal")
    shutil.move(str(pg.data / "pg_hba.conf"), other / "hba.conf")
    (other / "hba.conf").write_text((other / "hba.conf").read_text() + "# kept elsewhere\n")
    # A directory whose name begins like the data directory's is not inside it.
    beside = pg.data.parent / (pg.data.name + "_conf")
    beside.mkdir()
    (beside / "extra_ident.conf").write_text("# mapping\n")
    for path in (other / "hba.conf", beside, beside / "extra_ident.conf"):
        shutil.chown(path, pg.data.stat().st_uid)
    pg.settings.update(hba_file=str(other / "hba.conf"), ident_file=str(beside / "extra_ident.conf"))
    pg.start()
    day.backup("--wait").ok()
    data = day.newest() / "data"
    assert (data / "pg_wal").is_dir()
    assert not (data / "pg_wal").is_symlink()
    assert not [path for path in (data / "pg_wal").rglob("*") if path.is_file()]
    assert (data / "hba.conf").read_text().endswith("# kept elsewhere\n")
    assert (data / "extra_ident.conf").read_text() == "# mapping\n"
