"""Archives of pg_basebackup, read: what is in them, and everything that must not be."""

from __future__ import annotations

import io
import tarfile

import pytest

from barman.backup.tar_reader import DIRECTORY, FILE, LINK, TarReader
from barman.errors import BackupError
from tests.support.tar_backups import BASE, OID, base_tar, entry, tar


def read(data: bytes) -> list[tuple[str, str, bytes]]:
    reader = TarReader(io.BytesIO(data), "base.tar")
    return [(member.name, member.kind, b"".join(reader.content())) for member in reader.members()]


def test_files_directories_and_the_links_of_tablespaces_are_read() -> None:
    found = read(base_tar())
    assert {name: data for name, kind, data in found if kind == FILE} == BASE
    assert "pg_wal/archive_status" in [name for name, kind, _ in found if kind == DIRECTORY]
    assert [name for name, kind, _ in found if kind == LINK] == [f"pg_tblspc/{OID}"]


def test_content_that_nobody_reads_is_passed_over() -> None:
    reader = TarReader(io.BytesIO(base_tar()), "base.tar")
    assert [member.name for member in reader.members() if member.kind == FILE] == list(BASE)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../../x", "a//b", "", ".", "..", "a/..", "./../x", "x/"], ids=repr
)
def test_a_name_that_leads_outside_or_nowhere_is_refused(name: str) -> None:
    with pytest.raises(BackupError, match="leads out of it, or nowhere"):
        read(entry(name, b"x") + bytes(1024))


@pytest.mark.parametrize(
    "made",
    [
        entry("x", kind=tarfile.LNKTYPE, link="/etc/passwd"),
        entry("x", kind=tarfile.SYMTYPE, link="/etc"),
        entry("pg_tblspc/1/x", kind=tarfile.SYMTYPE, link="/etc"),
        entry("pg_wal/", kind=tarfile.SYMTYPE, link="/etc"),
        entry("x", kind=tarfile.CHRTYPE),
        entry("x", kind=tarfile.BLKTYPE),
        entry("x", kind=tarfile.FIFOTYPE),
        entry("x", b"30 path=../../x\n", kind=tarfile.XHDTYPE),
        entry("x", b"../../x", kind=tarfile.GNUTYPE_LONGNAME),
        entry("x", b"content", kind=tarfile.DIRTYPE),
    ],
    ids="hard link,link,deep link,pg_wal,device,block device,fifo,pax,long name,fat directory".split(","),
)
def test_what_postgresql_does_not_write_is_refused(made: bytes) -> None:
    with pytest.raises(BackupError, match="damaged"):
        read(made + bytes(1024))


def test_an_archive_that_is_cut_anywhere_is_refused() -> None:
    whole = tar({"a": b"x" * 700, "b/c": b"y"})
    for length in (0, 1, 511, 512, 1000, 1024, 1300, len(whole) - 1024):
        with pytest.raises(BackupError, match="it ends"):
            read(whole[:length])


def test_a_header_that_is_damaged_lies_about_its_numbers_or_is_followed_by_more_is_refused() -> None:
    whole = tar({"a": b"x"})
    for spoilt, text in (
        (b"A" + whole[1:], "checksum of a header"),
        (entry("a", size=1 << 32) + bytes(1024), "it ends in the middle"),
        (whole + b"more", "follows its end mark"),
    ):
        with pytest.raises(BackupError, match=text):
            read(spoilt)
