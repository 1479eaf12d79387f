"""Encrypted WAL of one program, read by the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from barman.catalog.catalog import Catalog
from tests.compat.test_original_backups import assert_same, newest, original, source
from tests.support.catalog_builder import make_catalog
from tests.support.fix_gpg import LOCKED, PRINT_PASSPHRASE, Keyring, fixture_all_keys, fixture_keyring
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory
from tests.support.fix_upstream import Upstream, find_upstream, write_config
from tests.support.needs import need_program
from tests.support.offline import run_here
from tests.support.wal_files import HISTORY, drop, segment, segment_name

__all__ = ["fixture_all_keys", "fixture_keyring", "original", "source"]

pytestmark = pytest.mark.compat

A, B, C = (segment_name(number) for number in (0x20, 0x21, 0x22))
GPG = {"encryption": "gpg", "encryption_key_id": LOCKED, "encryption_passphrase_command": PRINT_PASSPHRASE}
SERVER = {
    "description": "encrypted",
    "backup_method": "postgres",
    "archiver": "on",
    "conninfo": "host=/nowhere user=barman dbname=postgres",
    "streaming_conninfo": "host=/nowhere user=barman",
    **GPG,
}


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_each_program_reads_the_encrypted_wal_of_the_other(
    keyring: Keyring, tmp_path: Path, compression: str | None
) -> None:
    need_program("file")
    keyring.gpg("--import-ownertrust", stdin=keyring.ultimate_trust())
    config = write_config(
        str(tmp_path), {"main": {**SERVER, **({"compression": compression} if compression else {})}}
    )  # fmt: skip
    catalog = make_catalog(str(tmp_path))
    upstream = Upstream(find_upstream(), config)
    incoming = catalog.layout.incoming_directory

    def ours(*arguments: str) -> str:
        ran = run_here(Path(config), tmp_path, *arguments)
        assert ran.rc == 0, ran.said
        return ran.out

    drop(incoming, A)
    drop(incoming, "00000002.history", HISTORY)
    upstream.run("archive-wal", "main")
    drop(incoming, B)
    ours("archive-wal", "main")
    drop(incoming, C)
    upstream.run("archive-wal", "main")
    word = compression or "None"
    lines = [line.split("\t") for line in Path(catalog.layout.xlogdb).read_text().splitlines()]
    assert [(line[0], *line[3:]) for line in lines if line[0] in (A, B, C)] == [
        (name, word, "gpg") for name in (A, B, C)
    ]
    for name in (A, B, C):
        (tmp_path / "theirs").mkdir(exist_ok=True)
        upstream.run("get-wal", "main", name, "-o", str(tmp_path / "theirs"))
        assert (tmp_path / "theirs" / name).read_bytes() == segment(name)
        ours("get-wal", "main", name, "-o", str(tmp_path))
        assert (tmp_path / name).read_bytes() == segment(name)
    ours("get-wal", "main", "00000002.history", "-o", str(tmp_path))
    assert (tmp_path / "00000002.history").read_bytes() == HISTORY

    # What the original encrypted has no digest: it is compared by decrypting.
    drop(incoming, A)
    ours("archive-wal", "main")
    assert not any(Path(incoming).iterdir())
    assert not any(Path(catalog.layout.errors_directory).iterdir())

    upstream.run("rebuild-xlogdb", "main")
    theirs = sorted(line.split("\t")[:1] + line.split("\t")[3:] for line in index_of(catalog))
    ours("rebuild-xlogdb", "main")
    assert sorted(line.split("\t")[:1] + line.split("\t")[3:] for line in index_of(catalog)) == theirs


def index_of(catalog: Catalog) -> list[str]:
    return Path(catalog.layout.xlogdb).read_text().splitlines()


def test_an_encrypted_backup_of_each_program_is_restored_by_the_other(
    keyring: Keyring,
    source: Cluster,
    pg_factory: ClusterFactory,
    barman_home: BarmanHome,
    original: Upstream,
    tmp_path: Path,
) -> None:
    need_program("file")
    keyring.gpg("--import-ownertrust", stdin=keyring.ultimate_trust())
    sealed = {"backup_compression": "gzip", "backup_compression_level": "1", "backup_compression_format": "tar", **GPG}
    barman_home.add_server("pg", source, archiver="on", immediate_checkpoint="true", compression="gzip", **sealed)
    barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    barman_home.run("backup", "pg", "--wait").ok()
    ours = newest(barman_home)
    original.run("backup", "pg", "--wait")
    theirs = newest(barman_home)
    bases = [barman_home.path("pg", "base", backup) for backup in (ours, theirs)]
    laid_out = [{str(path.relative_to(base)) for path in base.rglob("*")} - {"backup.info"} for base in bases]
    assert laid_out[0] == laid_out[1]
    shown = [original.json("show-backup", "pg", backup)["pg"] for backup in (ours, theirs)]
    assert [item["base_backup_information"]["encryption"] for item in shown] == ["gpg", "gpg"]
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
