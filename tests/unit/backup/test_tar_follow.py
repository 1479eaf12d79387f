"""Archives that are read while somebody still writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from barman.backup.tar_follow import ArchiveFollower
from barman.errors import BarmanError
from tests.support.fix_postgres import wait_until
from tests.support.tar_backups import BASE, LABEL, OID, SPACE, base_tar, pack, tar


def has_read(path: str) -> int:
    """How far the descriptor of this process that reads a file is; -1 without one."""
    for number in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{number}") == path:
                about = Path(f"/proc/self/fdinfo/{number}").read_text().split()
                if int(about[about.index("flags:") + 1], 8) & os.O_ACCMODE == os.O_RDONLY:
                    return int(about[about.index("pos:") + 1])
        except OSError:
            continue
    return -1


@pytest.mark.parametrize("suffix", ["", ".gz", ".lz4", ".zst"])
def test_an_archive_that_grows_is_read_to_its_real_end(tmp_path: Path, suffix: str) -> None:
    whole = pack(base_tar(), suffix)
    with ArchiveFollower(str(tmp_path)) as follower:
        with open(str(tmp_path / f"base.tar{suffix}"), "wb", buffering=0) as file:
            for start in range(0, len(whole), 1 + len(whole) // 7):
                file.write(whole[start : start + 1 + len(whole) // 7])
                wait_until(lambda: has_read(file.name) == file.tell(), "the reader is at the end for now", 5)
        # One that appears at the very end is seen too.
        (tmp_path / f"{OID}.tar{suffix}").write_bytes(pack(tar(SPACE), suffix))
    found = {archive.oid: content for archive, content in follower.contents()}
    assert found[None].files == {name: len(data) for name, data in BASE.items()}
    assert found[None].label == LABEL
    assert "pg_notify" in found[None].directories
    assert found[OID].files == {name: len(data) for name, data in SPACE.items()}


def test_an_archive_that_stays_without_its_end_is_an_error_once_its_writer_has_ended(tmp_path: Path) -> None:
    with ArchiveFollower(str(tmp_path)) as follower:
        (tmp_path / "base.tar.gz").write_bytes(pack(base_tar(), ".gz")[:-50])
    with pytest.raises(BarmanError, match="end before their end marker"):
        follower.contents()


def test_nobody_waits_for_archives_of_a_writer_that_failed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ArchiveFollower(str(tmp_path)):
        (tmp_path / "base.tar.gz").write_bytes(b"")
        raise KeyboardInterrupt
