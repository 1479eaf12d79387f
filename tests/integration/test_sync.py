"""The primary data center is lost: everything is on the second backup host, and restores there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from barman.backup.complete import check_backup
from barman.catalog.backup_id import BackupId
from barman.errors import SyncError
from barman.report import MemoryReporter
from tests.support import needs
from tests.support.catalog_builder import write
from tests.support.fix_homes import Home, Homes
from tests.support.fix_postgres import Cluster, ClusterFactory
from tests.support.invariants import Expectations, check_invariants
from tests.support.passive import Nodes, segment, segment_name

pytestmark = pytest.mark.postgres

_TRAVELS_NOT = {"deduplicated_size", "children_backup_ids"}


def _followed(passive: Home, server: str, statuses: list[str]) -> None:
    """Run cron until a passive node has what it should."""
    for _ in range(8):
        passive.cron()
        if list(passive.backups(server).values()) == statuses:
            return
    raise AssertionError(f"{passive.backups(server)}\n{passive.log_text()[-5000:]}")


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
    passive.cron()

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


def test_a_full_disk_of_the_passive_host_loses_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    old, new = "20261122T100000", "20261122T110000"
    place = tmp_path / "passive"
    place.mkdir()
    with needs.small_disk(place, "6m"):
        nodes = Nodes(tmp_path)
        nodes.put_backup(old, 4)
        nodes.tell()
        nodes.sync_backup(old)
        nodes.sync_wals()
        check_backup(nodes.passive, BackupId(old), MemoryReporter())
        nodes.put_wal(*range(5, 12))
        nodes.put_backup(new, 12)
        write(os.path.join(nodes.theirs.data_directory(BackupId(new)), "big"), os.urandom(6_000_000))
        nodes.tell()
        with pytest.raises(SyncError, match="No space left on device"):
            nodes.sync_wals()
        assert not os.path.exists(nodes.ours.sync_staging), "what could not be used gives its room back"
        here = nodes.archived()
        assert 1 < len(here) < 9
        assert {line.name for line in nodes.lines()} == set(here)
        with pytest.raises(SyncError, match="No space left on device"):
            nodes.sync_backup(new)
        found = nodes.catalog.snapshot().backups
        assert found[BackupId(old)].status == "DONE"
        assert BackupId(new) not in found or not found[BackupId(new)].is_copy_done
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        nodes.sync_wals()
        nodes.sync_backup(new)
        assert nodes.record(new).status == "DONE"
        assert nodes.files(nodes.ours, new) == nodes.files(nodes.theirs, new)
        assert nodes.archived() == {segment_name(number): segment(number) for number in range(4, 13)}
        check_invariants(nodes.ours, Expectations(backups=[old, new]))
