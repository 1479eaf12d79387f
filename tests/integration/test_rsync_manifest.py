"""Manifests of backups with rsync: written, verified by pg_verifybackup, and wrong when a byte is wrong."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory


@pytest.fixture
def source(barman_home: BarmanHome, newest_pg: Cluster, pg_factory: ClusterFactory) -> Cluster:
    """A cluster with a tablespace elsewhere and one in place, itself made from a backup that left its files."""
    pg = newest_pg
    barman_home.add_server("main", pg, backup_method="local-rsync", archiver="on", reuse_backup="link")
    pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("main"))
    (pg.data / "backup_manifest").write_text("of another backup")
    pg.restart()
    space = pg_factory.scratch() / "space"
    space.mkdir()
    shutil.chown(space, pg.data.stat().st_uid)
    pg.sql(f"CREATE TABLESPACE far LOCATION '{space}'")
    pg.sql("CREATE TABLE far_away TABLESPACE far AS SELECT generate_series(1, 1000) AS id")
    pg.psql("SET allow_in_place_tablespaces = on;\nCREATE TABLESPACE near LOCATION '';")
    pg.sql("CREATE TABLE nearby TABLESPACE near AS SELECT generate_series(1, 500) AS id")
    pg.create_ledger()
    pg.insert(3)
    return pg


def latest(home: BarmanHome) -> Path:
    return max(path for path in home.path("main", "base").iterdir())


def test_a_manifest_speaks_of_every_file_and_verifies_every_byte(
    barman_home: BarmanHome, source: Cluster, pg_factory: ClusterFactory, tmp_path: Path
) -> None:
    pg = source
    barman_home.run("switch-wal", "--force", "--archive", "main").ok()
    barman_home.run("backup", "main", "--wait").ok()
    first = latest(barman_home)
    assert not (first / "data/backup_manifest").exists()
    refused = barman_home.run("verify-backup", "main", first.name)
    assert refused.rc == 1
    assert f"barman generate-manifest main {first.name}" in refused.err
    barman_home.run("generate-manifest", "main", first.name).ok()
    said = barman_home.run("backup", "main", "--wait", "--manifest", "--jobs", "2").ok()
    assert "successfully generated" in said.out
    assert "no effect" not in said.err
    second = latest(barman_home)
    (far,) = [path.name for path in second.iterdir() if path.name.isdigit()]
    assert "far" in barman_home.run("show-backup", "main", second.name).ok().out
    assert "near" not in barman_home.run("show-backup", "main", second.name).ok().out
    (near,) = [path for path in (second / "data/pg_tblspc").iterdir() if not path.is_symlink()]
    assert near.is_dir()
    assert (second / "data/tablespace_map").read_text().startswith(f"{far} /")
    for backup in (first, second):
        assert "successfully verified" in barman_home.run("verify-backup", "main", backup.name).ok().out
    # The links beside the manifest lead pg_verifybackup to the tablespaces, wherever the repository is.
    _verify_by_hand(pg, second / "data")

    _damage_and_verify(barman_home, second, f"{far}/*/*/*", f"pg_tblspc/{far}")
    _damage_and_verify(barman_home, second, f"data/pg_tblspc/{near.name}/*/*/*", f"pg_tblspc/{near.name}")
    _damage_and_verify(barman_home, second, "data/base/1/1259", "base/1/1259")
    (second / far / "stray").write_text("x")
    assert "stray" in barman_home.run("verify-backup", "main", second.name).err
    (second / far / "stray").unlink()

    # A manifest of the original knows no tablespaces, and no links are made.
    _without_tablespaces(second / "data/backup_manifest", (second / "data/pg_tblspc").joinpath(far))
    told = barman_home.run("verify-backup", "main", second.name).ok()
    assert "does not speak of tablespace far" in told.err

    ledger = pg.ledger()
    pg.stop()
    barman_home.run("archive-wal", "main").ok()
    moved = pg_factory.scratch() / "moved"
    barman_home.run("recover", "main", second.name, str(tmp_path / "new"), "--tablespace", f"far:{moved}").ok()
    restored = pg_factory.adopt(pg.version, tmp_path / "new", settings={"allow_in_place_tablespaces": "on"})
    assert restored.ledger() == ledger
    assert restored.value("SELECT count(*) FROM far_away") == 1000
    assert restored.value("SELECT count(*) FROM nearby") == 500
    assert os.readlink(tmp_path / "new/pg_tblspc" / far) == str(moved)


def _verify_by_hand(pg: Cluster, data: Path) -> None:
    subprocess.run([pg.program("pg_verifybackup"), "-n", str(data)], check=True, capture_output=True)


def _damage_and_verify(home: BarmanHome, backup: Path, pattern: str, named: str) -> None:
    """Flip a byte, in place and without a trace in size and time, see it named, and put it back."""
    path = next(path for path in sorted(backup.glob(pattern)) if path.is_file() and path.stat().st_size)
    status = path.stat()
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    ran = home.run("verify-backup", "main", backup.name)
    assert ran.rc == 1
    assert f'checksum mismatch for file "{named}' in ran.err
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _without_tablespaces(manifest: Path, link: Path) -> None:
    lines = manifest.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines[:-1] if f"pg_tblspc/{link.name}/".encode() not in line]
    kept[-2] = kept[-2].replace(b"},\n", b"}\n")
    body = b"".join(kept)
    digest = hashlib.sha256(body).hexdigest().encode()
    manifest.write_bytes(body + b'"Manifest-Checksum": "' + digest + b'"}\n')
    link.unlink()
