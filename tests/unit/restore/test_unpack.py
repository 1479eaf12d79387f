"""Archives on their way into a destination: what lands there, what may not, and that nothing lands anywhere else."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from barman.catalog.backup_info import BackupInfo, Tablespace
from barman.errors import BarmanError
from barman.report import MemoryReporter
from barman.restore.facts import BackupFacts
from barman.restore.step import TreeCopy, UnpackTrees
from barman.restore.unpack import gather_archives, held_control_file, judge_archives
from barman.restore.unpack_files import unpack_trees
from barman.restore.workbench import Workbench
from tests.support.catalog_builder import make_info
from tests.support.tar_backups import BASE, OID, SPACE, base_tar, entry, lay_out, pack

INFO: BackupInfo = make_info(
    "20260101T000000", compression="gzip", tablespaces=(Tablespace("far", OID, "/spaces/far"),)
)
LEFT_OUT = {"tablespace_map", "log/server.log"}
KEPT: Mapping[str, bytes] = {name: data for name, data in BASE.items() if name not in LEFT_OUT}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "repository" / "data"
    lay_out(str(directory))
    return directory


def gathered(data: Path) -> BackupFacts:
    return gather_archives(INFO, "/record", str(data), being_deleted=False)


def unpack(data: Path, destination: Path, jobs: int = 2) -> None:
    facts = gathered(data)
    assert facts.data is not None
    space = facts.tablespaces[OID]
    assert space is not None
    place = destination.with_name("space")
    for directory in (destination, place):
        directory.mkdir(exist_ok=True)
    trees = (TreeCopy(space, str(place)), TreeCopy(facts.data, str(destination)))
    step = UnpackTrees(trees, jobs, held_control_file(str(destination), None))
    unpack_trees(step, Workbench(MemoryReporter()))


def files_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_manifest_tells_what_the_archives_hold(data: Path) -> None:
    facts = gathered(data)
    assert facts.data is not None
    assert facts.data.files == {name: len(content) for name, content in KEPT.items()}
    assert facts.is_archived
    space = facts.tablespaces[OID]
    assert space is not None
    assert space.files == {name: len(content) for name, content in SPACE.items()}
    assert facts.in_place == frozenset()
    assert judge_archives(facts, delta=False) == []
    assert "delta restore" in judge_archives(facts, delta=True)[0]


def test_without_a_manifest_the_archives_are_read(data: Path) -> None:
    expected = gathered(data)
    (data / "backup_manifest").unlink()
    found = gathered(data)
    assert found.data is not None
    assert expected.data is not None
    assert found.data.files == expected.data.files
    assert found.tablespaces == expected.tablespaces


def test_an_archive_that_is_gone_is_missed(data: Path) -> None:
    (data / f"{OID}.tar.gz").unlink()
    assert gathered(data).tablespaces == {OID: None}
    (data / "base.tar.gz").unlink()
    assert gathered(data).data is None


@pytest.mark.parametrize("jobs", [1, 4])
def test_everything_lands_in_its_place_and_the_control_file_waits(data: Path, tmp_path: Path, jobs: int) -> None:
    destination = tmp_path / "destination"
    unpack(data, destination, jobs)
    found = files_below(destination)
    assert found.pop(".barman-unpack-control") == BASE["global/pg_control"]
    assert found.pop("backup_manifest") == (data / "backup_manifest").read_bytes()
    assert found == {name: content for name, content in KEPT.items() if name != "global/pg_control"}
    assert files_below(tmp_path / "space") == SPACE
    assert (destination / "pg_wal").is_dir()
    assert (destination / "pg_notify").is_dir()
    assert os.listdir(destination / "pg_tblspc") == []
    assert destination.stat().st_mode & 0o777 == 0o700
    file = (destination / "base" / "1" / "2619").stat()
    assert (file.st_mode & 0o777, file.st_mtime) == (0o600, 1700000000)


def test_what_an_unfinished_restore_left_is_overwritten(data: Path, tmp_path: Path) -> None:
    destination = tmp_path / "destination"
    (destination / "base" / "1").mkdir(parents=True)
    (destination / "base" / "1" / "2619").write_bytes(b"longer" * 10000)
    unpack(data, destination)
    assert (destination / "base" / "1" / "2619").read_bytes() == BASE["base/1/2619"]


HOSTILE = {
    "traversal": entry("../escaped", b"x"),
    "absolute": entry("/tmp/barman-test-escaped", b"x"),
    "link": entry("base/link", kind=tarfile.SYMTYPE, link="/etc"),
    "hard link": entry("base/link", kind=tarfile.LNKTYPE, link="PG_VERSION"),
    "through a link of a tablespace": entry(f"pg_tblspc/{OID}/escaped", b"x"),
    "device": entry("base/null", kind=tarfile.CHRTYPE),
    "unknown": entry("base/1/intruder", b"x"),
    "twice": entry("PG_VERSION", b"15\n"),
    "longer than it may be": entry("base/1/2619", bytes(1 << 16)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_writes_nothing_outside(data: Path, tmp_path: Path, name: str) -> None:
    destination = tmp_path / "destination"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # What a link of the same name, left by whomever, leads to.
    (destination / "pg_tblspc").mkdir(parents=True)
    (destination / "pg_tblspc" / str(OID)).symlink_to(elsewhere)
    before = {path for path in tmp_path.rglob("*") if destination not in path.parents}
    files = {key: content for key, content in BASE.items() if name != "longer than it may be" or key != "base/1/2619"}
    lay_out(str(data), base=base_tar(HOSTILE[name], files=files))
    with pytest.raises(BarmanError, match="damaged"):
        unpack(data, destination)
    after = {path for path in tmp_path.rglob("*") if destination not in path.parents}
    assert {path for path in after - before if "space" not in path.parts} == set()
    assert not Path("/tmp/barman-test-escaped").exists()
    assert not (destination / "global" / "pg_control").exists()


def test_without_a_manifest_nothing_goes_through_the_link_of_a_tablespace_either(data: Path, tmp_path: Path) -> None:
    destination, elsewhere = tmp_path / "destination", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (destination / "pg_tblspc").mkdir(parents=True)
    (destination / "pg_tblspc" / str(OID)).symlink_to(elsewhere)
    lay_out(str(data), base=base_tar(HOSTILE["through a link of a tablespace"]))
    (data / "backup_manifest").unlink()
    with pytest.raises(OSError, match=str(OID)):
        unpack(data, destination)
    assert os.listdir(elsewhere) == []


def test_a_link_where_a_directory_must_be_is_not_followed(data: Path, tmp_path: Path) -> None:
    destination, elsewhere = tmp_path / "destination", tmp_path / "elsewhere"
    destination.mkdir()
    elsewhere.mkdir()
    (destination / "base").symlink_to(elsewhere)
    with pytest.raises(OSError, match="base"):
        unpack(data, destination)
    (destination / "base").unlink()
    (destination / "PG_VERSION").symlink_to(elsewhere / "file")
    with pytest.raises(OSError, match="PG_VERSION"):
        unpack(data, destination)
    assert os.listdir(elsewhere) == []


@pytest.mark.parametrize("suffix", ["", ".gz", ".lz4", ".zst"])
def test_an_archive_that_is_cut_anywhere_ends_the_restore_before_it_can_be_started(tmp_path: Path, suffix: str) -> None:
    data = tmp_path / "data"
    whole = pack(base_tar(), suffix)
    for share in (0, 1, 50, 97):
        lay_out(str(data), suffix=suffix)
        (data / f"base.tar{suffix}").write_bytes(whole[: len(whole) * share // 100])
        with pytest.raises(BarmanError, match=r"damaged|cannot decompress"):
            unpack(data, tmp_path / "destination")
        assert not (tmp_path / "destination" / "global" / "pg_control").exists()


def test_a_file_that_the_archive_does_not_have_is_a_loss(data: Path, tmp_path: Path) -> None:
    lay_out(str(data), base=base_tar(files={name: content for name, content in BASE.items() if name != "PG_VERSION"}))
    with pytest.raises(BarmanError, match="1 files are missing, beginning with 'PG_VERSION'"):
        unpack(data, tmp_path / "destination")
