"""switch-wal: close a segment, and wait until it is archived."""

from __future__ import annotations

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory


def _archiving(home: BarmanHome, pg: Cluster, **options: str) -> None:
    home.add_server("main", pg, archiver="on", **options)
    pg.settings.update(archive_mode="on", archive_command=home.accept_wal("main"))
    pg.restart()
    pg.create_ledger()
    pg.insert()


def test_the_closed_segment_is_named_and_waited_for(pg: Cluster, barman_home: BarmanHome) -> None:
    _archiving(barman_home, pg)
    open_segment = pg.current_wal()
    done = barman_home.run("switch-wal", "--archive", "main").ok()
    assert done.out.startswith(
        f"The WAL file {open_segment} has been closed on server 'main'\n"
        f"Waiting for the WAL file {open_segment} from server 'main' (max: 30 seconds)\n"
    )
    assert list(barman_home.path("main", "wals").glob(f"*/{open_segment}"))


def test_an_idle_server_needs_no_switch(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("main", newest_pg, archiver="on")
    newest_pg.sql("CHECKPOINT")
    outputs = [barman_home.run("switch-wal", "main").ok().out for _ in range(4)]
    assert "No switch required for server 'main'\n" in outputs


def test_force_makes_something_to_switch(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("main", newest_pg, archiver="on")
    for _ in range(2):
        assert "has been closed on server 'main'\n" in barman_home.run("switch-xlog", "--force", "main").ok().out


def test_force_without_the_right_says_what_it_needs(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    newest_pg.sql("CREATE ROLE nobody LOGIN")
    barman_home.add_server(
        "main", newest_pg, archiver="on", conninfo=newest_pg.conninfo.replace("user=barman", "user=nobody")
    )
    forced = barman_home.run("switch-wal", "--force", "main")
    assert forced.rc == 1
    assert "switch-wal --force" in forced.err
    assert "pg_checkpoint" in forced.err
    plain = barman_home.run("switch-wal", "main")
    assert plain.rc == 1
    assert plain.err.startswith("ERROR: Unable to perform pg_switch_wal for server 'main'.\n")


def test_a_segment_that_never_arrives_is_an_error(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("main", newest_pg, archiver="on")
    newest_pg.create_ledger()
    name = newest_pg.current_wal()
    done = barman_home.run("switch-wal", "--archive", "--archive-timeout", "1", "main")
    assert done.rc == 1
    assert f"ERROR: The WAL file {name} has not been received in 1 seconds\n" in done.err


def test_a_server_that_is_down_is_an_error_with_its_cause(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("main", newest_pg, archiver="on")
    newest_pg.stop()
    done = barman_home.run("switch-wal", "main")
    assert done.rc == 1
    assert done.err.startswith("ERROR: Unable to perform pg_switch_wal for server 'main'.\n")
    assert "cannot connect" in done.err


def test_a_standby_is_not_switched_but_its_primary_is(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome
) -> None:
    standby = pg_factory.standby_of(newest_pg)
    barman_home.add_server("main", standby, archiver="on")
    done = barman_home.run("switch-wal", "main").ok()
    assert "standby" in done.out
    newest_pg.create_ledger()
    barman_home.add_server("main", standby, archiver="on", primary_conninfo=newest_pg.conninfo)
    assert "has been closed on server 'main'\n" in barman_home.run("switch-wal", "main").ok().out


def test_one_failing_server_does_not_stop_the_next(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome
) -> None:
    down = pg_factory.create(newest_pg.version, start=False)
    barman_home.add_server("a", down, archiver="on")
    barman_home.add_server("b", newest_pg, archiver="on")
    newest_pg.create_ledger()
    done = barman_home.run("switch-wal", "all")
    assert done.rc == 1
    assert "Unable to perform pg_switch_wal for server 'a'." in done.err
    assert "has been closed on server 'b'" in done.out


def test_an_inactive_server_is_skipped(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    barman_home.add_server("main", newest_pg, archiver="on", active="off")
    assert barman_home.run("switch-wal", "main").ok().out == "Skipping inactive server 'main'\n"
