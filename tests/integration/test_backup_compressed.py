"""Compressed backups from real servers: taken, told, verified, restored here and on another host, and spoilt."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest

from barman.catalog.backup_info import BackupInfo
from barman.catalog.catalog import Catalog
from tests.support.catalog_builder import make_layout
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory
from tests.support.fix_sshd import Sshd
from tests.support.invariants import Expectations, check_invariants

pytestmark = pytest.mark.postgres

STREAMING = {"streaming_archiver": "on", "slot_name": "barman", "create_slot": "auto", "immediate_checkpoint": "true"}
ROW = "SELECT sum(n) FROM far_away"


def configure(home: BarmanHome, pg: Cluster, **options: str) -> None:
    home.add_server("main", pg, **{**STREAMING, **options})


def back_up(home: BarmanHome) -> BackupInfo:
    home.run("backup", "main").ok()
    catalog = Catalog(make_layout(str(home.home), "main"))
    backups = catalog.snapshot().backups
    info = backups[max(backups)]
    assert info.status == "DONE"
    check_invariants(catalog.layout, Expectations(backups=[info.backup_id]))
    return info


def data_of(home: BarmanHome, info: BackupInfo) -> Path:
    return Path(make_layout(str(home.home), "main").data_directory(info.backup_id))


def restored(home: BarmanHome, pg: Cluster, factory: ClusterFactory, info: BackupInfo, *options: str) -> Cluster:
    """Restore into a new place and start what came of it."""
    destination = factory.scratch() / "data"
    home.run("restore", "main", info.backup_id, str(destination), *options).ok()
    return factory.adopt(pg.version, destination)


def add_tablespace(pg: Cluster, factory: ClusterFactory) -> None:
    place = factory.scratch() / "space"
    place.mkdir()
    shutil.chown(place, pg.data.stat().st_uid)
    pg.sql(f"CREATE TABLESPACE far LOCATION '{place}'")
    pg.sql("CREATE TABLE far_away TABLESPACE far AS SELECT generate_series(1, 1000) AS n")


@pytest.mark.parametrize("pg", ["15"], indirect=True)
def test_a_gzip_backup_is_told_verified_and_restored_and_one_that_was_spoilt_is_not(
    pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome
) -> None:
    pg.create_ledger()
    pg.insert(100)
    (pg.data / "a directory").mkdir(mode=0o700)
    shutil.chown(pg.data / "a directory", pg.data.stat().st_uid)
    configure(barman_home, pg, backup_compression="gzip", backup_compression_level="1")
    info = back_up(barman_home)
    data = data_of(barman_home, info)
    assert sorted(os.listdir(data)) == ["backup_manifest", "base.tar.gz"]
    assert info.compression == "gzip"
    assert info.size == sum((data / name).stat().st_size for name in os.listdir(data))
    assert f"START WAL LOCATION: {info.begin_xlog} (file {info.begin_wal})" in str(info.backup_label)
    (needed,) = json.loads((data / "backup_manifest").read_text())["WAL-Ranges"]
    assert (str(info.begin_xlog), str(info.end_xlog)) == (needed["Start-LSN"], needed["End-LSN"])
    shown = json.loads(barman_home.run("-f", "json", "show-backup", "main", "latest").ok().out)["main"]
    assert shown["base_backup_information"]["compression"] == "gzip"
    barman_home.run("check", "main").ok()

    rows = pg.ledger()
    pg.insert(3, "after the backup")
    barman_home.run("switch-wal", "--force", "--archive", "main").ok()
    assert "backup successfully verified" in barman_home.run("verify-backup", "main", "latest").ok().out
    cluster = restored(barman_home, pg, pg_factory, info)
    assert cluster.ledger() == pg.ledger() != rows
    assert (cluster.data / "a directory").is_dir()
    assert not (cluster.data / "tablespace_map").exists()
    assert not list(cluster.data.glob(".barman-unpack*"))

    # An archive that was cut is not even begun with, as far as its size tells; otherwise it leaves nothing that starts,
    # and the same command finishes when the archive is whole again.
    archive = data / "base.tar.gz"
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    destination = pg_factory.scratch() / "again"
    done = barman_home.run("restore", "main", info.backup_id, str(destination))
    assert done.rc == 1
    assert "is damaged: its archives in" in done.err
    assert not destination.exists()
    assert f"backup {info.backup_id} is DONE, but its archives in" in barman_home.run("check", "main").out
    archive.write_bytes(whole[:-100])
    done = barman_home.run("restore", "main", info.backup_id, str(destination))
    assert done.rc == 1
    assert f"Failure copying base backup: cannot decompress '{archive}'" in done.err
    assert not (destination / "global" / "pg_control").exists()
    assert "end before their end marker" in barman_home.run("verify-backup", "main", info.backup_id).err
    archive.write_bytes(whole)
    barman_home.run("restore", "main", info.backup_id, str(destination)).ok()
    assert pg_factory.adopt(pg.version, destination).ledger() == pg.ledger()

    # One byte of one row, in an archive that is perfect otherwise.
    plain = gzip.decompress(whole)
    row = b"\x09row"  # a text of three bytes, behind its length as PostgreSQL keeps it
    assert plain.count(row) >= 100
    archive.write_bytes(gzip.compress(plain.replace(row, b"\x09raw", 1), 1))
    done = barman_home.run("verify-backup", "main", info.backup_id)
    assert (done.rc, done.err.count("the checksum of 'base/")) == (1, 1)


@pytest.mark.parametrize("pg", ["17"], indirect=True)
def test_tablespaces_travel_as_archives_of_their_own_with_zstd_and_with_lz4_of_the_server(
    pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, sshd: Sshd
) -> None:
    pg.create_ledger()
    pg.insert(100)
    add_tablespace(pg, pg_factory)
    (oid,) = [str(pg.value("SELECT oid FROM pg_tablespace WHERE spcname = 'far'"))]
    configure(barman_home, pg, backup_compression="zstd", backup_compression_level="3")
    zstd = back_up(barman_home)
    assert sorted(os.listdir(data_of(barman_home, zstd))) == [f"{oid}.tar.zst", "backup_manifest", "base.tar.zst"]
    assert "backup successfully verified" in barman_home.run("verify-backup", "main", "latest").ok().out
    configure(barman_home, pg, backup_compression="lz4", backup_compression_location="server")
    lz4 = back_up(barman_home)
    assert (zstd.compression, lz4.compression) == ("zstd", "lz4")
    assert sorted(os.listdir(data_of(barman_home, lz4))) == [f"{oid}.tar.lz4", "backup_manifest", "base.tar.lz4"]
    pg.insert(5, "after the backups")
    barman_home.run("switch-wal", "--force", "--archive", "main").ok()
    rows = pg.ledger()

    host = pg_factory.scratch()
    stage = pg_factory.scratch()
    destination = host / "data"
    where = ("--remote-ssh-command", sshd.command, "--staging-path", str(stage), "--jobs", "2")
    command = ("restore", "main", zstd.backup_id, str(destination), *where, "--tablespace", f"far:{host}/far")
    archive = data_of(barman_home, zstd) / f"{oid}.tar.zst"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-100])
    done = barman_home.run(*command)
    assert done.rc == 1
    assert f"Failure copying base backup: cannot decompress '{archive}'" in done.err
    assert os.listdir(stage) == []
    archive.write_bytes(whole)
    done = barman_home.run(*command).ok()
    assert "no effect" not in done.out + done.err
    assert os.listdir(stage) == []
    there = pg_factory.adopt(pg.version, destination)
    assert (there.ledger(), there.value(ROW)) == (rows, 500500)
    there.stop()
    here = restored(barman_home, pg, pg_factory, lz4, "--tablespace", f"far:{pg_factory.scratch()}/far")
    assert (here.ledger(), here.value(ROW)) == (rows, 500500)

    done = barman_home.run("restore", "main", lz4.backup_id, str(here.data), "--delta-restore")
    assert done.rc == 1
    assert "of which a delta restore cannot send only what differs" in done.err
    done = barman_home.run("restore", "main", lz4.backup_id, f"{host}/other", *where[:2], "--staging-path", "/proc/1")
    assert done.rc == 1
    assert "the staging path '/proc/1' is not a directory that can be written to" in done.err


@pytest.mark.parametrize("pg", ["18"], indirect=True)
def test_a_tar_without_compression_and_a_stream_that_is_expanded_on_arrival_are_restored(
    pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome
) -> None:
    pg.create_ledger()
    pg.insert(100)
    configure(barman_home, pg, backup_compression="none")
    tar = back_up(barman_home)
    assert sorted(os.listdir(data_of(barman_home, tar))) == ["backup_manifest", "base.tar"]
    assert tar.compression == "none"
    configure(
        barman_home,
        pg,
        backup_compression="gzip",
        backup_compression_format="plain",
        backup_compression_location="server",
    )
    plain = back_up(barman_home)
    assert plain.compression is None
    assert (data_of(barman_home, plain) / "PG_VERSION").exists()
    for info in (tar, plain):
        assert "backup successfully verified" in barman_home.run("verify-backup", "main", info.backup_id).ok().out
        cluster = restored(barman_home, pg, pg_factory, info)
        assert cluster.ledger() == pg.ledger()
        cluster.stop()


@pytest.mark.parametrize("pg", ["17"], indirect=True)
def test_a_pg_basebackup_that_cannot_compress_so_is_refused_before_there_is_a_backup(
    pg: Cluster, barman_home: BarmanHome, tmp_path: Path
) -> None:
    """A build without a library says so before it connects; this one is a script that says the same."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "pg_basebackup"
    real = pg.program("pg_basebackup")
    script.write_text(
        '#!/bin/sh\ncase "$*" in *zstd*) echo "error: this build does not support compression with ZSTD" >&2; exit 1;; '
        f'esac\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    configure(barman_home, pg, backup_compression="zstd", path_prefix=str(programs))
    done = barman_home.run("backup", "main")
    assert done.rc == 1
    assert "was built without zstd" in done.out + done.err
    assert barman_home.run("list-backups", "--minimal", "main").ok().out == ""
    assert "was built without zstd" in barman_home.run("check", "main").out


DAMAGING = """#!/bin/sh
case "$*" in *--pgdata=-*|*--version*) exec {real} "$@";; esac
for word do
  shift
  case $word in --pgdata=*) out=${{word#--pgdata=}}; word=--pgdata=$out.tmp;; esac
  set -- "$@" "$word"
done
{real} "$@" || exit
gzip -dc "$out.tmp/base.tar.gz" > "$out.tmp/base.tar"
{damage}
mv "$out.tmp"/* "$out" && rmdir "$out.tmp"
"""
CUT = 'truncate -s 300000 "$out.tmp/base.tar.gz"; rm "$out.tmp/base.tar"'
LOST = 'tar --delete -f "$out.tmp/base.tar" PG_VERSION; gzip -f1 "$out.tmp/base.tar"'


@pytest.mark.parametrize("pg", ["17"], indirect=True)
def test_a_backup_whose_archive_did_not_arrive_whole_is_not_called_good(
    pg: Cluster, barman_home: BarmanHome, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "pg_basebackup"
    configure(barman_home, pg, backup_compression="gzip", backup_compression_level="1", path_prefix=str(programs))
    for name in ("pg_receivewal", "pg_verifybackup"):
        (programs / name).symlink_to(pg.program(name))
    for damage, reason in (
        (CUT, "gzip data end before their end marker"),
        (LOST, "files are not as the backup manifest says: PG_VERSION (missing)"),
    ):
        script.write_text(DAMAGING.format(real=pg.program("pg_basebackup"), damage=damage))
        script.chmod(0o755)
        done = barman_home.run("backup", "main")
        assert done.rc == 1
        assert reason in done.err
        catalog = Catalog(make_layout(str(barman_home.home), "main"))
        assert {info.status for info in catalog.snapshot().backups.values()} == {"FAILED"}
