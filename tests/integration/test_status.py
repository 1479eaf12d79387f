"""`status`, `show-servers`, `replication-status` and `diagnose` on real servers."""

import json

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until


def test_status_of_a_running_server(barman_home: BarmanHome, pg: Cluster) -> None:
    barman_home.add_server("main", pg, archiver="on")
    found = json.loads(barman_home.run("-f", "json", "status", "main").ok().out)["main"]
    assert found["pg_version"]["message"].split(".")[0] == pg.version
    assert found["is_in_recovery"]["message"] == "in production"
    assert found["current_xlog"]["message"] == pg.current_wal()
    assert found["data_directory"]["message"] == str(pg.data)
    assert found["last_archived_wal"]["message"] == "No WAL segment shipped yet"
    assert found["failed_count"]["message"] == "0"


def test_status_opens_one_connection(barman_home: BarmanHome, pg: Cluster) -> None:
    pg.configure(log_connections="on")
    pg.reload()
    barman_home.add_server("main", pg, archiver="on")
    before = pg.log_text().count("connection authorized: user=barman")
    barman_home.run("status", "main").ok()
    assert pg.log_text().count("connection authorized: user=barman") == before + 1


def test_status_of_a_standby_and_of_a_dead_server(
    barman_home: BarmanHome, pg: Cluster, pg_factory: ClusterFactory
) -> None:
    barman_home.add_server("main", pg_factory.standby_of(pg), archiver="on")
    lines = barman_home.run("status", "main").ok().out
    assert "\tCluster state: in archive recovery\n" in lines
    assert "Current WAL segment" not in lines
    barman_home.add_server("main", pg, archiver="on")
    pg.stop()
    assert (
        "\tPostgreSQL version: FAILED trying to get PostgreSQL version\n" in barman_home.run("status", "main").ok().out
    )


def test_show_servers_of_a_running_server(barman_home: BarmanHome, pg: Cluster) -> None:
    barman_home.add_server("main", pg, streaming_archiver="on", slot_name="barman")
    console = barman_home.run("show-servers", "main").ok().out
    assert console.startswith("Server main:\n\tactive: True\n")
    assert f"\tdata_directory: {pg.data}\n" in console
    assert f"\tconninfo: {pg.conninfo}\n" in console
    found = json.loads(barman_home.run("-f", "json", "show-servers", "main").ok().out)["main"]
    assert found["postgres_systemid"] == found["streaming_systemid"] == pg.system_id
    assert found["xlog_segment_size"] == 16 * 1024 * 1024
    assert isinstance(found["current_size"], str)
    assert found["pg_receivexlog_compatible"] is True
    assert found["synchronous_standby_names"] == [""]


def test_replication_status_tells_standbys_from_streamers(
    barman_home: BarmanHome, pg: Cluster, pg_factory: ClusterFactory
) -> None:
    barman_home.add_server("main", pg, archiver="on")
    empty = barman_home.run("replication-status", "main").ok().out
    assert empty.endswith("  No streaming clients attached\n")
    pg_factory.standby_of(pg, slot="standby_1")
    # A standby is told from a streamer by what it has replayed, which it first reports a moment after it streams.
    wait_until(lambda: pg.value("SELECT replay_lsn FROM pg_stat_replication") is not None, "the standby replays")
    found = json.loads(barman_home.run("-f", "json", "replication-status", "main").ok().out)["main"]
    (client,) = found["streaming_clients"]
    assert client["name"] == "Async standby"
    assert client["replication_slot"] == "standby_1"
    streamers = barman_home.run("replication-status", "main", "--target", "wal-streamer").ok().out
    assert "No WAL streamers attached" in streamers
    minimal = barman_home.run("replication-status", "main", "--minimal").ok().out.splitlines()
    assert minimal[0].startswith("Streaming clients for master 'main' (LSN @ ")
    assert minimal[1].startswith("  1. A) ")


def test_replication_status_needs_a_server_and_privileges(barman_home: BarmanHome, pg: Cluster) -> None:
    barman_home.add_server("main", conninfo="host=/nowhere", archiver="on")
    ran = barman_home.run("replication-status", "main")
    assert ran.rc == 1
    assert ran.err.startswith("ERROR: Unable to connect to server main\n")
    barman_home.add_server("idle", conninfo="host=/nowhere", archiver="on", active="off")
    assert barman_home.run("replication-status", "idle").ok().out == "Skipping inactive server 'idle'\n"


def test_diagnose_is_json_whatever_is_broken(barman_home: BarmanHome, pg: Cluster) -> None:
    barman_home.add_server("main", pg, archiver="on", conninfo=f"{pg.conninfo} password=sekrit")
    barman_home.add_server("down", conninfo="host=/nowhere", archiver="on")
    barman_home.add_server("broken", archiver="on")
    ran = barman_home.run("diagnose").ok()
    assert "sekrit" not in ran.out
    found = json.loads(ran.out)
    assert found["servers"]["main"]["status"]["postgres_systemid"] == pg.system_id
    assert found["servers"]["down"]["status"]["connection_error"]
    assert found["servers"]["broken"]["msg_list"]
    assert found["global"]["config"]["barman_home"] == str(barman_home.home)
    sources = json.loads(barman_home.run("diagnose", "--show-config-source").ok().out)
    assert sources["servers"]["main"]["config"]["archiver"] == {"source": str(barman_home.config_file), "value": True}
    assert sources["servers"]["main"]["config"]["slot_name"]["source"] == "default"
