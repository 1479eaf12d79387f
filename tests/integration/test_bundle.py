"""A backup leaves a repository as one file, comes back into another one of the same cluster, and starts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until


def test_an_exported_backup_is_restored_after_its_repository_was_lost(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    pg = newest_pg
    space = pg_factory.scratch() / "space"
    space.mkdir()
    shutil.chown(space, "postgres")
    barman_home.add_server("pg", pg, archiver="on", retention_policy="REDUNDANCY 1")
    pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("pg"))
    pg.restart()
    pg.sql(f"CREATE TABLESPACE archive LOCATION '{space}'")
    pg.create_ledger()
    pg.sql("ALTER TABLE ledger SET TABLESPACE archive")
    pg.insert(5)
    rows = pg.ledger()
    barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    barman_home.run("backup", "pg", "--wait").ok()
    out = tmp_path / "out"
    out.mkdir()
    shutil.chown(out, "barman")
    done = barman_home.run("export-backup", "pg", "latest", str(out), "--compression", "gzip").ok()
    (name,) = os.listdir(out)
    assert f"Export completed successfully: {out / name}" in done.out
    (backup_id,) = barman_home.run("list-backups", "--minimal", "pg").ok().out.split()
    refused = barman_home.run("import-backup", "pg", str(out / name))
    assert (refused.rc, "already" in refused.err) == (1, True)

    # What is left of the repository is which cluster it was of.
    for part in ("base", "wals", "meta"):
        shutil.rmtree(barman_home.path("pg", part))
    barman_home.run("check", "pg")
    done = barman_home.run("import-backup", "pg", str(out / name)).ok()
    assert f"Successfully imported backup '{backup_id}' into server 'pg'" in done.out
    assert "KEEP:STANDALONE" in barman_home.run("list-backups", "pg").ok().out
    barman_home.run("check-backup", "pg", backup_id).ok()
    barman_home.run("verify-backup", "pg", backup_id).ok()

    pg.stop()
    where = pg_factory.scratch() / "moved"
    where.mkdir()
    target = tmp_path / "restored"
    barman_home.run(
        "restore", "pg", backup_id, str(target), "--target-immediate", "--tablespace", f"archive:{where}"
    ).ok()
    cluster = pg_factory.adopt(pg.version, target)
    wait_until(lambda: cluster.value("SELECT 1") == 1, "the restored cluster answers")
    assert cluster.ledger() == rows
