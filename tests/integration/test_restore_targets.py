"""Restores of one history to each kind of target: the restored rows are exactly those that were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.fix_postgres import (
    VERSIONS,
    BarmanHome,
    Cluster,
    ClusterFactory,
    require_version,
    wait_until,
)

Rows = list[tuple[int, str]]


@dataclass
class Story:
    """A cluster that was backed up, went on, and was destroyed."""

    version: str
    home: BarmanHome
    factory: ClusterFactory
    directory: Path
    backup: str = ""
    rows: dict[str, Rows] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    restored: int = 0

    def destination(self) -> Path:
        self.restored += 1
        return self.directory / f"restored{self.restored}"

    def restore(self, *options: str, backup: str = "", start: bool = True) -> Cluster:
        destination = self.destination()
        done = self.home.run("restore", *options, "pg", backup or self.backup, str(destination)).ok()
        assert "successfully prepared for recovery" in done.out
        assert not (destination / ".barman-restore.unfinished").exists()
        return self.factory.adopt(self.version, destination, start=start)


def promoted(cluster: Cluster) -> Cluster:
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
    return cluster


def paused(cluster: Cluster) -> Cluster:
    wait_until(lambda: cluster.value("SELECT pg_get_wal_replay_pause_state()") == "paused", "the recovery pauses")
    return cluster


@pytest.fixture(scope="module", params=VERSIONS, ids=[f"pg{version}" for version in VERSIONS])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    version = str(request.param)
    require_version(version)
    factory = ClusterFactory()
    directory = tmp_path_factory.mktemp("story")
    home = BarmanHome(directory)
    try:
        yield tell(Story(version, home, factory, directory))
    finally:
        factory.close()
        home.close()


def tell(story: Story) -> Story:
    home = story.home
    pg = story.factory.create(story.version)
    home.add_server("pg", pg, archiver="on", compression="gzip")
    pg.configure(archive_mode="on", archive_command=home.accept_wal("pg"))
    pg.restart()
    pg.create_ledger()
    pg.insert(2, "before the backup")
    home.run("switch-wal", "--force", "--archive", "pg").ok()
    home.run("backup", "pg", "--wait").ok()
    story.backup = home.run("list-backups", "--minimal", "pg").ok().out.strip()
    story.rows["backup"] = pg.ledger()

    story.marks["time"] = str(pg.insert(3, "until the moment"))
    story.rows["time"] = pg.ledger()
    pg.insert(1, "after the moment")
    pg.switch_wal()

    pg.psql("BEGIN; INSERT INTO ledger (note) VALUES ('the transaction'); SELECT txid_current(); COMMIT;")
    story.marks["xid"] = str(pg.value("SELECT xmin FROM ledger ORDER BY id DESC LIMIT 1"))
    story.rows["xid"] = pg.ledger()
    pg.insert(1, "after the transaction")

    story.marks["lsn"] = pg.current_lsn()
    story.rows["lsn"] = pg.ledger()
    pg.insert(1, "after the position")

    pg.sql("SELECT pg_create_restore_point('a point')")
    story.marks["name"] = "a point"
    story.rows["name"] = pg.ledger()
    pg.insert(1, "after the point")
    story.rows["latest"] = pg.ledger()
    wal = pg.switch_wal()
    wait_until((home.path("pg", "incoming") / wal).exists, "the last segment arrives")
    # From here on the source is gone: a restore needs the repository only.
    pg.destroy()
    return story


def test_a_plain_restore_has_every_row_and_a_timeline_of_its_own(story: Story) -> None:
    cluster = promoted(story.restore())
    assert cluster.ledger() == story.rows["latest"]
    assert cluster.value("SELECT timeline_id FROM pg_control_checkpoint()") == 2
    assert cluster.value("SHOW archive_command") == "false"


def test_a_restore_to_a_time_ends_there(story: Story) -> None:
    cluster = promoted(story.restore("--target-time", story.marks["time"], "--target-action", "promote"))
    assert cluster.ledger() == story.rows["time"]
    assert not (cluster.data / "barman_wal").exists()


def test_auto_finds_the_backup_for_a_time(story: Story) -> None:
    options = ("--target-time", story.marks["time"], "--target-action", "promote")
    cluster = promoted(story.restore(*options, backup="auto"))
    assert cluster.ledger() == story.rows["time"]


def test_a_restore_to_a_transaction_includes_it(story: Story) -> None:
    cluster = promoted(story.restore("--target-xid", story.marks["xid"], "--target-action", "promote"))
    assert cluster.ledger() == story.rows["xid"]


def test_an_exclusive_restore_leaves_the_transaction_out(story: Story) -> None:
    options = ("--target-xid", story.marks["xid"], "--exclusive", "--target-action", "promote")
    cluster = promoted(story.restore(*options))
    assert cluster.ledger() == story.rows["xid"][:-1]


def test_a_restore_to_a_position_ends_there(story: Story) -> None:
    options = ("--target-lsn", story.marks["lsn"], "--exclusive", "--target-action", "promote")
    cluster = promoted(story.restore(*options))
    assert cluster.ledger() == story.rows["lsn"]


def test_a_restore_to_a_point_pauses_there(story: Story) -> None:
    cluster = paused(story.restore("--target-name", story.marks["name"], "--target-action", "pause"))
    assert cluster.ledger() == story.rows["name"]


def test_an_immediate_restore_has_the_rows_of_the_backup(story: Story) -> None:
    cluster = promoted(story.restore("--target-immediate", "--target-action", "promote"))
    assert cluster.ledger() == story.rows["backup"]


def test_a_restore_with_action_shutdown_stops_by_itself(story: Story) -> None:
    cluster = story.restore("--target-name", story.marks["name"], "--target-action", "shutdown", start=False)
    cluster.start(wait=False)
    assert cluster.process is not None
    cluster.process.wait(60)
    assert "shutting down at recovery target" in cluster.log_text() or "database system is shut down" in (
        cluster.log_text()
    )


def test_a_restored_standby_has_every_row_and_stays_a_standby(story: Story) -> None:
    cluster = story.restore("--standby-mode")
    wait_until(lambda: cluster.ledger() == story.rows["latest"], "the standby has replayed all")
    assert cluster.value("SELECT pg_is_in_recovery()")
    assert cluster.value("SHOW primary_conninfo") == ""


def test_a_standby_with_a_target_reaches_it(story: Story) -> None:
    options = ("--standby-mode", "--target-name", story.marks["name"], "--target-action", "pause")
    cluster = paused(story.restore(*options))
    assert cluster.ledger() == story.rows["name"]


def test_a_staging_directory_for_wal_outside_the_destination_is_used_and_removed(story: Story) -> None:
    # The server's user removes it: its parent must be one where that is allowed.
    staging = story.factory.scratch() / "wal here"
    cluster = story.restore(
        "--staging-wal-directory",
        str(staging),
        "--target-time",
        story.marks["time"],
        "--target-action",
        "promote",
        start=False,
    )
    assert sorted(path.name for path in staging.iterdir())[-1] == "archive_status"
    staging.chmod(0o777)
    for path in staging.iterdir():
        path.chmod(0o777)
    cluster.start()
    assert promoted(cluster).ledger() == story.rows["time"]
    wait_until(lambda: not any(staging.glob("0*")), "the WAL directory is emptied")


def names_below(directory: Path) -> list[str]:
    """Every name below a directory but those of the log and of locks."""
    return sorted(path.name for path in directory.rglob("*") if path.suffix not in (".lock", ".log"))


def test_refusals_name_every_reason_and_touch_nothing(story: Story) -> None:
    destination = story.destination()
    destination.mkdir()
    (destination / ".hidden").write_text("mine")
    before = names_below(story.directory)
    early = str(story.rows and "2001-01-01 00:00:00+00")
    done = story.home.run("restore", "pg", story.backup, str(destination), "--target-time", early)
    assert done.rc == 1
    assert "is before the backup end time" in done.err
    assert "is not empty" in done.err
    assert "'.hidden'" in done.err
    for options, text in (
        (("--target-xid", "not-a-number"), "'not-a-number' is not a transaction id"),
        (("--target-lsn", "nonsense"), "'nonsense' is not a log sequence number"),
        (("--target-lsn", "F/0"), "cannot be reached"),
        (("--target-tli", "7"), "timeline 7 does not exist"),
        (("--target-time", "whenever"), "Unable to parse the target time parameter 'whenever'"),
        (("--target-action", "pause"), "Can't enable recovery target action when PITR is not required"),
        (("--tablespace", "none:/tmp/x"), "Invalid tablespace name 'none'"),
        (("--remote-ssh-command", "ssh nowhere.invalid"), "the destination host cannot be used: 'ssh nowhere.invalid'"),
    ):
        done = story.home.run("restore", "pg", story.backup, str(story.directory / "absent"), *options)
        assert done.rc == 1, done
        assert text in done.err
    assert names_below(story.directory) == before


def test_a_time_after_all_wal_is_a_warning(story: Story) -> None:
    destination = story.destination()
    done = story.home.run("restore", "pg", story.backup, str(destination), "--target-time", "2999-01-01 00:00:00+00")
    assert done.ok().err.count("is in the future") == 1


def test_a_hole_is_refused_and_named_and_may_be_accepted(story: Story) -> None:
    segments = sorted(path for path in story.home.path("pg", "wals").glob("*/*") if len(path.name) == 24)
    hole = segments[-2]
    aside = story.directory / "aside"
    content = hole.read_bytes()
    assert hole.name > "000000010000000000000002"
    hole.rename(aside)
    try:
        destination = story.destination()
        done = story.home.run("restore", "pg", story.backup, str(destination))
        assert done.rc == 1
        assert hole.name in done.err
        assert "--allow-missing-wal" in done.err
        assert not destination.exists()
        done = story.home.run("restore", "pg", story.backup, str(destination), "--allow-missing-wal").ok()
        assert hole.name in done.err
        assert "is lost" in done.err
        cluster = promoted(story.factory.adopt(story.version, destination))
        rows = cluster.ledger()
        assert rows == story.rows["latest"][: len(rows)]
        assert len(rows) < len(story.rows["latest"])
    finally:
        aside.rename(hole)
    assert hole.read_bytes() == content


def test_a_segment_that_cannot_be_decoded_fails_the_restore_and_leaves_nothing_to_start(story: Story) -> None:
    segments = sorted(path for path in story.home.path("pg", "wals").glob("*/*") if len(path.name) == 24)
    victim = segments[-1]
    content = victim.read_bytes()
    destination = story.destination()
    victim.write_bytes(content[: len(content) // 2])
    try:
        done = story.home.run("restore", "pg", story.backup, str(destination))
        assert done.rc == 1
        assert "Failure copying WAL files" in done.err
        assert not (destination / "global" / "pg_control").exists()
    finally:
        victim.write_bytes(content)
    story.home.run("restore", "pg", story.backup, str(destination)).ok()
    assert promoted(story.factory.adopt(story.version, destination)).ledger() == story.rows["latest"]


def test_an_unfinished_restore_with_a_foreign_file_is_refused(story: Story) -> None:
    destination = story.destination()
    story.home.run("restore", "pg", story.backup, str(destination)).ok()
    (destination / ".barman-restore.unfinished").write_text(
        f'{{"server": "pg", "backup_id": "{story.backup}", "directories": []}}'
    )
    (destination / "global" / "pg_control").unlink()
    (destination / "my notes").write_text("keep me")
    done = story.home.run("restore", "pg", story.backup, str(destination))
    assert done.rc == 1
    assert "'my notes'" in done.err
    (destination / "my notes").unlink()
    story.home.run("restore", "pg", story.backup, str(destination)).ok()


def test_json_has_the_fields_of_the_original(story: Story) -> None:
    import json

    done = story.home.run("-f", "json", "restore", "pg", story.backup, str(story.destination())).ok()
    document = json.loads(done.out)
    assert document["changes"] == [["postgresql.auto.conf", 3, "archive_command", "false"]]
    assert document["changes_count"] == 1
    assert document["missing_files"] == []
    assert set(document) >= {"recovery_start_time", "recovery_elapsed_time_seconds", "warnings", "warnings_count"}


def test_a_target_before_a_second_backup_is_served_by_the_first(story: Story) -> None:
    from datetime import datetime

    moment = datetime.fromisoformat(story.marks["time"]) + timedelta(microseconds=1)
    cluster = promoted(story.restore("--target-time", str(moment), "--target-action", "promote", backup="auto"))
    assert cluster.ledger() == story.rows["time"]
