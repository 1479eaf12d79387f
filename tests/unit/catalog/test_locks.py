"""Lock names, exclusion, and who is seen at work."""

import fcntl
import os
import subprocess
import sys

import pytest

from barman.catalog.locks import LockHolder, config_update_lock, global_cron_lock
from barman.errors import LockBusy
from tests.support.catalog_builder import make_catalog

ID = "20260101T120000"


@pytest.fixture(name="catalog")
def fixture_catalog(tmp_path):
    return make_catalog(str(tmp_path))


def test_names_are_those_of_the_original(catalog, tmp_path):
    locks = catalog.locks
    taken = [
        locks.cron(),
        locks.backup(),
        locks.backup_id(ID),
        locks.archive_wal(),
        locks.receive_wal(),
        locks.sync_backup(ID),
        locks.sync_wal(),
        locks.xlogdb(),
        config_update_lock(str(tmp_path)),
        global_cron_lock(str(tmp_path)),
    ]
    assert [os.path.relpath(lock.path, tmp_path) for lock in taken] == [
        ".main-cron.lock",
        ".main-backup.lock",
        f".main-{ID}.lock",
        ".main-archive-wal.lock",
        ".main-receive-wal.lock",
        f".main-{ID}-sync-backup.lock",
        ".main-sync-wal.lock",
        ".main-xlogdb.lock",
        ".config-update.lock",
        ".cron.lock",
    ]


def test_a_lock_holds_an_flock_with_the_pid_in_the_file(catalog):
    with catalog.locks.backup() as lock:
        with open(lock.path, "rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with open(lock.path, encoding="ascii") as file:
            assert file.read() == f"{os.getpid()}\n"
        assert os.stat(lock.path).st_mode & 0o777 == 0o600
    assert os.path.exists(lock.path)


def test_restores_share_a_backup_and_a_deletion_waits_for_them(catalog):
    alone, first, second = (
        catalog.locks.backup_id(ID),
        catalog.locks.backup_id(ID, shared=True),
        catalog.locks.backup_id(ID, shared=True),
    )
    with first, second, pytest.raises(LockBusy):
        alone.acquire()
    with alone, pytest.raises(LockBusy):
        first.acquire()


def test_holders_are_found_by_the_exact_name_of_the_server(tmp_path):
    catalog = make_catalog(str(tmp_path))
    other = make_catalog(str(tmp_path), "main-x")
    code = (
        "import fcntl,sys,os\n"
        "for path in sys.argv[1:]:\n"
        "    f = os.open(path, os.O_RDWR | os.O_CREAT)\n"
        "    fcntl.flock(f, fcntl.LOCK_EX)\n"
        "    os.write(f, b'%d\\n' % os.getpid())\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    paths = [
        lock.path
        for lock in (
            catalog.locks.receive_wal(),
            catalog.locks.sync_backup(ID),
            other.locks.backup(),
            other.locks.sync_backup(ID),
        )
    ]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert catalog.locks.holders() == [
            LockHolder("receive-wal", child.pid),
            LockHolder("sync-backup", child.pid, ID),
        ]
        assert other.locks.holders() == [LockHolder("backup", child.pid), LockHolder("sync-backup", child.pid, ID)]
        assert catalog.locks.is_held("receive-wal")
        assert not catalog.locks.is_held("backup")
    finally:
        child.communicate("")
    assert catalog.locks.holders() == []


def test_a_lock_directory_that_does_not_exist_yet_holds_nobody(tmp_path):
    catalog = make_catalog(str(tmp_path / "home"))
    assert catalog.locks.holders() == []
