"""The last, unfinished segment: restored unless somebody says no."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until


def test_rows_in_an_unfinished_segment_are_restored_unless_they_are_not_wanted(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    pg = newest_pg
    barman_home.add_server("pg", pg, archiver="on")
    pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("pg"))
    pg.restart()
    pg.create_ledger()
    barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    barman_home.run("backup", "pg", "--wait").ok()
    pg.insert(2, "archived")
    archived = pg.ledger()
    wal = pg.switch_wal()
    wait_until((barman_home.path("pg", "incoming") / wal).exists, "the segment arrives")
    pg.insert(3, "in the unfinished segment")
    everything = pg.ledger()
    name, end = pg.current_wal(), pg.current_lsn()
    pg.stop("immediate")
    # What a receiver would have written so far.
    streaming = barman_home.path("pg", "streaming")
    streaming.mkdir(exist_ok=True)
    shutil.copy(pg.data / "pg_wal" / name, streaming / f"{name}.partial")

    for options, rows in (((), everything), (("--no-partial-wal",), archived), (("--partial-wal",), everything)):
        destination = tmp_path / f"restored{'-'.join(options)}"
        done = barman_home.run("restore", "pg", "latest", str(destination), *options).ok()
        said = f"The newest WAL segment '{streaming / f'{name}.partial'}' carries records up to LSN {end} and was last"
        assert (said in done.out) == ("Copying .partial WAL files." in done.out) == (rows == everything)
        cluster = pg_factory.adopt(pg.version, destination)
        wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")  # noqa: B023  # used at once
        assert cluster.ledger() == rows
        if rows == everything:
            history = (destination / "pg_wal" / "00000002.history").read_text()
            assert history.split()[1] == end, "PostgreSQL found the same end"
        cluster.stop()
    assert (streaming / f"{name}.partial").exists()
