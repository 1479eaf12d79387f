"""Every command over a passive node whose primary is dead: the repository is all there is, and all that is needed."""

import gzip
import json
import os

import pytest

from barman.catalog.identity import Identity
from barman.postgres.lsn import Lsn
from tests.support.catalog_builder import add_backup, write
from tests.support.offline import OfflineHome
from tests.support.wal_files import SEGMENT_SIZE, SYSTEM_ID, segment, segment_name

FULL, CHILD = "20260101T000000", "20260102T000000"
FIRST, LAST = 32, 36


class Copy(OfflineHome):
    """A passive node with one backup and WAL behind it, as a synchronisation leaves them."""

    def __init__(self, directory, **options):
        nowhere = {"conninfo": "", "streaming_conninfo": "", "primary_ssh_command": "/nonexistent/ssh primary"}
        super().__init__(directory, **{**nowhere, **options})
        layout = self.catalog.layout
        for number in range(FIRST, LAST + 1):
            name = segment_name(number)
            write(layout.wal_path(name), gzip.compress(segment(name), 1, mtime=0))
        self.catalog.xlogdb.rebuild(None)
        self.info = add_backup(
            self.catalog,
            FULL,
            begin=FIRST,
            end=FIRST + 1,
            xlog_segment_size=SEGMENT_SIZE,
            systemid=str(SYSTEM_ID),
            mode="passive",
            tablespaces=(),
            begin_xlog=Lsn(FIRST * SEGMENT_SIZE + 40),
            end_xlog=Lsn((FIRST + 1) * SEGMENT_SIZE + 256),
        )
        data = layout.data_directory(FULL)
        write(os.path.join(data, "global", "pg_control"), b"control" * 1000)
        write(os.path.join(data, "backup_label"), "START WAL LOCATION: 0/2000028\n")
        write(os.path.join(data, "postgresql.conf"), "work_mem = 4MB\n")
        self.catalog.identity.write(Identity(str(SYSTEM_ID), "15"))

    def good(self, *arguments):
        done = self.run(*arguments)
        assert done.rc == 0, (arguments, done.said)
        assert_civil(done)
        return done.out

    def refused(self, *arguments):
        done = self.run(*arguments)
        assert done.rc == 1, (arguments, done.said)
        assert_civil(done)
        return done.err


def assert_civil(done):
    assert "Traceback" not in done.said, done.said
    assert "EXCEPTION" not in done.said, done.said
    assert "NoneType" not in done.said, done.said


@pytest.fixture
def home(tmp_path):
    directory = tmp_path / "node"
    directory.mkdir()
    return Copy(directory)


