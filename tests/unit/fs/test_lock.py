import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from barman.clock import Deadline
from barman.errors import BarmanError, LockBusy
from barman.fs.lock import FileLock, who_holds
from tests.support.needs import small_disk

HOLDER = (
    "import sys, time\nfrom barman.fs.lock import FileLock\n"
    "FileLock(sys.argv[1]).acquire(); print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path):
    path = str(tmp_path / ".pg-backup.lock")
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"held\n"
        yield path, child
        child.kill()


def test_a_lock_that_is_left_to_a_child_is_held_until_the_child_ends(tmp_path):
    lock = FileLock(str(tmp_path / "lock"))
    lock.acquire()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    lock.leave_to_child()
    assert not lock.held
    with pytest.raises(LockBusy):
        FileLock(lock.path).acquire()
    os.close(writing)
    os.waitpid(child, 0)
    with FileLock(lock.path) as again:
        assert again.held


def test_a_busy_lock_names_its_holder_and_goes_free_when_the_holder_is_killed(holder):
    path, child = holder
    with pytest.raises(LockBusy) as caught:
        FileLock(path).acquire()
    assert caught.value.holder == child.pid
    assert who_holds(path) == child.pid
    child.kill()
    child.wait()
    assert who_holds(path) is None
    with FileLock(path) as lock:
        assert lock.held
        assert open(path).read() == f"{os.getpid()}\n"


def test_waiting_for_a_lock_ends_at_the_deadline(holder):
    path, _ = holder
    with pytest.raises(LockBusy):
        FileLock(path, wait=True, deadline=Deadline(0.2)).acquire()


def test_shared_locks_stand_side_by_side_and_keep_an_exclusive_one_out(tmp_path):
    path = str(tmp_path / "lock")
    with FileLock(path, shared=True), FileLock(path, shared=True), pytest.raises(LockBusy):
        FileLock(path).acquire()


def test_the_lock_file_stays_and_is_private(tmp_path):
    path = str(tmp_path / "lock")
    with FileLock(path):
        pass
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_lock_is_not_inherited_by_children(tmp_path):
    path = str(tmp_path / "lock")
    lock = FileLock(path)
    lock.acquire()
    with subprocess.Popen(["sleep", "30"], close_fds=False) as child:
        lock.release()
        assert who_holds(path) is None
        child.kill()


def test_a_lock_directory_that_is_missing_is_an_error_with_the_path(tmp_path):
    with pytest.raises(BarmanError, match="absent"):
        FileLock(str(tmp_path / "absent" / "lock")).acquire()


PROBER = (
    "import sys\nfrom barman.fs.lock import who_holds\nprint('probing', flush=True)\n"
    "while True:\n    who_holds(sys.argv[1])"
)


def test_nobody_is_refused_a_lock_because_somebody_looks_at_it(tmp_path):
    path = str(tmp_path / "lock")
    with subprocess.Popen([sys.executable, "-c", PROBER, path], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        for _ in range(200):
            with FileLock(path):
                pass
        child.kill()


def test_a_lock_that_is_given_back_is_free_even_for_a_child_that_was_just_forked(tmp_path):
    path = str(tmp_path / "lock")
    lock = FileLock(path)
    lock.acquire()
    inherited = os.dup(lock._descriptor)  # what a child has between fork and exec
    lock.release()
    assert who_holds(path) is None
    FileLock(path).acquire()
    os.close(inherited)


def test_a_lock_file_that_is_removed_while_somebody_waits_for_it_leaves_no_two_holders(tmp_path):
    path = str(tmp_path / "lock")
    waiting = FileLock(path, wait=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=waiting.acquire)
        thread.start()
        while len([name for name in os.listdir("/proc/self/fd") if _points_to(name, path)]) < 2:
            time.sleep(0.01)
        os.unlink(path)
    thread.join()
    assert who_holds(path) == os.getpid()
    with pytest.raises(LockBusy):
        FileLock(path).acquire()


def _points_to(descriptor, path):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}") == path
    except OSError:
        return False


def test_a_full_disk_keeps_nobody_from_a_lock(tmp_path):
    with small_disk(tmp_path, "16k"):
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "filler").write_bytes(bytes(1 << 20))
        with FileLock(str(tmp_path / "lock")) as lock:
            assert lock.held
            assert who_holds(lock.path) == 0
