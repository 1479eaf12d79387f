"""receive-wal: the receiver, its slot, its status directory and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading

from barman.config.loader import load_settings
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.wal.receiver import receive_wal
from barman.wal.receiver_state import read_state
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until


def _streaming(home: BarmanHome, pg: Cluster, **options: str) -> None:
    home.add_server("main", pg, **{"streaming_archiver": "on", "slot_name": "barman", "create_slot": "auto", **options})


def _start_receiver(home: BarmanHome, pg: Cluster) -> subprocess.Popen[str]:
    receiver = home.start("receive-wal", "main")
    wait_until(lambda: _walsenders(pg) or receiver.poll() is not None, "pg_receivewal is connected")
    assert receiver.poll() is None, receiver.communicate()
    return receiver


def _walsenders(pg: Cluster) -> list[int]:
    return [row[0] for row in pg.sql("SELECT pid FROM pg_stat_replication WHERE state = 'streaming'")]


def _programs_of(receiver: int) -> list[int]:
    children = f"/proc/{receiver}/task/{receiver}/children"
    with open(children) as file:
        return [int(pid) for pid in file.read().split()]


def _arguments(pid: int) -> list[str]:
    with open(f"/proc/{pid}/cmdline") as file:
        return file.read().split("\0")


def test_wal_arrives_and_a_signal_ends_the_receiver_in_good_order(pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, pg)
    receiver = _start_receiver(barman_home, pg)
    name = pg.switch_wal()
    wait_until(lambda: barman_home.path("main", "streaming", name).exists(), f"{name} is received")
    receiver.send_signal(signal.SIGINT)
    out, err = receiver.communicate(timeout=20)
    assert receiver.returncode == 0, err
    assert "Starting receive-wal for server main\n" in out
    assert "Creating physical replication slot 'barman' on server 'main'\n" in out
    assert "Replication slot 'barman' created\n" in out
    assert "main: pg_receivewal: starting log streaming at" in out
    assert "SIGINT received. Terminate gracefully.\n" in out
    wait_until(lambda: not _walsenders(pg), "pg_receivewal is gone")


def test_a_receiver_is_found_and_terminated_by_name(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    barman_home.add_server("main-two", newest_pg, streaming_archiver="on", slot_name="two")
    receiver = _start_receiver(barman_home, newest_pg)
    listed = barman_home.run("list-processes", "main").ok().out
    assert listed == f"Active subprocesses for server main:\n{receiver.pid} receive-wal\n"
    assert barman_home.run("-f", "json", "list-processes", "main").ok().out == (
        f'{{"main": [{{"name": "receive-wal", "pid": {receiver.pid}}}]}}'
    )
    other = barman_home.run("terminate-process", "main-two", "receive-wal")
    assert other.rc == 1
    assert other.err.startswith("ERROR: Termination of receive-wal failed: no such process for server main-two")
    done = barman_home.run("terminate-process", "main", "receive-wal").ok()
    assert done.out == f"Stopped process receive-wal({receiver.pid})\n"
    assert barman_home.run("list-processes", "main").out == "No active subprocesses found for server main.\n"


def test_the_deprecated_stop_still_stops(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    receiver = _start_receiver(barman_home, newest_pg)
    done = barman_home.run("receive-wal", "--stop", "main").ok()
    assert done.out == f"Stopped process receive-wal({receiver.pid})\n"
    assert "WARNING: " in done.err
    assert "terminate-process main receive-wal" in done.err
    again = barman_home.run("receive-wal", "--stop", "main")
    assert again.rc == 1
    assert "ERROR: Termination of receive-wal failed: no such process for server main" in again.err


def test_a_second_receiver_is_refused(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    _start_receiver(barman_home, newest_pg)
    done = barman_home.run("receive-wal", "main")
    assert done.rc == 1
    assert "ERROR: Another receive-wal process is already running for server main.\n" in done.err
    reset = barman_home.run("receive-wal", "--reset", "main")
    assert reset.rc == 1
    assert "ERROR: Unable to reset the status of receive-wal for server main. Process is still running\n" in reset.err


def test_streaming_that_is_switched_off_is_refused(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("main", newest_pg, archiver="on")
    done = barman_home.run("receive-wal", "main")
    assert done.rc == 1
    assert done.err.splitlines()[0] == (
        "ERROR: Unable to start receive-wal process: "
        "streaming_archiver option set to 'off' in barman configuration file"
    )


def test_a_server_that_is_down_is_refused_with_the_reason(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    newest_pg.stop()
    done = barman_home.run("receive-wal", "main")
    assert done.rc == 1
    assert done.err.startswith("ERROR: Impossible to start WAL streaming. ")
    assert str(newest_pg.port) in done.err
    assert "Traceback" not in done.err


def test_a_missing_slot_names_the_remedy(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg, create_slot="manual")
    done = barman_home.run("receive-wal", "main")
    assert done.rc == 1
    assert (
        "ERROR: replication slot 'barman' doesn't exist. Please execute 'barman receive-wal --create-slot main'\n"
        in done.err
    )


def test_slots_are_created_and_dropped_with_the_known_words(pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, pg)
    created = barman_home.run("receive-wal", "--create-slot", "main").ok()
    assert created.out == (
        "Creating physical replication slot 'barman' on server 'main'\nReplication slot 'barman' created\n"
    )
    again = barman_home.run("receive-wal", "--create-slot", "main")
    assert (again.rc, again.err) == (1, "ERROR: Replication slot 'barman' already exists\n")
    tolerated = barman_home.run("receive-wal", "--create-slot", "--if-not-exists", "main").ok()
    assert tolerated.out.splitlines()[-1] == (
        "Replication slot 'barman' already exists and --if-not-exists was specified. Skipping creation"
    )
    dropped = barman_home.run("receive-wal", "--drop-slot", "main").ok()
    assert dropped.out == (
        "Dropping physical replication slot 'barman' on server 'main'\nReplication slot 'barman' dropped\n"
    )
    gone = barman_home.run("receive-wal", "--drop-slot", "main")
    assert (gone.rc, gone.err) == (1, "ERROR: Replication slot 'barman' does not exist\n")


def test_slots_of_a_server_that_is_down_or_has_none_are_an_error(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    newest_pg.stop()
    for option in ("--create-slot", "--drop-slot"):
        done = barman_home.run("receive-wal", option, "main")
        assert (done.rc, done.out) == (1, "")
        assert done.err.startswith("ERROR: Cannot connect to server 'main'\nHINT: ")
    barman_home.add_server("none", newest_pg, archiver="on")
    done = barman_home.run("receive-wal", "--create-slot", "none")
    assert done.rc == 1
    assert done.err.startswith(
        "ERROR: Unable to create a physical replication slot: slot_name configuration option required\n"
    )


def test_wal_of_another_host_is_announced_without_its_password(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    source = f"{newest_pg.streaming_conninfo} dbname=postgres"
    _streaming(barman_home, newest_pg, wal_streaming_conninfo=f"{source} password=s3cr3t")
    done = barman_home.run("receive-wal", "--create-slot", "main").ok()
    assert done.out.startswith(f"Configuration overrides applied: 'streaming_conninfo' overridden with '{source} ")
    assert " and 'conninfo' overridden with '" in done.out
    assert "s3cr3t" not in done.out


def test_a_slot_in_use_is_not_dropped(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    _start_receiver(barman_home, newest_pg)
    done = barman_home.run("receive-wal", "--drop-slot", "main")
    assert done.rc == 1
    assert "ERROR: Cannot drop replication slot 'barman' on server 'main' because it is in use." in done.err


def test_no_password_is_seen_in_the_arguments_of_the_program(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg, streaming_conninfo=f"{newest_pg.streaming_conninfo} password=s3cr3t")
    receiver = _start_receiver(barman_home, newest_pg)
    programs = _programs_of(receiver.pid)
    assert programs
    assert not any("s3cr3t" in argument for pid in programs for argument in _arguments(pid))
    receiver.terminate()
    out, err = receiver.communicate(timeout=20)
    assert "s3cr3t" not in out + err + barman_home.log_text()


def test_a_killed_receiver_takes_its_program_with_it(pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, pg)
    receiver = _start_receiver(barman_home, pg)
    assert _programs_of(receiver.pid)
    receiver.kill()
    wait_until(lambda: not _walsenders(pg), "pg_receivewal is gone", 10)
    _start_receiver(barman_home, pg)


def test_an_orphan_that_holds_the_slot_is_ended_by_the_next_receiver(
    newest_pg: Cluster, barman_home: BarmanHome
) -> None:
    _streaming(barman_home, newest_pg)
    receiver = _start_receiver(barman_home, newest_pg)
    (program,) = _programs_of(receiver.pid)
    # Stopped, it cannot see the signal that its receiver's death sends: an orphan, as where the kernel sends none.
    os.kill(program, signal.SIGSTOP)
    receiver.kill()
    receiver.wait()
    assert os.path.exists(f"/proc/{program}")
    successor = barman_home.start("receive-wal", "main")
    wait_until(lambda: not _is_running(program), "the orphan is gone", 30)
    wait_until(lambda: _walsenders(newest_pg), "a new one is connected", 30)
    assert successor.poll() is None


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_restart_of_the_server_ends_the_receiver_with_an_error(pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, pg)
    receiver = _start_receiver(barman_home, pg)
    pg.restart("immediate")
    _, err = receiver.communicate(timeout=30)
    assert receiver.returncode == 1
    assert "ERROR: pg_receivewal terminated with error code: 1\n" in err
    _start_receiver(barman_home, pg)


def test_reception_is_synchronous_when_the_server_counts_on_it(pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, pg)
    pg.configure(synchronous_standby_names='FIRST 1 ("barman_receive_wal", other)')
    pg.reload()
    receiver = _start_receiver(barman_home, pg)
    assert any("--synchronous" in _arguments(pid) for pid in _programs_of(receiver.pid))
    pg.create_ledger()
    pg.insert()  # would wait for ever for a receiver that flushes whole segments only


def test_a_change_of_who_counts_as_synchronous_reaches_a_running_receiver(
    newest_pg: Cluster, barman_home: BarmanHome
) -> None:
    _streaming(barman_home, newest_pg)
    config = load_settings(str(barman_home.config_file), {}).servers["main"]
    reporter = MemoryReporter()
    with Server(config) as server:
        receiver = threading.Thread(target=receive_wal, args=(server, reporter), kwargs={"recheck_seconds": 0.2})
        receiver.start()
        try:
            wait_until(lambda: _walsenders(newest_pg), "pg_receivewal is connected")
            state = read_state(server.catalog.layout)
            assert state is not None
            assert not state.synchronous
            newest_pg.configure(synchronous_standby_names="barman_receive_wal")
            newest_pg.reload()
            wait_until(lambda: (now := read_state(server.catalog.layout)) and now.synchronous, "it is synchronous now")
            newest_pg.create_ledger()
            newest_pg.insert()
        finally:
            state = read_state(server.catalog.layout)
            if state is not None:
                os.kill(state.program, signal.SIGINT)
            receiver.join(20)
    assert reporter.texts("error") == []
    assert "main: synchronous_standby_names changed: starting pg_receivewal anew" in reporter.texts()


def test_an_odd_sized_partial_does_not_stop_the_receiver(pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, pg)
    streaming = barman_home.path("main", "streaming")
    streaming.mkdir(parents=True)
    partial = streaming / f"{pg.current_wal()}.partial"
    partial.write_bytes(b"\0" * 5000)
    receiver = _start_receiver(barman_home, pg)
    wait_until(lambda: partial.stat().st_size == 16 * 1024 * 1024, "the partial segment is filled anew")
    receiver.terminate()
    out, _ = receiver.communicate(timeout=20)
    assert "Truncating partial file" in out
    assert receiver.returncode == 0


def test_a_reset_moves_the_status_file_to_the_servers_position(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    streaming = barman_home.path("main", "streaming")
    streaming.mkdir(parents=True)
    newest_pg.sql("SELECT pg_create_physical_replication_slot('barman', true)")
    position = newest_pg.value("SELECT pg_walfile_name(restart_lsn) FROM pg_replication_slots")
    old = streaming / "000000010000000000000000.partial"
    old.write_bytes(b"")
    done = barman_home.run("receive-wal", "--reset", "main").ok()
    new = streaming / f"{position}.partial"
    assert done.out == (
        f"Resetting receive-wal directory status\nRemoving status file {old}\nCreating status file {new}\n"
    )
    assert [path.name for path in streaming.iterdir()] == [new.name]
    again = barman_home.run("receive-wal", "--reset", "main").ok()
    assert again.out == "Nothing to do. Position of receive-wal is aligned.\n"
    assert [path.name for path in streaming.iterdir()] == [new.name]


def test_a_reset_ahead_of_the_server_is_refused(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    _streaming(barman_home, newest_pg)
    streaming = barman_home.path("main", "streaming")
    streaming.mkdir(parents=True)
    newest_pg.sql("SELECT pg_create_physical_replication_slot('barman', true)")
    (streaming / "0000000100000000000000FE.partial").write_bytes(b"")
    done = barman_home.run("receive-wal", "--reset", "main")
    assert done.rc == 1
    assert "ahead of the server" in done.err
    assert (streaming / "0000000100000000000000FE.partial").exists()


def test_another_cluster_under_the_same_name_is_refused(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome
) -> None:
    _streaming(barman_home, newest_pg)
    barman_home.path("main").mkdir()
    barman_home.path("main", "identity.json").write_text('{"systemid": "12345", "version": "15"}')
    done = barman_home.run("receive-wal", "main")
    assert done.rc == 1
    assert "the system Id of the connected PostgreSQL server changed" in done.err
