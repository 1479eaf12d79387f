"""Backups of the original and ours, each used by the other program: listed, shown, restored, started, deleted.

The oracle is a server: every backup that is called good is restored, started, and its ledger compared.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until
from tests.support.fix_upstream import Upstream


@pytest.fixture
def original(barman_home: BarmanHome, upstream_program: str) -> Upstream:
    """The original on the same configuration file, and so on the same repository."""
    return Upstream(upstream_program, str(barman_home.config_file))


@pytest.fixture
def source(pg_factory: ClusterFactory, barman_home: BarmanHome) -> Cluster:
    """A primary with a tablespace and a ledger; its server is named `pg` and archives by `archive_command`."""
    cluster = pg_factory.create("15")
    barman_home.add_server("pg", cluster, archiver="on")
    cluster.configure(archive_mode="on", archive_command=barman_home.accept_wal("pg"))
    cluster.restart()
    place = pg_factory.scratch() / "space"
    place.mkdir()
    os.chown(place, cluster.data.stat().st_uid, cluster.data.stat().st_gid)
    cluster.sql(f"CREATE TABLESPACE space LOCATION '{place}'")
    cluster.sql("CREATE TABLE elsewhere TABLESPACE space AS SELECT generate_series(1, 1000) AS n")
    cluster.create_ledger()
    cluster.insert(3, "before the backup")
    return cluster


def use_method(home: BarmanHome, cluster: Cluster, method: str) -> None:
    options = {"archiver": "on", "backup_method": method}
    if method == "local-rsync":
        options["reuse_backup"] = "link"
    home.add_server("pg", cluster, **options)


def newest(home: BarmanHome) -> str:
    return home.run("list-backups", "--minimal", "pg").ok().out.split()[0]


def assert_same(cluster: Cluster, rows: list[tuple[int, str]]) -> None:
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
    assert cluster.ledger() == rows
    assert cluster.value("SELECT sum(n) FROM elsewhere") == 500500


def rsync_backup(home: BarmanHome, original: Upstream, cluster: Cluster) -> str:
    use_method(home, cluster, "local-rsync")
    original.run("switch-wal", "--force", "--archive", "pg")
    original.run("backup", "pg", "--wait")
    return newest(home)


def test_an_rsync_backup_of_the_original_is_listed_shown_verified_and_restored_here(
    source: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, original: Upstream, tmp_path: Path
) -> None:
    first = rsync_backup(barman_home, original, source)
    source.insert(4, "between the backups")
    second = rsync_backup(barman_home, original, source)
    moment = source.insert(5, "after the backup")
    rows = source.ledger()
    source.insert(6, "too late")
    source.switch_wal()
    original.run("cron")
    barman_home.run("archive-wal", "pg").ok()

    for arguments in (("list-backups", "pg"), ("show-backup", "pg", second), ("list-files", "pg", first)):
        theirs = original.json(*arguments)
        ours = json.loads(barman_home.run("-f", "json", *arguments).ok().out)
        assert ours.keys() == theirs.keys()
    listed = json.loads(barman_home.run("-f", "json", "list-backups", "pg").ok().out)["pg"]
    assert [item["backup_id"] for item in listed] == [second, first]
    assert {item["status"] for item in listed} == {"DONE"}
    assert barman_home.run("check-backup", "pg", second).ok().rc == 0

    source.destroy()
    done = barman_home.run("restore", "pg", second, str(tmp_path / "restored"), "--target-time", str(moment)).ok()
    assert "Your PostgreSQL server has been successfully prepared for recovery!" in done.out
    restored = pg_factory.adopt("15", tmp_path / "restored")
    wait_until(lambda: restored.value("SELECT pg_get_wal_replay_pause_state()") == "paused", "the target is reached")
    assert restored.ledger() == rows


def test_an_rsync_backup_of_the_original_is_restored_to_its_end_and_to_another_place(
    source: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, original: Upstream, tmp_path: Path
) -> None:
    backup = rsync_backup(barman_home, original, source)
    source.insert(4, "after the backup")
    rows = source.ledger()
    source.switch_wal()
    wait_until(lambda: "after" and any(barman_home.path("pg", "incoming").glob("0*")), "WAL arrives")
    source.stop()
    place = pg_factory.scratch() / "moved"
    destination = tmp_path / "restored"
    barman_home.run("restore", "pg", backup, str(destination), "--tablespace", f"space:{place}").ok()
    assert_same(pg_factory.adopt("15", destination), rows)
    assert [os.readlink(link) for link in (destination / "pg_tblspc").iterdir()] == [str(place)]


def test_a_backup_of_ours_is_restored_by_the_original(
    source: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, original: Upstream, tmp_path: Path
) -> None:
    barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    barman_home.run("backup", "pg", "--wait").ok()
    backup = newest(barman_home)
    source.insert(4, "after the backup")
    rows = source.ledger()
    source.switch_wal()
    barman_home.run("archive-wal", "pg").ok()
    source.stop()
    place = pg_factory.scratch() / "moved"
    destination = tmp_path / "restored"
    original.run("recover", "pg", backup, str(destination), "--tablespace", f"space:{place}")
    cluster = pg_factory.adopt("15", destination)
    assert_same(cluster, rows)


def test_a_backup_with_rsync_of_ours_is_verified_restored_and_gone_on_from_by_the_original(
    source: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, original: Upstream, tmp_path: Path
) -> None:
    use_method(barman_home, source, "local-rsync")
    barman_home.run("backup", "pg", "--wait", "--manifest").ok()
    ours = newest(barman_home)
    data = barman_home.path("pg", "base", ours, "data")
    assert (data / "tablespace_map").exists()
    assert "successfully verified" in original.run("verify-backup", "pg", ours).out
    original.run("backup", "pg")
    followed = barman_home.path("pg", "base", newest(barman_home), "data")
    assert (followed / "PG_VERSION").samefile(data / "PG_VERSION")
    assert not list((followed / "pg_tblspc").iterdir())
    rows = source.ledger()
    source.stop()
    place = pg_factory.scratch() / "moved"
    original.run("recover", "pg", ours, str(tmp_path / "restored"), "--tablespace", f"space:{place}")
    assert [os.readlink(link) for link in (tmp_path / "restored/pg_tblspc").iterdir()] == [str(place)]
    assert_same(pg_factory.adopt("15", tmp_path / "restored"), rows)


def test_a_compressed_backup_of_each_program_is_restored_by_the_other(
    source: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, original: Upstream, tmp_path: Path
) -> None:
    compressed = {"backup_compression": "gzip", "backup_compression_level": "1", "backup_compression_format": "tar"}
    barman_home.add_server("pg", source, archiver="on", immediate_checkpoint="true", **compressed)
    barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    barman_home.run("backup", "pg", "--wait").ok()
    ours = newest(barman_home)
    original.run("backup", "pg", "--wait")
    theirs = newest(barman_home)
    bases = [barman_home.path("pg", "base", backup) for backup in (ours, theirs)]
    laid_out = [{str(path.relative_to(base)) for path in base.rglob("*")} - {"backup.info"} for base in bases]
    assert laid_out[0] == laid_out[1]
    shown = [original.json("show-backup", "pg", backup)["pg"] for backup in (ours, theirs)]
    assert [item["base_backup_information"]["compression"] for item in shown] == ["gzip", "gzip"]
    assert "successfully verified" in barman_home.run("verify-backup", "pg", theirs).ok().out
    source.insert(4, "after the backups")
    rows = source.ledger()
    source.switch_wal()
    barman_home.run("archive-wal", "pg").ok()
    source.stop()
    for program, backup in ((original, ours), (barman_home, theirs)):
        place, destination = pg_factory.scratch() / "moved", tmp_path / f"restored-{backup}"
        program.run("restore", "pg", backup, str(destination), "--tablespace", f"space:{place}")
        cluster = pg_factory.adopt("15", destination)
        assert_same(cluster, rows)
        cluster.stop()


def test_each_program_deletes_backups_of_the_other(
    source: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, original: Upstream, tmp_path: Path
) -> None:
    theirs = [rsync_backup(barman_home, original, source) for _ in range(2)]
    use_method(barman_home, source, "postgres")
    ours = []
    for _ in range(2):
        barman_home.run("backup", "pg", "--wait").ok()
        ours.append(newest(barman_home))
    rows = source.ledger()

    barman_home.run("delete", "pg", theirs[0]).ok()
    original.run("delete", "pg", ours[0])
    left = [theirs[1], ours[1]]
    for out in (
        barman_home.run("list-backups", "--minimal", "pg").ok().out,
        original.run("list-backups", "--minimal", "pg").out,
    ):
        assert sorted(out.split()) == left
    for gone in (theirs[0], ours[0]):
        assert not barman_home.path("pg", "base", gone).exists()
        assert not barman_home.path("pg", "meta", f"{gone}-backup.info").exists()

    source.destroy()
    for number, backup in enumerate(left):
        place, destination = pg_factory.scratch() / "moved", tmp_path / f"restored{number}"
        program = barman_home.run("restore", "pg", backup, str(destination), "--tablespace", f"space:{place}")
        program.ok()
        assert_same(pg_factory.adopt("15", destination), rows)


@pytest.mark.parametrize("method", ["snapshot", "local-to-cloud"])
def test_a_method_that_is_not_built_is_refused_for_backups_only(
    source: Cluster, barman_home: BarmanHome, original: Upstream, method: str, tmp_path: Path
) -> None:
    backup = rsync_backup(barman_home, original, source)
    disks = {"snapshot_disks": "a", "snapshot_instance": "i", "snapshot_provider": "aws"}
    options = {"snapshot": {"ssh_command": "ssh host", **disks}}.get(method, {})
    barman_home.add_server("pg", source, archiver="on", backup_method=method, **options)
    done = barman_home.run("backup", "pg")
    assert done.rc == 1
    assert f"ERROR: backup_method = {method} is not supported yet" in done.err
    assert f"backup method: FAILED (backup_method = {method} is not supported yet" in barman_home.run("check", "pg").out
    assert list(barman_home.path("pg", "base").iterdir()) == [barman_home.path("pg", "base", backup)]
    for arguments in (
        ("list-backups", "pg"),
        ("show-backup", "pg", "latest"),
        ("list-files", "pg", "latest"),
        ("show-servers", "pg"),
        ("status", "pg"),
        ("archive-wal", "pg"),
        ("check-backup", "pg", "latest"),
        ("keep", "pg", "latest", "--status"),
        ("delete", "pg", backup),
    ):
        done = barman_home.run(*arguments)
        assert done.rc == 0, (arguments, done.out, done.err)
    assert not barman_home.path("pg", "base", backup).exists()
