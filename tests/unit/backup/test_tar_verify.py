"""verify-backup of archives: silence about what is right, and every kind of wrong by its name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from barman.backup.tar_files import find_archives
from barman.backup.tar_verify import verify_archives
from barman.errors import BackupError
from barman.report import MemoryReporter
from tests.support.catalog_builder import make_info
from tests.support.tar_backups import BASE, OID, SPACE, base_tar, entry, lay_out, pack, tar


def verify(directory: Path, compression: str = "gzip", **fields: object) -> list[str]:
    """The errors; without any, the good news must have been told."""
    reporter = MemoryReporter()
    verify_archives(make_info("20260101T000000", compression=compression, **fields), str(directory), reporter)
    assert reporter.failed != ("backup successfully verified" in reporter.texts("info"))
    return reporter.texts("error")


@pytest.mark.parametrize(
    ("suffix", "compression"), [("", "none"), (".gz", "gzip"), (".lz4", "lz4"), (".zst", "zstd")], ids=repr
)
@pytest.mark.parametrize("checksums", ["CRC32C", "SHA224", "SHA512", "NONE"])
def test_a_whole_backup_is_verified_whatever_its_compression_and_checksums(
    tmp_path: Path, suffix: str, compression: str, checksums: str
) -> None:
    lay_out(str(tmp_path), suffix=suffix, checksums=checksums)
    assert verify(tmp_path, compression) == []


@pytest.mark.parametrize("checksums", ["CRC32C", "SHA256"])
def test_one_changed_byte_is_found(tmp_path: Path, checksums: str) -> None:
    changed = {**BASE, "base/1/2619": BASE["base/1/2619"][:-1] + b"?"}
    lay_out(str(tmp_path), base=base_tar(files=changed), checksums=checksums)
    first, *rest = verify(tmp_path)
    assert first == f"verify backup failure on directory '{tmp_path}'"
    assert rest == ["the checksum of 'base/1/2619' does not match"]


def test_what_is_missing_too_much_or_of_another_size_is_named(tmp_path: Path) -> None:
    files = {name: data for name, data in BASE.items() if name != "PG_VERSION"} | {"postgresql.conf": b"other"}
    lay_out(str(tmp_path), base=base_tar(entry("intruder", b"x"), files=files))
    errors = "\n".join(verify(tmp_path))
    assert "'PG_VERSION' is in the manifest, but in no archive" in errors
    assert "'intruder' is in '" in errors
    assert f"'postgresql.conf' has 5 bytes, in the manifest {len(BASE['postgresql.conf'])}" in errors


def test_an_archive_that_is_gone_cut_short_or_twice_there_is_an_error(tmp_path: Path) -> None:
    lay_out(str(tmp_path))
    space = tmp_path / f"{OID}.tar.gz"
    space.write_bytes(pack(tar(SPACE), ".gz")[:-20])
    assert "data end before their end marker" in "\n".join(verify(tmp_path))
    space.unlink()
    assert f"'pg_tblspc/{OID}/{next(iter(SPACE))}' is in the manifest, but in no archive" in verify(tmp_path)
    (tmp_path / "base.tar").write_bytes(base_tar())
    with pytest.raises(BackupError, match="archives of the same directory"):
        find_archives(str(tmp_path))


def test_a_manifest_that_is_damaged_or_of_another_cluster_is_told(tmp_path: Path) -> None:
    lay_out(str(tmp_path))
    path = tmp_path / "backup_manifest"
    path.write_bytes(path.read_bytes().replace(b"PG_VERSION", b"PG_WERSION"))
    with pytest.raises(BackupError, match="checksum of the manifest does not match"):
        verify(tmp_path)


def test_memory_stays_small_whatever_an_archive_expands_to(tmp_path: Path) -> None:
    """128 MB of zeros are a hundred kilobytes of gzip; they must never be held at once."""
    import gzip
    import resource

    size = 128 << 20
    lay_out(str(tmp_path))
    with gzip.open(tmp_path / "base.tar.gz", "wb", 1) as file:
        file.write(entry("base/1/2619", size=size))
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
        file.write(bytes(1024))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert any(f"'base/1/2619' has {size} bytes" in text for text in verify(tmp_path))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < (64 << 10 if sys.platform == "linux" else 64 << 20)
    os.unlink(tmp_path / "base.tar.gz")
