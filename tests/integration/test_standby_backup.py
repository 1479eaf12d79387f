"""Backups of a standby by both methods, their WAL by every way: restorable, and a primary again."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, require_version, wait_until

SERVERS = ("shipped", "always", "streamed")
"""By whom the WAL comes: archive_command of the primary, that of the standby, streaming from a standby's standby."""
_ROLES = (
    "PostgreSQL server is standby",
    "Primary server is not a standby",
    "Primary and standby have same system ID",
)


class Standbys:
    """A primary, its standby and that one's standby, with a server section for each way of WAL."""

    def __init__(self, version: str, factory: ClusterFactory, home: BarmanHome, **options: str) -> None:
        require_version(version)
        self.factory = factory
        self.home = home
        self.primary = factory.create(
            version, settings={"archive_mode": "on", "archive_command": home.accept_wal("shipped")}
        )
        self.primary.create_ledger()
        self.primary.insert(3)
        always = {"archive_mode": "always", "archive_command": home.accept_wal("always")}
        self.standby = factory.standby_of(self.primary, settings=always)
        self.cascade = factory.standby_of(self.standby, settings={"archive_mode": "on"})
        options["primary_conninfo"] = self.primary.conninfo
        home.add_server("shipped", self.standby, archiver="on", **options)
        home.add_server("always", self.standby, archiver="on", **options)
        home.add_server(
            "streamed", self.cascade, streaming_archiver="on", slot_name="barman", create_slot="auto", **options
        )
        # A receiver begins with the segment that it finds: nothing may be switched before it has.
        home.run("cron").ok()
        self.primary.insert(1)
        streaming = home.path("streamed", "streaming")
        wait_until(lambda: list(streaming.glob("*.partial")), "the receiver has begun")

    def of(self, server: str) -> Cluster:
        return self.cascade if server == "streamed" else self.standby

    def caught_up(self) -> None:
        position = self.primary.current_lsn()
        for standby in (self.standby, self.cascade):
            wait_until(
                lambda standby=standby: standby.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,)),
                "the standby has replayed all",
            )

    def archived(self, segment: str) -> None:
        for server in SERVERS:
            self.home.run("cron").ok()
            archive = self.home.path(server, "wals", segment[:16], segment)
            wait_until(lambda archive=archive: archive.exists() or not self.home.run("cron").ok(), f"{archive} is here")

    def backup(self, server: str, *options: str) -> tuple[str, str]:
        """Take one; return its id and what was said on standard error."""
        done = self.home.run(
            "backup", server, "--immediate-checkpoint", "--wait", "--wait-timeout", "60", *options
        ).ok()
        return max(path.name for path in self.home.path(server, "base").iterdir()), done.err

    def record(self, server: str, backup: str) -> dict[str, str]:
        path = self.home.path(server, "base", backup, "backup.info")
        return dict(line.split("=", 1) for line in path.read_text().splitlines())


@pytest.fixture(params=[("15", "local-rsync"), ("18", "postgres")], ids="-".join)
def standbys(request: pytest.FixtureRequest, pg_factory: ClusterFactory, barman_home: BarmanHome) -> Standbys:
    version, method = request.param
    options = {"backup_method": method, "backup_options": "concurrent_backup"}
    if method == "local-rsync":
        options["reuse_backup"] = "link"
    return Standbys(version, pg_factory, barman_home, **options)


def test_a_backup_of_a_standby_restores_as_a_primary_with_every_row(standbys: Standbys) -> None:
    primary, home = standbys.primary, standbys.home
    # All standbys have replayed a segment to its last byte, and go no further.
    primary.sql("CHECKPOINT")
    primary.insert(2, "before the boundary")
    closed = primary.switch_wal()
    standbys.caught_up()
    for standby in (standbys.standby, standbys.cascade):
        standby.value("SELECT pg_wal_replay_pause()")
    backups = []
    for server in SERVERS:
        backup, said = standbys.backup(server)
        assert "WARNING: replay is paused on the standby" in said
        backups.append((server, backup))
        record = standbys.record(server, backup)
        assert record["status"] == "DONE"
        assert (record["end_wal"], record["end_offset"]) == (closed, "0"), "the next segment is not needed"
    for standby in (standbys.standby, standbys.cascade):
        standby.value("SELECT pg_wal_replay_resume()")

    checks = home.run("check", "shipped").ok().out
    for line in _ROLES:
        assert f"{line}: OK\n" in checks
    # In the middle of a segment, which only the primary can close.
    primary.insert(2, "in the middle")
    standbys.caught_up()
    restartpoint = standbys.standby.value("SELECT redo_lsn FROM pg_control_checkpoint()")
    primary.sql("CHECKPOINT")
    standbys.caught_up()
    with ThreadPoolExecutor() as threads:
        taken = dict(zip(SERVERS, threads.map(standbys.backup, SERVERS), strict=True))
    for server, (backup, said) in taken.items():
        assert "WARNING" not in said
        record = standbys.record(server, backup)
        assert record["status"] == "DONE"
        assert "BACKUP FROM: standby" in record["backup_label"]
        assert record["begin_xlog"] > str(restartpoint), "it begins at a restartpoint of its own"
        control = _control_data(standbys.of(server), home.path(server, "base", backup, "data"))
        assert _position(record["end_xlog"]) >= _position(control["Minimum recovery ending location"])
        assert _position(control["Minimum recovery ending location"]) > 0
        if record["mode"] == "rsync-concurrent":
            # Whichever standby a file is of: it is compared by content.
            files = home.path(server, "base", backup, "data").rglob("*")
            assert len([path for path in files if path.is_file() and path.stat().st_nlink > 1]) > 500
        backups.append((server, backup))

    primary.insert(2, "after the backups")
    last = primary.switch_wal()
    ledger = primary.ledger()
    standbys.archived(last)
    for cluster in (standbys.cascade, standbys.standby, primary):
        cluster.stop("immediate")
    # The newest of each way, and one that ends on the boundary.
    with ThreadPoolExecutor() as threads:
        restored = list(threads.map(lambda item: _restored(standbys, *item), backups[2:]))
    assert restored == [ledger] * 4


def _restored(standbys: Standbys, server: str, backup: str) -> list[tuple[int, str]]:
    place = standbys.factory.scratch() / "restored"
    standbys.home.run("restore", server, backup, str(place)).ok()
    assert not (place / "standby.signal").exists()
    cluster = standbys.factory.adopt(standbys.primary.version, place)
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "it is a primary")
    assert cluster.value("SHOW primary_conninfo") == ""
    rows = cluster.ledger()
    cluster.stop("immediate")
    return rows


def _control_data(cluster: Cluster, data: Path) -> dict[str, str]:
    done = subprocess.run([cluster.program("pg_controldata"), data], capture_output=True, text=True, check=True)
    return {name: value.strip() for name, _, value in (line.partition(":") for line in done.stdout.splitlines())}


def _position(lsn: str) -> int:
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)
