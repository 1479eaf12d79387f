"""The disk of the destination fills up while a restore writes to it: told, safe, and mended by running it again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, Completed, wait_until

pytestmark = pytest.mark.postgres

_FILL_HALF_WAY = """
import os, sys
disk, filler = sys.argv[1:]
state = os.statvfs(disk)
enough = state.f_bfree - (8 << 20) // state.f_bsize
print("ready", flush=True)
while os.statvfs(disk).f_bfree > enough:
    pass
file = os.open(filler, os.O_WRONLY | os.O_CREAT)
size = 0
step = 4 << 20
while step >= 4096:
    try:
        os.posix_fallocate(file, size, step)
        size += step
    except OSError:
        step //= 2
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    with needs.small_disk(place, "512m,nr_inodes=300"):
        yield place


def filled_half_way(home: BarmanHome, disk: Path, destination: Path) -> Completed:
    """Restore while another program takes all space of the disk; again, should the restore have been faster."""
    filler = disk / "filler"
    for _ in range(10):
        argv = [sys.executable, "-c", _FILL_HALF_WAY, str(disk), str(filler)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as writer:
            try:
                assert writer.stdout is not None
                assert writer.stdout.readline() == b"ready\n"
                done = home.run("restore", "pg", "latest", str(destination))
                writer.wait(30)
            finally:
                writer.kill()
        if done.rc != 0:
            assert os.statvfs(disk).f_bavail < 1024
            return done
        filler.unlink()
        subprocess.run(["rm", "-r", str(destination)], check=True)
    raise AssertionError("the restore always won the race")


def state_of(directory: Path) -> dict[str, tuple[int, int]]:
    """Every file of a tree with its size and its time; what is locked or logged changes."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def test_a_restore_onto_a_disk_that_fills_up_fails_safely_and_is_run_again(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, disk: Path
) -> None:
    pg = newest_pg
    barman_home.add_server(
        "pg", pg, streaming_archiver="on", slot_name="barman", create_slot="auto", immediate_checkpoint="true"
    )
    pg.create_ledger()
    pg.insert(5)
    pg.sql("CREATE TABLE bulk AS SELECT repeat(md5(n::text), 30) AS filler FROM generate_series(1, 60000) AS n")
    barman_home.run("backup", "pg", "--wait").ok()
    rows = pg.ledger()
    pg.destroy()
    wait_until(lambda: barman_home.lock_holder("pg", "receive-wal") is None, "nothing receives any more")
    barman_home.run("archive-wal", "pg").ok()
    neighbour = disk / "neighbour"
    neighbour.write_text("mine")
    repository = state_of(barman_home.home)
    destination = disk / "restored"

    def assert_failed_safely(done: Completed) -> None:
        assert done.rc == 1
        assert "Traceback" not in done.out + done.err
        assert "EXCEPTION" not in done.err
        assert f"'{destination}/" in done.err
        assert "No space left on device" in done.err
        assert "HINT: " in done.err
        assert "Repeat the same command" in done.err
        assert len(list(destination.iterdir())) > 3
        assert not (destination / "global" / "pg_control").exists()
        assert neighbour.read_text() == "mine"
        assert {path.name for path in disk.iterdir()} <= {"neighbour", "restored", "filler"}
        assert state_of(barman_home.home) == repository

    # No more names: bytes are free, so nothing refuses before the first is written.
    assert_failed_safely(barman_home.run("restore", "pg", "latest", str(destination)))
    room = sum(size for path, (size, _) in repository.items() if "/data/" in path or "/wals/" in path) + (24 << 20)
    subprocess.run(["mount", "-o", f"remount,nr_inodes=0,size={room}", str(disk)], check=True)
    subprocess.run(["rm", "-r", str(destination)], check=True)
    # No more bytes.
    assert_failed_safely(filled_half_way(barman_home, disk, destination))
    # Again while it is full: refused before anything is touched.
    left = state_of(disk)
    again = barman_home.run("restore", "pg", "latest", str(destination))
    assert again.rc == 1
    assert "not enough space" in again.err
    assert state_of(disk) == left

    (disk / "filler").unlink()
    barman_home.run("restore", "pg", "latest", str(destination)).ok()
    subprocess.run(["mount", "-o", "remount,size=512m", str(disk)], check=True)  # a running server needs some, too
    cluster = pg_factory.adopt(pg.version, destination)
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
    assert cluster.ledger() == rows
    assert cluster.value("SELECT count(*) FROM bulk") == 60000
    assert neighbour.read_text() == "mine"
    cluster.stop()