AT = f"{Lsn((FIRST + 2) * SEGMENT_SIZE + 4096)}"
TARGETS = {
    "the end": (),
    "a moment": ("--target-time", "2026-06-01 00:00:00+00"),
    "a position": ("--target-lsn", AT),
    "consistency": ("--target-immediate",),
    "a transaction": ("--target-xid", "700"),
    "a name": ("--target-name", "before_the_flood"),
    "WAL on demand": ("--get-wal",),
    "a timeline": ("--target-tli", "1"),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_restore_to_any_target_needs_nobody(home, tmp_path, target):
    place = tmp_path / "place"
    home.good("restore", "main", FULL, str(place), *target)
    assert (place / "recovery.signal").exists()
    assert (place / "global" / "pg_control").stat().st_size == 7000
    brought = {path.name: path.read_bytes() for path in place.rglob("0*") if path.is_file()}
    wanted = [] if "--get-wal" in target else [segment_name(number) for number in (FIRST, FIRST + 1)]
    assert {name: brought.get(name) for name in wanted} == {name: segment(name) for name in wanted}
    assert bool(brought) == bool(wanted)


def test_everything_that_reads_answers(home):
    assert segment_name(LAST) in home.good("recovery-window", "main")
    assert FULL in home.good("list-backups", "main")
    assert "passive" in home.good("show-backup", "main", "latest")
    assert "postgresql.conf" in home.good("list-files", "main", "latest")
    assert "Passive node: True" in home.good("status", "main")
    assert "\tpassive_node: True" in home.good("show-servers", "main")
    assert "(Passive)" in home.good("list-servers")
    assert "No active subprocesses" in home.good("list-processes", "main")
    assert "barman_passive" in home.good("metrics", "main")
    json.loads(home.good("diagnose"))
    home.good("retention", "main")
    home.good("wal-errors", "main")
    home.good("check-archived-wal-range", "main", segment_name(FIRST), segment_name(LAST))
    place = home.directory / "wal"
    place.mkdir()
    home.good("get-wal", "main", segment_name(LAST), "--output-directory", str(place))
    assert (place / segment_name(LAST)).read_bytes() == segment(segment_name(LAST))
    assert "not found" in home.refused("get-wal", "main", segment_name(LAST + 1))
    assert FULL in json.loads(home.good("sync-info", "main"))["backups"]
    check = home.run("check", "main")
    assert check.rc == 1
    assert_civil(check)
    failed = [line.split(":")[0].strip() for line in check.out.splitlines() if ": FAILED" in line]
    assert failed == ["primary node", "ssh"], check.out
    assert "ssh: FAILED (Connection failed using '/nonexistent/ssh primary -o BatchMode=yes' return code" in check.out


def test_the_catalog_is_kept_as_on_every_node(home, tmp_path):
    home.good("keep", "main", FULL, "--target", "full")
    assert "Keep: full" in home.good("keep", "main", FULL, "--status")
    assert "kept" in home.run("delete", "main", FULL).said
    home.good("keep", "main", FULL, "--release")
    home.good("generate-manifest", "main", FULL)
    home.good("verify-backup", "main", FULL)
    os.unlink(home.catalog.layout.xlogdb)
    assert "wal_file: 5" in home.good("rebuild-xlogdb", "main")
    home.good("check-backup", "main", FULL)
    exported = tmp_path / "exported"
    exported.mkdir()
    assert "Export completed successfully" in home.good("export-backup", "main", FULL, str(exported))
    (bundle,) = exported.iterdir()
    home.good("delete", "main", FULL)
    assert home.good("list-backups", "main") == ""
    home.good("import-backup", "main", str(bundle))
    assert FULL in home.good("list-backups", "main")
    home.good("restore", "main", FULL, str(tmp_path / "place"))


def test_without_the_identity_of_the_cluster_a_bundle_is_neither_written_nor_taken(home, tmp_path):
    os.unlink(home.catalog.layout.identity)
    assert "identity" in home.refused("export-backup", "main", FULL, str(tmp_path))


def test_what_needs_postgresql_is_passed_over_or_refused_with_the_reason(home):
    for command in ("backup", "replication-status"):
        assert home.good(command, "main") == "Skipping passive server 'main'\n"
    assert home.good("archive-wal", "main") == ""
    assert "it has no PostgreSQL to switch" in home.refused("switch-wal", "main")
    for arguments in (
        ("receive-wal", "main"),
        ("receive-wal", "main", "--stop"),
        ("receive-wal", "main", "--reset"),
        ("receive-wal", "main", "--create-slot"),
        ("receive-wal", "main", "--drop-slot"),
        ("put-wal", "main"),
        ("put-wal", "main", "--test"),
    ):
        assert "ERROR: server main is passive" in home.refused(*arguments)
    assert "HINT: It copies what another Barman has" in home.refused("put-wal", "main")
    assert "no such process" in home.refused("terminate-process", "main", "receive-wal")
    assert "Expected empty archive" in home.refused("check-wal-archive", "main")
    home.good("check-wal-archive", "main", "--timeline", "2")


def test_cron_with_the_primary_dead_says_so_once_and_does_its_other_work(home):
    waiting = "20260103T000000"
    add_backup(home.catalog, waiting, begin=LAST, xlog_segment_size=SEGMENT_SIZE, mode="passive", tablespaces=(),
               systemid=str(SYSTEM_ID), status="WAITING_FOR_WALS")  # fmt: skip
    done = home.run("cron")
    assert done.rc == 1
    assert_civil(done)
    assert done.err.count("ERROR") == 1, done.err
    assert home.catalog.backups.read(waiting).status == "DONE"
    status = home.good("status", "main")
    assert "Last failure of the synchronisation: " in status
    assert "No. of available backups: 2" in status
