"""Restores over a cluster that is there: only what differs travels, only what PostgreSQL owns goes."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.integration.test_restore_remote import archived, back_up, promoted, set_up
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, give_to_server, wait_until
from tests.support.fix_sshd import Sshd

SYSTEM_ID_OF_ANOTHER = "holds another cluster: its system identifier is"


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_cluster_is_taken_back_to_its_backup_by_what_differs(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, sshd: Sshd, where: str
) -> None:
    pg, options = newest_pg, ("--delta-restore", "--target-immediate", "--target-action", "promote")
    set_up(barman_home, pg, recovery_options="delta-restore")
    if where == "there":
        options = (*options[1:], "--remote-ssh-command", sshd.command, "-j", "2")
    place = pg_factory.scratch() / "space"
    place.mkdir()
    shutil.chown(place, pg.data.stat().st_uid)
    pg.sql(f"CREATE TABLESPACE far LOCATION '{place}'")
    pg.sql("CREATE TABLE far_away TABLESPACE far AS SELECT generate_series(1, 10000) AS n")
    pg.sql("CREATE TABLE here AS SELECT generate_series(1, 10000) AS n")
    table, far = (pg.data / pg.value(f"SELECT pg_relation_filepath('{name}')") for name in ("here", "far_away"))
    pg.insert(5)
    backup = back_up(barman_home)
    archived(barman_home, pg)
    rows = pg.ledger()

    def restore(*more: str, destination: Path = pg.data, server: str = "pg") -> tuple[int, str, str]:
        done = barman_home.run("restore", server, backup, str(destination), *options, *more)
        return done.rc, done.out, done.err

    # What came after the backup, and what is nobody's of ours.
    pg.sql("UPDATE here SET n = n + 1")
    pg.sql("UPDATE far_away SET n = n + 1")
    pg.sql("CREATE TABLE later AS SELECT generate_series(1, 10000) AS n")
    pg.sql("CREATE TABLE far_later TABLESPACE far AS SELECT 1 AS n")
    later, far_later = (pg.data / pg.value(f"SELECT pg_relation_filepath('{name}')") for name in ("later", "far_later"))
    assert restore()[0] == 1
    assert "a PostgreSQL server (process" in restore()[2]
    pg.stop()
    (pg.data / "mine.txt").write_text("mine")
    (place / "mine").mkdir()
    (pg.data / "base" / "$(touch pwned); it's stale").mkdir()
    (pg.data / "base" / "$(touch pwned); it's stale" / "-rf\nx").write_text("x")
    snapshot = pg_factory.scratch() / "snapshot"
    os.link(table, snapshot)
    kept = snapshot.read_bytes()
    same = pg.data / "base" / "1" / "PG_VERSION"
    inode = same.stat().st_ino
    stale_wal = sorted(path.name for path in (pg.data / "pg_wal").glob("0*"))[-1]

    code, _, text = restore("--no-delta-restore")
    assert code == 1
    assert f"'{pg.data}' is not empty" in text
    assert f"'{place}' is not empty" in text
    (stranger := pg_factory.scratch() / "x").mkdir()
    (stranger / "base").mkdir()
    for path in (stranger, *(pg.data / "base").rglob("*stale*"), *(pg.data / "base").rglob("-rf*")):
        shutil.chown(path, pg.data.stat().st_uid)
    give = ("--tablespace", f"far:{stranger}")
    assert "a delta restore overwrites only a data directory and its own tablespaces" in restore(*give)[2]
    assert "a delta restore overwrites only" in restore(destination=stranger)[2]
    other = pg_factory.create(pg.version, fresh=True, start=False)
    assert SYSTEM_ID_OF_ANOTHER in restore(destination=other.data)[2]
    (pg.data / "base" / "1").rename(pg.data / "elsewhere")
    (pg.data / "base" / "1").symlink_to(pg.data / "elsewhere")
    assert "is a symbolic link where the backup has a directory" in restore()[2]
    (pg.data / "base" / "1").unlink()
    (pg.data / "elsewhere").rename(pg.data / "base" / "1")
    assert table.read_bytes() == kept

    if where == "there":
        running = barman_home.start("restore", "pg", backup, str(pg.data), *options, "--bwlimit", "20", "--no-retry")
        wait_until((pg.data / ".barman-restore.unfinished").exists, "the restore has begun", 60)
        wait_until(lambda: not later.exists(), "it has removed what is stale", 60)
        wait_until(lambda: sshd.cut() >= 0 and running.poll() is not None, "the link is cut", 60)
        assert running.returncode == 1
        assert not (pg.data / "global" / "pg_control").exists()
        assert "files that are not part of it: 'mine.txt'" in restore("--no-delta-restore")[2]

    code, out, text = restore()
    assert code == 0, text
    assert "left alone in" in text
    assert "'mine.txt'" in text
    changed, files = map(int, re.search(r"(\d+) of (\d+) files differed", out).groups())  # type: ignore[union-attr]  # it is there
    assert changed < files / 4, out
    assert same.stat().st_ino == inode
    assert (pg.data / "mine.txt").read_text() == "mine"
    assert (place / "mine").is_dir()
    assert snapshot.read_bytes() == kept
    assert not later.exists()
    assert not far_later.exists()
    assert not any("pwned" in name for name in os.listdir(pg.data / "base"))
    assert not (pg.data / "pg_wal" / stale_wal).exists()
    give_to_server(pg.data)
    cluster = promoted(pg_factory.adopt(pg.version, pg.data))
    assert cluster.ledger() == rows
    assert cluster.value("SELECT sum(n) FROM here") == cluster.value("SELECT sum(n) FROM far_away") == 50005000
    assert far.exists()
