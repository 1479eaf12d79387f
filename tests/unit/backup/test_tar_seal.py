"""Archives of a backup are encrypted one by one, and read again to the very end."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
from pathlib import Path

import pytest

from barman.backup.dead_runs import mark_dead_runs
from barman.backup.tar_files import find_archives, opened, read_content
from barman.backup.tar_seal import remove_plain_archives, seal_archives
from barman.compression.codec import CustomFilters
from barman.encryption.gpg import Gpg
from barman.encryption.openpgp import DamagedMessage, EncryptionError
from barman.errors import BackupError
from barman.report import MemoryReporter
from tests.support.catalog_builder import add_backup, make_catalog
from tests.support.fix_gpg import OPEN, Keyring, fixture_all_keys, fixture_keyring

__all__ = ["fixture_all_keys", "fixture_keyring"]

CONTENT = random.Random(3).randbytes(3_000_000)


def tar() -> bytes:
    target = io.BytesIO()
    with tarfile.open(mode="w", fileobj=target) as writer:
        info = tarfile.TarInfo("base/1/2")
        info.size = len(CONTENT)
        writer.addfile(info, io.BytesIO(CONTENT))
    return target.getvalue()


@pytest.fixture(name="data")
def fixture_data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    (data / "base.tar").write_bytes(tar())
    (data / "16385.tar.gz").write_bytes(gzip.compress(tar()))
    (data / "backup_manifest").write_text("{}")
    return data


def key(path: str = os.environ["PATH"]) -> Gpg:
    return Gpg(path, OPEN, None)


def content(data: Path, oid: int | None) -> bytes:
    with opened(find_archives(str(data))[oid], custom=CustomFilters(unsealer=key())) as reader:
        return b"".join(b"".join(reader.content()) for _ in reader.members())


def test_archives_are_replaced_by_encrypted_ones_that_are_read_alike(keyring: Keyring, data: Path) -> None:
    seal_archives(str(data), key())
    assert sorted(os.listdir(data)) == ["16385.tar.gz.gpg", "backup_manifest", "base.tar.gpg"]
    assert {os.stat(data / name).st_mode & 0o777 for name in os.listdir(data) if name.endswith(".gpg")} == {0o600}
    assert [content(data, oid) for oid in (None, 16385)] == [CONTENT, CONTENT]
    with pytest.raises(BackupError, match="is encrypted"):
        read_content(find_archives(str(data))[None])


@pytest.mark.parametrize("name", ["base.tar.gpg", "16385.tar.gz.gpg"])
def test_an_archive_that_was_changed_is_never_read_to_a_quiet_end(keyring: Keyring, data: Path, name: str) -> None:
    seal_archives(str(data), key())
    sealed = bytearray((data / name).read_bytes())
    sealed[len(sealed) // 2] ^= 1
    (data / name).write_bytes(sealed)
    with pytest.raises(Exception, match="damaged|BADMDC") as caught:
        content(data, None if name.startswith("base") else 16385)
    if name.startswith("base"):
        assert isinstance(caught.value, DamagedMessage), "a plain tar has no checksum of its own"


def test_what_a_failure_leaves_in_the_clear_is_removed(keyring: Keyring, data: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gpg").write_text("#!/bin/sh\nhead -c 500000 >/dev/null\nexit 2\n")
    (programs / "gpg").chmod(0o755)
    with pytest.raises(EncryptionError):
        seal_archives(str(data), key(f"{programs}:{os.environ['PATH']}"))
    (data / "base.tar.gpg").write_bytes(b"as a kill leaves it, beside the plain one")
    remove_plain_archives(str(data))
    assert sorted(os.listdir(data)) == ["backup_manifest", "base.tar.gpg"]
    remove_plain_archives(str(data / "nothing"))


@pytest.mark.parametrize(("encryption", "left"), [("gpg", ["base.tar.gpg"]), (None, ["base.tar", "base.tar.gpg"])])
def test_what_a_kill_leaves_in_the_clear_goes_when_the_backup_is_found_dead(
    tmp_path: Path, encryption: str | None, left: list[str]
) -> None:
    catalog, backup_id = make_catalog(str(tmp_path)), "20260101T120000"
    add_backup(catalog, backup_id, status="STARTED", compression="none", encryption=encryption)
    data = Path(catalog.layout.data_directory(backup_id))
    data.mkdir(parents=True, exist_ok=True)
    for name in ("base.tar", "base.tar.gpg"):
        (data / name).write_bytes(b"as a kill leaves it")
    assert mark_dead_runs(catalog, MemoryReporter()) == [backup_id]
    assert sorted(path.name for path in data.glob("base.tar*")) == left
