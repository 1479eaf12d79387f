"""Commands of both programs at the same time on one repository: each waits or passes by, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from barman.catalog.wal_file import WalFile
from tests.support.catalog_builder import add_backup, write
from tests.support.fix_postgres import wait_until
from tests.support.fix_upstream import Upstream, own_environment
from tests.support.offline import OfflineHome
from tests.support.wal_files import SEGMENT_SIZE, SYSTEM_ID, drop, segment, segment_name

pytestmark = pytest.mark.compat

A, B = "20260101T000000", "20260102T000000"
FILES = 2000


class Repository(OfflineHome):
    """A, obsolete, and B, both with their WAL."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, retention_policy="REDUNDANCY 1")
        for backup_id, begin in ((A, 4), (B, 6)):
            add_backup(
                self.catalog, backup_id, begin=begin, end=begin + 1, tablespaces=(),
                xlog_segment_size=SEGMENT_SIZE, systemid=str(SYSTEM_ID),
            )  # fmt: skip
        names = [segment_name(number) for number in range(4, 9)]
        for name in names:
            write(self.catalog.layout.wal_path(name), segment(name))
        self.catalog.xlogdb.append([WalFile(name, SEGMENT_SIZE, 1767225600.0) for name in names])
        self.data = Path(self.catalog.layout.data_directory(A))

    def add_files(self) -> None:
        """Make A so large that copying and deleting it take a while."""
        for number in range(FILES):
            write(str(self.data / "base" / str(number % 10) / str(number)), f"{number}\n" * 100)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


@pytest.fixture
def original(repository: Repository, upstream_program: str) -> Upstream:
    return Upstream(upstream_program, str(repository.config_file))


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in (root / "base").rglob("*") if path.is_file()}


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


def test_no_program_deletes_a_backup_that_is_being_restored(
    repository: Repository, original: Upstream, tmp_path: Path
) -> None:
    repository.add_files()
    destination, source = tmp_path / "restored", contents(repository.data)
    restore = repository.start("restore", "main", A, str(destination))
    wait_until(lambda: (destination / "base" / "0").is_dir() or restore.poll() is not None, "files are copied")
    restore.send_signal(signal.SIGSTOP)
    try:
        assert not (destination / "global" / "pg_control").exists(), "the restore was too fast for this test"
        ours = repository.run("delete", "main", A)
        theirs = original.run("delete", "main", A, check=False)
        cron = repository.run("cron")
    finally:
        restore.send_signal(signal.SIGCONT)
    assert ours.rc == 1
    assert A in ours.err
    assert theirs.code != 0 or "locked" in theirs.err + theirs.out, theirs
    assert "Traceback" not in ours.err + cron.err
    code, said = finish(restore)
    assert code == 0, said
    assert contents(destination) == contents(repository.data) == source
    assert (destination / "global" / "pg_control").exists()
    assert repository.catalog.snapshot().backups.keys() == {A, B}
    assert set(repository.catalog.snapshot().deleting) == set()


def test_two_deletions_of_one_backup_at_once_end_in_one(repository: Repository) -> None:
    repository.add_files()
    running = [repository.start("delete", "main", A) for _ in range(3)]
    ended = [finish(process) for process in running]
    assert sorted(code for code, _ in ended) in ([0, 1, 1], [0, 0, 1], [0, 0, 0])
    for code, said in ended:
        assert "EXCEPTION" not in said
        assert "Traceback" not in said
        assert code == 0 or A in said, said
    view = repository.catalog.snapshot()
    assert (set(view.backups), set(view.deleting), set(view.corrupt)) == ({B}, set(), set())
    assert not repository.data.parent.exists()
    assert sorted(repository.catalog.wals.list_names()) == [segment_name(number) for number in range(6, 9)]
    assert [entry.name for entry in repository.catalog.xlogdb.scan()] == [segment_name(n) for n in range(6, 9)]


def begin(original: Upstream, *arguments: str) -> subprocess.Popen[str]:
    """Start a command of the original: a process, because this one forks."""
    return subprocess.Popen(
        [original.program, "-c", original.config_file, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=own_environment(),
        text=True,
    )


def test_no_line_of_the_index_is_missed_while_the_original_rewrites_it(
    repository: Repository, original: Upstream
) -> None:
    names = [segment_name(number) for number in range(16, 48)]
    for name in names:
        write(repository.catalog.layout.wal_path(name), segment(name))
    original.run("rebuild-xlogdb", "main")
    commands = (("list-backups", "main"), ("-f", "json", "show-backup", "main", B))
    whole = [repository.run(*command) for command in commands]
    assert [ran.rc for ran in whole] == [0, 0]
    looks = 0
    for _ in range(2):
        rewriting = begin(original, "rebuild-xlogdb", "main")
        while rewriting.poll() is None:
            looks += 1
            assert [repository.run(*command) for command in commands] == whole
        assert finish(rewriting)[0] == 0
    assert looks > 2

    # And both archive at the same time, while it is rewritten.
    queue = repository.catalog.layout.incoming_directory
    arriving = [segment_name(number) for number in range(48, 54)]
    others = [begin(original, *words.split()) for words in ("rebuild-xlogdb main", "archive-wal main")]
    for name in arriving:
        drop(queue, name)
        assert repository.run("archive-wal", "main").rc == 0
    assert [finish(process)[0] for process in others] == [0, 0]
    assert repository.run("archive-wal", "main").rc == 0
    assert os.listdir(queue) == []
    entries = [entry.name for entry in repository.catalog.xlogdb.scan()]
    assert sorted(entries) == sorted({*entries}) == sorted(repository.catalog.wals.list_names())
    assert {*names, *arriving} <= {*entries}
