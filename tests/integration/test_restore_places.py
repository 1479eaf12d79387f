"""Where restores go: tablespaces, destinations that do not fit, configuration that must not act as the old cluster."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until


def back_up(home: BarmanHome, pg: Cluster) -> str:
    home.run("switch-wal", "--force", "--archive", "pg").ok()
    home.run("backup", "pg", "--wait").ok()
    return home.run("list-backups", "--minimal", "pg").ok().out.split()[0]


def set_up(home: BarmanHome, pg: Cluster) -> None:
    home.add_server("pg", pg, archiver="on")
    pg.configure(archive_mode="on", archive_command=home.accept_wal("pg"))
    pg.restart()
    pg.create_ledger()


def promoted(cluster: Cluster) -> Cluster:
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
    return cluster


def test_tablespaces_go_where_they_are_sent(
    pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    set_up(barman_home, pg)
    for name in ("moved", "stays"):
        place = pg_factory.scratch() / name
        place.mkdir()
        os.chown(place, pg.data.stat().st_uid, pg.data.stat().st_gid)
        pg.sql(f"CREATE TABLESPACE {name} LOCATION '{place}'")
        pg.sql(f"CREATE TABLE in_{name} TABLESPACE {name} AS SELECT generate_series(1, 1000) AS n")
    stays = pg.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'stays'")
    oid = pg.value("SELECT oid FROM pg_tablespace WHERE spcname = 'moved'")
    backup = back_up(barman_home, pg)
    destination, new = tmp_path / "restored", pg_factory.scratch() / "new place"

    # While the source is there, its own tablespace is in the way.
    done = barman_home.run("restore", "pg", backup, str(destination))
    assert done.rc == 1
    assert f"'{stays}' is not empty" in done.err
    assert not destination.exists()

    pg.destroy()
    done = barman_home.run("restore", "pg", backup, str(destination), "--tablespace", f"moved:{new}").ok()
    assert f"\t{oid}, moved, {new}\n" in done.out
    assert os.readlink(destination / "pg_tblspc" / str(oid)) == str(new)
    cluster = promoted(pg_factory.adopt(pg.version, destination))
    assert cluster.value("SELECT sum(n) FROM in_moved") == cluster.value("SELECT sum(n) FROM in_stays") == 500500
    assert cluster.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'moved'") == str(new)


def test_what_would_make_the_copy_act_as_the_old_cluster_is_disabled(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    set_up(barman_home, newest_pg)
    (newest_pg.data / "conf.d").mkdir()
    (newest_pg.data / "conf.d" / "extra.conf").write_text("primary_conninfo = 'host=old'\nwork_mem = '5MB'\n")
    with open(newest_pg.data / "postgresql.conf", "a") as file:
        file.write("include_dir = 'conf.d'\nrestore_command = 'cp /old/%f %p'\nrecovery_target_name = 'old'\n")
    backup = back_up(barman_home, newest_pg)
    rows = newest_pg.ledger()
    newest_pg.stop()
    done = barman_home.run("restore", "pg", backup, str(tmp_path / "restored")).ok()
    assert "include_dir = 'conf.d'" in done.out
    assert "extra.conf line 0: primary_conninfo = None" in done.out
    assert "recovery_target_name = None" in done.out
    assert (tmp_path / "restored" / "conf.d" / "extra.conf.origin").read_text().startswith("primary_conninfo")
    cluster = promoted(pg_factory.adopt(newest_pg.version, tmp_path / "restored"))
    assert cluster.ledger() == rows
    for name, value in (("primary_conninfo", ""), ("archive_command", "false"), ("work_mem", "5MB")):
        assert cluster.value(f"SHOW {name}") == value
    assert cluster.value("SHOW restore_command") == "false"


def test_configuration_outside_the_data_directory_is_overruled(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    set_up(barman_home, newest_pg)
    outside = pg_factory.scratch() / "old.conf"
    outside.write_text("primary_conninfo = 'host=old'\nprimary_slot_name = 'old'\narchive_cleanup_command = 'old'\n")
    outside.chmod(0o644)
    with open(newest_pg.data / "postgresql.conf", "a") as file:
        file.write(f"include '{outside}'\n")
    newest_pg.restart()
    assert newest_pg.value("SHOW primary_conninfo") == "host=old"
    backup = back_up(barman_home, newest_pg)
    newest_pg.stop()
    barman_home.run("restore", "pg", backup, str(tmp_path / "restored")).ok()
    cluster = promoted(pg_factory.adopt(newest_pg.version, tmp_path / "restored"))
    for name in ("primary_conninfo", "primary_slot_name", "archive_cleanup_command"):
        assert cluster.value(f"SHOW {name}") == ""
    assert "host=old" in outside.read_text()


def test_places_that_do_not_fit_are_refused(newest_pg: Cluster, barman_home: BarmanHome, tmp_path: Path) -> None:
    set_up(barman_home, newest_pg)
    backup = back_up(barman_home, newest_pg)
    file = tmp_path / "file"
    file.write_text("")
    for destination, text in (
        (str(newest_pg.data), "a PostgreSQL server (process"),
        (str(newest_pg.data / "inside"), f"lies in the data directory '{newest_pg.data}'"),
        (str(barman_home.path("pg", "wals", "x")), "lies in the backup repository"),
        (str(file), "is not a directory"),
        (str(file / "below"), "is not a directory"),
        (f"{tmp_path}/a:b", "cannot contain the ':' character"),
        ("/", "cannot be the root directory"),
    ):
        done = barman_home.run("restore", "pg", backup, destination)
        assert done.rc == 1
        assert text in done.err, done.err
    assert newest_pg.value("SELECT 1") == 1


def test_an_empty_destination_keeps_its_inode_and_gets_the_mode_of_the_data_directory(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    set_up(barman_home, newest_pg)
    backup = back_up(barman_home, newest_pg)
    newest_pg.stop()
    destination = tmp_path / "restored"
    destination.mkdir(mode=0o755)
    inode = destination.stat().st_ino
    barman_home.run("restore", "pg", backup, str(destination)).ok()
    assert destination.stat().st_ino == inode
    assert destination.stat().st_mode & 0o777 == 0o700
    promoted(pg_factory.adopt(newest_pg.version, destination))


def test_a_damaged_backup_is_refused_before_anything_is_copied(
    newest_pg: Cluster, barman_home: BarmanHome, tmp_path: Path
) -> None:
    set_up(barman_home, newest_pg)
    backup = back_up(barman_home, newest_pg)
    victim = next(barman_home.path("pg", "base", backup, "data", "base").glob("*/pg_filenode.map"))
    victim.unlink()
    done = barman_home.run("restore", "pg", backup, str(tmp_path / "restored"))
    assert done.rc == 1
    assert "is damaged: 1 files of its manifest are missing" in done.err
    assert victim.name in done.err
    assert not (tmp_path / "restored").exists()


def test_a_backup_that_is_being_deleted_is_not_restored(
    newest_pg: Cluster, barman_home: BarmanHome, tmp_path: Path
) -> None:
    set_up(barman_home, newest_pg)
    backup = back_up(barman_home, newest_pg)
    from barman.fs.lock import FileLock

    with FileLock(str(barman_home.home / f".pg-{backup}.lock")):
        done = barman_home.run("restore", "pg", backup, str(tmp_path / "restored"))
    assert done.rc == 1
    assert "is in use" in done.err
    with FileLock(str(barman_home.home / f".pg-{backup}.lock"), shared=True):
        barman_home.run("restore", "pg", backup, str(tmp_path / "restored")).ok()


def test_symbolic_links_do_not_make_one_directory_out_of_two(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    set_up(barman_home, newest_pg)
    for name in ("one", "two"):
        place = pg_factory.scratch() / name
        place.mkdir()
        os.chown(place, newest_pg.data.stat().st_uid, newest_pg.data.stat().st_gid)
        newest_pg.sql(f"CREATE TABLESPACE {name} LOCATION '{place}'")
    backup = back_up(barman_home, newest_pg)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for destination, one, two in (
        ("restored", "real", "link"),
        ("restored", "real", "link/two"),
        ("link", "real/base", "elsewhere"),
        ("link", "elsewhere", "real"),
    ):
        rules = ("--tablespace", f"one:{tmp_path / one}", "--tablespace", f"two:{tmp_path / two}")
        done = barman_home.run("restore", "pg", backup, str(tmp_path / destination), *rules)
        assert done.rc == 1, (destination, one, two)
        assert "which are one directory or lie in one another" in done.err
        assert os.listdir(tmp_path / "real") == []
    staging = ("--target-immediate", "--staging-wal-directory", str(tmp_path / "real" / "wal"))
    rules = ("--tablespace", f"one:{tmp_path}/1", "--tablespace", f"two:{tmp_path}/2")
    done = barman_home.run("restore", "pg", backup, str(tmp_path / "link"), *rules, *staging)
    assert "which are one directory or lie in one another" in done.err

    done = barman_home.run("restore", "pg", backup, str(tmp_path / "r"), *rules, "--tablespace", f"two:{tmp_path}/3")
    assert "tablespace 'two' is sent to two places" in done.err
    for text in ("", " ", "~/restored"):
        assert barman_home.run("restore", "pg", backup, text, *rules).rc == 2
    assert not any((tmp_path / name).exists() for name in ("1", "2", "3", "r", "restored", "elsewhere"))


def test_two_restores_at_once_into_one_place_do_not_mix(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    set_up(barman_home, newest_pg)
    newest_pg.insert(5)
    first = back_up(barman_home, newest_pg)
    newest_pg.insert(5)
    second = back_up(barman_home, newest_pg)
    newest_pg.stop()
    destination = tmp_path / "restored"
    running = [barman_home.start("restore", "pg", backup, str(destination)) for backup in (first, second, first)]
    errors = [process.communicate(timeout=60)[1] for process in running]
    codes = [process.returncode for process in running]
    assert sorted(codes) == [0, 1, 1]
    for code, text in zip(codes, errors, strict=True):
        assert code == 0 or "another restore" in text or "is not empty" in text, text
    winner = (first, second, first)[codes.index(0)]
    assert (destination / f"backup_manifest.{winner}").exists()
    assert len([name for name in os.listdir(destination) if name.startswith("backup_manifest.")]) == 1
    assert len(promoted(pg_factory.adopt(newest_pg.version, destination)).ledger()) == 10
