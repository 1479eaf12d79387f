"""The primary data center is lost: everything is on the second backup host, and restores there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.fix_homes import Home, Homes
from tests.support.fix_postgres import Cluster, ClusterFactory

pytestmark = pytest.mark.postgres

_TRAVELS_NOT = {"deduplicated_size", "children_backup_ids"}


def _followed(passive: Home, server: str, statuses: list[str]) -> None:
    """Run cron until a passive node has what it should."""
    for _ in range(8):
        passive.cron()
        if list(passive.backups(server).values()) == statuses:
            return
    raise AssertionError(f"{passive.backups(server)}\n{passive.log_text()[-5000:]}")


def _move_to(home: Home, place: Path) -> None:
    """Let the repository lie somewhere else."""
    shutil.copytree(home.home, place, dirs_exist_ok=True, symlinks=True)
    home.home = place
    home.globals["barman_home"] = str(place)
    home.write()
    home.give()


def test_the_primary_host_is_lost_and_the_passive_one_restores_every_row(
    newest_pg: Cluster, pg_factory: ClusterFactory, homes: Homes
) -> None:
    pg = newest_pg
    primary, passive = homes.create("first"), homes.create("second")
    incoming = primary.path("pg", "incoming")
    incoming.mkdir(parents=True)
    primary.give()
    command = f"cp %p {incoming}/.%f.tmp && mv {incoming}/.%f.tmp {incoming}/%f"
    pg.configure(archive_mode="on", archive_command=command, summarize_wal="on")
    pg.restart()
    space = pg_factory.scratch()
    pg.sql(f"CREATE TABLESPACE far LOCATION '{space}'")
    pg.sql("CREATE TABLE far_away TABLESPACE far AS SELECT generate_series(1, 5000) AS id")
    pg.create_ledger()
    pg.insert(3)
    primary.add_server("pg", pg, compression="gzip", compression_level="9")
    primary.run("backup", "pg", "--wait").ok()
    pg.insert(4)
    primary.run("backup", "pg", "--wait", "--incremental", "latest").ok()
    primary.run("keep", "pg", "latest-full", "--target", "full").ok()
    pg.insert(5)
    passive.follow(primary, "pg", path_prefix=pg.bindir, compression="gzip", compression_level="1", parallel_jobs="2")
    passive.add_server("active", archiver="on", conninfo="host=/nonexistent", streaming_conninfo="host=/nonexistent")
    _followed(passive, "pg", ["DONE", "DONE"])
    pg.insert(6)
    pg.switch_wal()
    primary.cron()
    passive.cron(times=2)

    full, incremental = sorted(passive.backups("pg"))
    for backup in (full, incremental):
        theirs, ours = primary.records("pg")[backup], passive.records("pg")[backup]
        assert {k: v for k, v in ours.items() if k not in _TRAVELS_NOT} == {
            k: v for k, v in theirs.items() if k not in _TRAVELS_NOT
        }
        assert passive.base("pg", backup) == primary.base("pg", backup)
    assert passive.records("pg")[full]["children_backup_ids"] == incremental
    assert passive.wals("pg") == primary.wals("pg")
    assert passive.indexed("pg") == primary.indexed("pg")
    assert passive.path("pg", "identity.json").read_text() == primary.path("pg", "identity.json").read_text()
    assert passive.run("keep", "pg", full, "--status").ok().out.strip().endswith("full")
    log = passive.log_text()
    assert "Starting WAL archiving for server active" in log, "the active server of the same run"

    rows = pg.ledger()
    primary.close()
    shutil.rmtree(primary.directory)
    pg.destroy()
    shutil.rmtree(space, ignore_errors=True)
    gone = passive.run("cron")
    assert gone.rc == 1
    assert "Failed to retrieve the primary node status" in gone.err
    assert gone.out.count("Starting WAL archiving for server active") == 1
    place, far = passive.directory / "restored", passive.directory / "far"
    passive.run("restore", "pg", incremental, str(place), "--tablespace", f"far:{far}").ok()
    restored = pg_factory.adopt(pg.version, place)
    assert restored.ledger() == rows
    assert restored.value("SELECT count(*) FROM far_away") == 5000


def test_a_full_disk_of_the_passive_host_loses_nothing_and_goes_on_when_there_is_room(
    homes: Homes,
) -> None:
    primary, passive = homes.create("first"), homes.create("second")
    primary.add_server("main", archiver="on", conninfo="host=/nonexistent", streaming_conninfo="host=/nonexistent")
    primary.put_backup("main", "20261122T100000", 4)
    passive.follow(primary, "main")
    _followed(passive, "main", ["DONE"])
    primary.put_wal("main", *range(5, 12))
    primary.put_backup("main", "20261122T110000", 12, size=6_000_000)
    place = passive.directory / "disk"
    place.mkdir()
    with needs.small_disk(place, "6m"):
        _move_to(passive, place)
        asked = passive.run("sync-info", "main", "--primary").ok()
        assert asked.out.startswith("{")
        wals, backup = passive.run("sync-wals", "main"), passive.run("sync-backup", "main", "20261122T110000")
        for done in (wals, backup):
            assert done.rc == 1
            assert "No space left on device" in done.err, done.err
        here = passive.wals("main")
        assert here
        assert here.items() <= primary.wals("main").items(), "nothing that is not whole has a name"
        assert {line[0] for line in passive.indexed("main")} == {Path(name).name for name in here}
        assert passive.backups("main")["20261122T100000"] == "DONE"
        assert passive.backups("main").get("20261122T110000") in (None, "SYNCING", "FAILED")
        assert not (place / "main" / ".sync-wals").exists(), "what could not be used gives its room back"
        _move_to(passive, passive.directory / "larger")
        _followed(passive, "main", ["DONE", "DONE"])
    assert passive.wals("main") == primary.wals("main")
    assert passive.base("main", "20261122T110000") == primary.base("main", "20261122T110000")
