"""Restores across timeline switches: the default follows the target by ancestry, and every branch can be reached."""

from __future__ import annotations

from pathlib import Path

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until


def set_up(home: BarmanHome, pg: Cluster) -> str:
    home.add_server("pg", pg, archiver="on")
    pg.configure(archive_mode="on", archive_command=home.accept_wal("pg"))
    pg.restart()
    pg.create_ledger()
    pg.insert(2, "first")
    home.run("switch-wal", "--force", "--archive", "pg").ok()
    home.run("backup", "pg", "--wait").ok()
    return home.run("list-backups", "--minimal", "pg").ok().out.split()[0]


def archived(home: BarmanHome, pg: Cluster) -> None:
    wal = pg.switch_wal()
    wait_until((home.path("pg", "incoming") / wal).exists, "the segment arrives")
    home.run("archive-wal", "pg").ok()


def promoted(cluster: Cluster) -> Cluster:
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
    return cluster


def test_after_a_point_in_time_recovery_both_branches_can_be_restored(
    pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    backup = set_up(barman_home, pg)
    moment = str(pg.insert(1, "common"))
    common = pg.ledger()
    old_moment = str(pg.insert(2, "abandoned"))
    abandoned = pg.ledger()
    pg.insert(1, "abandoned later")
    archived(barman_home, pg)
    lost = pg.ledger()
    pg.destroy()

    # The first recovery: to a moment, and the restored server takes over and archives its own timeline.
    first = tmp_path / "first"
    done = barman_home.run(
        "restore", "pg", backup, str(first), "--target-time", moment, "--target-action", "promote"
    ).ok()
    cluster = promoted(pg_factory.adopt(pg.version, first))
    assert cluster.ledger() == common
    cluster.configure(archive_command=barman_home.accept_wal("pg"))
    cluster.restart()
    cluster.insert(3, "new life")
    kept = cluster.ledger()
    archived(barman_home, cluster)
    cluster.stop()
    assert barman_home.path("pg", "wals", "00000002.history").exists()

    # No target: the newest timeline after the backup.
    done = barman_home.run("restore", "pg", backup, str(tmp_path / "newest")).ok()
    assert "following timeline 2" in done.err
    newest = promoted(pg_factory.adopt(pg.version, tmp_path / "newest"))
    assert newest.ledger() == kept
    assert newest.value("SELECT timeline_id FROM pg_control_checkpoint()") == 3
    newest.stop()

    # A number: that timeline, to its end.
    barman_home.run("restore", "pg", backup, str(tmp_path / "second"), "--target-tli", "2").ok()
    second = promoted(pg_factory.adopt(pg.version, tmp_path / "second"))
    assert second.ledger() == kept
    second.stop()
    barman_home.run("restore", "pg", backup, str(tmp_path / "old"), "--target-tli", "1").ok()
    old = promoted(pg_factory.adopt(pg.version, tmp_path / "old"))
    assert old.ledger() == lost
    # It shall not take a number that is taken.
    assert old.value("SELECT timeline_id FROM pg_control_checkpoint()") == 3
    old.stop()

    # A moment that only the abandoned branch saw: the default does not follow the branch that came later.
    options = ("--target-time", old_moment, "--target-action", "promote")
    done = barman_home.run("restore", "pg", backup, str(tmp_path / "moment"), *options).ok()
    assert "following timeline 1" in done.err
    seen = promoted(pg_factory.adopt(pg.version, tmp_path / "moment"))
    assert seen.ledger() == abandoned
    seen.stop()

    # `auto` on timeline 2 finds the backup of timeline 1, its ancestor.
    barman_home.run("restore", "pg", "auto", str(tmp_path / "auto"), "--target-tli", "2").ok()
    found = promoted(pg_factory.adopt(pg.version, tmp_path / "auto"))
    assert found.ledger() == kept


def test_a_moment_after_a_failover_is_reached_on_the_new_timeline(
    pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    backup = set_up(barman_home, pg)
    standby = pg_factory.standby_of(pg)
    pg.insert(1, "on the primary")
    archived(barman_home, pg)
    lsn = pg.current_lsn()
    wait_until(
        lambda: standby.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,)), "the standby has replayed all"
    )
    pg.destroy()
    standby.promote()
    moment = str(standby.insert(2, "after the failover"))
    wanted = standby.ledger()
    standby.insert(1, "too late")
    everything = standby.ledger()
    archived(barman_home, standby)
    standby.stop()

    options = ("--target-time", moment, "--target-action", "promote")
    barman_home.run("restore", "pg", backup, str(tmp_path / "moment"), *options).ok()
    cluster = promoted(pg_factory.adopt(pg.version, tmp_path / "moment"))
    assert cluster.ledger() == wanted
    cluster.stop()
    barman_home.run("restore", "pg", backup, str(tmp_path / "all")).ok()
    assert promoted(pg_factory.adopt(pg.version, tmp_path / "all")).ledger() == everything


def test_an_archive_that_never_saw_the_history_of_its_timeline_is_restored(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    newest_pg.stop()
    (newest_pg.data / "standby.signal").touch()
    newest_pg.start()
    newest_pg.promote()
    newest_pg.value("SELECT pg_switch_wal()")
    backup = set_up(barman_home, newest_pg)
    newest_pg.insert(1, "more")
    archived(barman_home, newest_pg)
    rows = newest_pg.ledger()
    newest_pg.stop()
    for history in barman_home.path("pg", "wals").glob("*.history"):
        history.unlink()
    for options in ((), ("--target-tli", "2"), ("--target-lsn", "0/0")[:0]):
        destination = tmp_path / f"restored{len(options)}"
        if destination.exists():
            continue
        barman_home.run("restore", "pg", backup, str(destination), *options).ok()
        cluster = promoted(pg_factory.adopt(newest_pg.version, destination))
        assert cluster.ledger() == rows
        cluster.stop()
