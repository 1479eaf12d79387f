"""No commit that was acknowledged is lost: a synchronous receiver, whatever is killed, and a restore to latest.

`BARMAN_TEST_KILLS=20` tells the story at that length, on every version; its seed is printed, and `BARMAN_TEST_SEED`
chooses the same moments again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.support import needs
from tests.support.fix_postgres import VERSIONS, BarmanHome, Cluster, ClusterFactory, wait_until

KILLS = int(os.environ.get("BARMAN_TEST_KILLS", "3"))
SEED = int(os.environ.get("BARMAN_TEST_SEED", str(time.time_ns() % 2**32)))
WRITERS = 3


class Writers:
    """Clients that commit numbered rows one after the other and note which commits were acknowledged."""

    def __init__(self, pg: Cluster, numbers: Iterator[int], sizes: random.Random, level: str = "on") -> None:
        self._pg = pg
        self._numbers = numbers
        self._sizes = sizes
        self._level = level
        self._stopping = False
        self.attempted: list[int] = []
        self.acknowledged: list[int] = []
        self._threads = [threading.Thread(target=self._write, daemon=True) for _ in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def _write(self) -> None:
        # However the server ends: what was not acknowledged by then is not counted.
        with contextlib.suppress(psycopg2.Error), contextlib.closing(self._pg.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"SET synchronous_commit = {self._level}")
            while not self._stopping:
                number = next(self._numbers)
                self.attempted.append(number)
                padding = os.urandom(self._sizes.randrange(1, 8000)).hex()
                cursor.execute("INSERT INTO ledger (id, note) VALUES (%s, %s)", (number, padding))
                self.acknowledged.append(number)

    def stop(self) -> None:
        """End after the commits under way."""
        self._stopping = True
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def small(request: pytest.FixtureRequest, pg_factory: ClusterFactory) -> Cluster:
    """A server with small segments, so that kills meet their boundaries, too.

    It syncs nothing, the receiver does: what is on the server's disk is lost in these stories.
    """
    return pg_factory.create(request.param, segment_mb=1)


def _receive_synchronously(home: BarmanHome, pg: Cluster, **options: str) -> None:
    streaming = {"streaming_archiver": "on", "slot_name": "barman", "create_slot": "auto"}
    home.add_server("main", pg, **streaming, immediate_checkpoint="true", **options)
    pg.create_ledger()
    pg.configure(synchronous_standby_names="barman_receive_wal")
    pg.reload()
    _bring_receiver_back(home, pg)


def _bring_receiver_back(home: BarmanHome, pg: Cluster) -> None:
    """One run of cron, when the old receiver has gone."""
    wait_until(lambda: home.lock_holder("main", "receive-wal") is None, "the receiver has ended")
    home.run("cron").ok()
    wait_until(lambda: _sync_state(pg) == "sync", "the receiver is synchronous")


def _sync_state(pg: Cluster) -> str:
    return str(pg.value("SELECT sync_state FROM pg_stat_replication WHERE application_name = 'barman_receive_wal'"))


def _waiting_commits(pg: Cluster) -> int:
    return int(pg.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))


def _kill_receiver(home: BarmanHome, what: str) -> None:
    receiver = home.lock_holder("main", "receive-wal")
    assert receiver
    os.kill(receiver if what == "receive-wal" else _children(receiver)[0], signal.SIGKILL)


def _kill_server(pg: Cluster) -> None:
    """SIGKILL for the server and every process of it."""
    assert pg.process is not None
    pids = [pg.process.pid, *_children(pg.process.pid)]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    pg.process.wait()
    pg.process = None
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the server is gone")


def _children(pid: int) -> list[int]:
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += [int(word) for word in file.read().split()]
    return found


def _recovered(home: BarmanHome, pg: Cluster, factory: ClusterFactory, destination: Path) -> set[int]:
    """The rows that a restore with nothing but defaults brings back."""
    done = home.run("restore", "main", "latest", str(destination)).ok()
    cluster = factory.adopt(pg.version, destination)
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
    rows = {row[0] for row in cluster.sql("SELECT id FROM ledger")}
    ended = (destination / "pg_wal" / "00000002.history").read_text().split()[1]
    cluster.stop("immediate")
    shutil.rmtree(destination)
    if "carries records up to LSN" in done.out:
        assert f"carries records up to LSN {ended} " in done.out, "what was said is what PostgreSQL found"
    return rows


def _expect_no_lag(home: BarmanHome, pg: Cluster, number: int) -> None:
    """What was committed last is recoverable, by the word of `recovery-window`."""
    (committed,) = pg.sql("INSERT INTO ledger (id, note) VALUES (%s, '') RETURNING at", (number,))
    window = json.loads(home.run("-f", "json", "recovery-window", "main").ok().out)["main"]
    assert window["latest_partial_wal"] == pg.current_wal()
    assert int(window["latest_partial_timestamp"]) >= int(committed[0].timestamp())
    assert window["behind_seconds"] <= int(window["now_timestamp"]) + 1 - committed[0].timestamp()


@pytest.mark.parametrize("small", VERSIONS if "BARMAN_TEST_KILLS" in os.environ else VERSIONS[-1:], indirect=True)
def test_no_acknowledged_commit_is_lost_whatever_is_killed(
    small: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    pg, home, chance = small, barman_home, random.Random(SEED)
    told = [f"PostgreSQL {pg.version}, seed {SEED}"]
    _receive_synchronously(home, pg)
    home.run("backup", "main", "--wait").ok()
    numbers = itertools.count(1)
    _expect_no_lag(home, pg, next(numbers))
    acknowledged: set[int] = {1}
    attempted: set[int] = {1}
    events = ["server", "receive-wal, server", "pg_receivewal, server", "receive-wal, cron, server"]
    for kill in range(1, KILLS + 1):
        event = chance.choice(events)
        level = chance.choice(["on", "on", "remote_write"])
        writers = Writers(pg, numbers, chance, level)
        for victim in event.split(", "):
            time.sleep(chance.uniform(0.05, 0.4))  # a moment like any other
            if victim == "server":
                _kill_server(pg)
            elif victim == "cron":
                _bring_receiver_back(home, pg)
            else:
                _kill_receiver(home, victim)
        writers.join()
        acknowledged.update(writers.acknowledged)
        attempted.update(writers.attempted)
        recovered = _recovered(home, pg, pg_factory, tmp_path / f"restored{kill}")
        told.append(
            f"kill {kill:2} ({event}; {level}): {len(writers.acknowledged)} acknowledged, "
            f"{len(acknowledged)} in all, {len(recovered)} recovered, {len(acknowledged - recovered)} missing"
        )
        assert acknowledged - recovered == set(), told
        assert recovered <= attempted
        assert len(recovered - acknowledged) <= WRITERS * kill, "no more than was under way"
        if kill < KILLS:
            pg.start()
            _bring_receiver_back(home, pg)
    assert acknowledged
    print("\n".join(["", *told]))  # noqa: T201  what pytest -s is asked for


@pytest.mark.parametrize("small", VERSIONS[-1:], indirect=True)
def test_commits_wait_for_a_receiver_that_is_gone_and_return_when_cron_brings_it_back(
    small: Cluster, barman_home: BarmanHome
) -> None:
    pg, home = small, barman_home
    _receive_synchronously(home, pg)
    pg.insert()
    wait_until(lambda: "3/3 Remote write" in home.run("replication-status", "main").ok().out, "all is written")
    status = home.run("replication-status", "main").ok().out
    assert "#1 Sync WAL streamer" in status
    assert "Current state   : streaming (sync)" in status
    for level in ("on", "remote_write"):
        _kill_receiver(home, "receive-wal")
        wait_until(lambda: home.lock_holder("main", "receive-wal") is None, "the receiver is dead")
        wait_until(lambda: not pg.value("SELECT count(*) FROM pg_stat_replication"), "the server has noticed")
        before = len(pg.ledger())
        writers = Writers(pg, itertools.count(1000 * (before + 1)), random.Random(SEED), level)
        wait_until(lambda: _waiting_commits(pg) == WRITERS, "every commit waits")
        assert writers.acknowledged == []
        _bring_receiver_back(home, pg)
        wait_until(lambda: len(writers.acknowledged) > WRITERS, "commits return")  # noqa: B023  # used at once
        writers.stop()
        assert len(pg.ledger()) == before + len(writers.acknowledged)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    with needs.small_disk(place, "3m"):
        yield place


@pytest.mark.parametrize("small", VERSIONS[-1:], indirect=True)
def test_a_full_disk_of_the_receiver_stops_commits_and_loses_none(
    small: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, small_disk: Path, tmp_path: Path
) -> None:
    pg, home = small, barman_home
    _receive_synchronously(home, pg, streaming_wals_directory=str(small_disk))
    home.run("backup", "main", "--wait").ok()
    writers = Writers(pg, itertools.count(1), random.Random(SEED))
    wait_until(lambda: home.lock_holder("main", "receive-wal") is None, "the receiver has ended")
    wait_until(lambda: _waiting_commits(pg) == WRITERS, "every commit waits")
    stuck = len(writers.acknowledged)
    refused = home.run("receive-wal", "main")
    assert refused.rc == 1
    assert "No space left on device" in refused.out
    assert f"receive-wal running: FAILED (not running, and '{small_disk}' has only" in home.run("check", "main").out
    # That attempt may have brought the last one that had room.
    wait_until(lambda: _waiting_commits(pg) == WRITERS, "every commit waits again")
    assert len(writers.acknowledged) <= stuck + WRITERS
    stuck = len(writers.acknowledged)

    home.run("archive-wal", "main").ok()
    _bring_receiver_back(home, pg)
    wait_until(lambda: len(writers.acknowledged) > stuck, "commits return")
    wait_until(lambda: home.lock_holder("main", "receive-wal") is None, "the disk is full again")
    _kill_server(pg)
    writers.join()
    recovered = _recovered(home, pg, pg_factory, tmp_path / "restored")
    assert set(writers.acknowledged) <= recovered
