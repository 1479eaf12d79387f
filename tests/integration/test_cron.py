"""cron: receivers, archiving, waiting backups, and servers that do not work."""

from __future__ import annotations

import os
import signal
from functools import partial

from barman.clock import monotonic
from barman.fs.lock import FileLock
from tests.support.fix_postgres import BarmanHome, Cluster, wait_until


def _streaming(home: BarmanHome, pg: Cluster, name: str = "main", **options: str) -> None:
    home.add_server(
        name, pg, **{"streaming_archiver": "on", "slot_name": name.replace("-", "_"), "create_slot": "auto", **options}
    )


def _receiver(home: BarmanHome, name: str = "main") -> int | None:
    return home.lock_holder(name, "receive-wal")


def _is_streaming(pg: Cluster) -> bool:
    return bool(pg.value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"))


def _start(home: BarmanHome, pg: Cluster) -> int:
    home.run("cron").ok()
    wait_until(partial(_is_streaming, pg), "the receiver is connected")
    pid = _receiver(home)
    assert pid
    return pid


def test_cron_starts_a_receiver_and_archives_what_it_received(pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, pg)
    first = barman_home.run("cron").ok()
    assert first.out == "Starting streaming archiver for server main\nStarting WAL archiving for server main\n"
    wait_until(partial(_is_streaming, pg), "the receiver is connected")
    names = [pg.switch_wal() for _ in range(3)]
    streaming = barman_home.path("main", "streaming")
    wait_until((streaming / names[-1]).exists, "the segments are received")
    second = barman_home.run("cron").ok()
    assert second.out == "Starting WAL archiving for server main\n"
    wals = barman_home.path("main", "wals")
    assert all(list(wals.glob(f"*/{name}")) for name in names[:-1])


def test_cron_archives_what_archive_command_delivered(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("main", newest_pg, archiver="on")
    newest_pg.settings.update(archive_mode="on", archive_command=barman_home.accept_wal("main"))
    newest_pg.restart()
    name = newest_pg.switch_wal()
    wait_until(lambda: barman_home.path("main", "incoming", name).exists(), "the segment has come in")
    assert barman_home.run("cron").ok().out == "Starting WAL archiving for server main\n"
    assert list(barman_home.path("main", "wals").glob(f"*/{name}"))


def test_a_receiver_that_died_is_started_again(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    first = _start(barman_home, newest_pg)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: _receiver(barman_home) is None and not _is_streaming(newest_pg), "the receiver is gone")
    assert _start(barman_home, newest_pg) != first


def test_a_changed_configuration_reaches_a_running_receiver(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    first = _start(barman_home, newest_pg)
    barman_home.run("cron").ok()
    assert _receiver(barman_home) == first
    _streaming(barman_home, newest_pg, slot_name="another")
    done = barman_home.run("cron").ok()
    assert f"Stopped process receive-wal({first})\n" in done.out
    assert "Starting streaming archiver for server main\n" in done.out
    wait_until(
        lambda: newest_pg.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'another'"), "the new slot"
    )


def test_a_receiver_is_stopped_when_streaming_is_switched_off(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    pid = _start(barman_home, newest_pg)
    barman_home.add_server("main", newest_pg, archiver="on")
    done = barman_home.run("cron").ok()
    assert f"Stopped process receive-wal({pid})\n" in done.out
    assert _receiver(barman_home) is None


def test_the_receiver_of_an_inactive_server_is_stopped_and_nothing_else_is_done(
    newest_pg: Cluster, barman_home: BarmanHome
) -> None:
    _streaming(barman_home, newest_pg)
    pid = _start(barman_home, newest_pg)
    _streaming(barman_home, newest_pg, active="off")
    done = barman_home.run("cron").ok()
    assert done.out == (
        f"Server 'main' is inactive: stopping receive-wal subprocess\nStopped process receive-wal({pid})\n"
    )
    assert barman_home.run("cron").ok().out == ""


def test_a_server_whose_name_begins_like_another_keeps_its_receiver(
    newest_pg: Cluster, barman_home: BarmanHome
) -> None:
    _streaming(barman_home, newest_pg, "main-x")
    barman_home.add_server("main", newest_pg, archiver="on")
    barman_home.run("cron").ok()
    wait_until(lambda: _is_streaming(newest_pg), "the receiver is connected")
    pid = _receiver(barman_home, "main-x")
    for _ in range(2):
        assert "Stopped process" not in barman_home.run("cron").ok().out
    assert _receiver(barman_home, "main-x") == pid


def test_a_server_that_is_down_stops_nobody(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("a", None, conninfo="host=127.0.0.1 port=1 user=x", archiver="on")
    barman_home.add_server("b", None, archiver="on")  # no conninfo: disabled
    _streaming(barman_home, newest_pg, "c")
    done = barman_home.run("cron").ok()
    assert done.out.splitlines() == [
        "Starting WAL archiving for server a",
        "Skipping temporarily disabled server 'b'",
        "Starting streaming archiver for server c",
        "Starting WAL archiving for server c",
    ]
    wait_until(lambda: _is_streaming(newest_pg), "the receiver is connected")


def test_a_busy_server_is_passed_over_but_its_receiver_is_not_forgotten(
    newest_pg: Cluster, barman_home: BarmanHome
) -> None:
    _streaming(barman_home, newest_pg)
    with FileLock(str(barman_home.home / ".main-cron.lock")):
        done = barman_home.run("cron").ok()
    assert done.out == (
        "Starting streaming archiver for server main\n"
        "Another cron process is already running on server main. Skipping to the next server\n"
    )
    wait_until(lambda: _is_streaming(newest_pg), "the receiver is connected")


def test_fifty_idle_servers_are_cheap(barman_home: BarmanHome) -> None:
    for number in range(50):
        barman_home.add_server(f"s{number:02}", None, conninfo="host=192.0.2.1 user=x", archiver="on")
    started = monotonic()
    done = barman_home.run("cron").ok()
    assert monotonic() - started < 2.0
    assert len(done.out.splitlines()) == 50


def test_two_crons_at_once_start_one_receiver(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    runs = [barman_home.start("cron") for _ in range(3)]
    for run in runs:
        run.communicate(timeout=60)
    wait_until(lambda: _is_streaming(newest_pg), "a receiver is connected")
    # Who finds the lock held has asked the server for something before, perhaps.
    wait_until(lambda: newest_pg.value("SELECT count(*) FROM pg_stat_replication") == 1, "it is the only one")
    assert [run.returncode for run in runs] == [0, 0, 0]
