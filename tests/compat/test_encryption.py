"""Encrypted WAL of one program, read by the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from barman.catalog.catalog import Catalog
from tests.support.catalog_builder import make_catalog
from tests.support.fix_gpg import LOCKED, PRINT_PASSPHRASE, Keyring, fixture_all_keys, fixture_keyring
from tests.support.fix_upstream import Upstream, find_upstream, write_config
from tests.support.needs import need_program
from tests.support.offline import run_here
from tests.support.wal_files import HISTORY, drop, segment, segment_name

__all__ = ["fixture_all_keys", "fixture_keyring"]

pytestmark = pytest.mark.compat

A, B, C = (segment_name(number) for number in (0x20, 0x21, 0x22))
SERVER = {
    "description": "encrypted",
    "backup_method": "postgres",
    "archiver": "on",
    "conninfo": "host=/nowhere user=barman dbname=postgres",
    "streaming_conninfo": "host=/nowhere user=barman",
    "encryption": "gpg",
    "encryption_key_id": LOCKED,
    "encryption_passphrase_command": PRINT_PASSPHRASE,
}


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
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
