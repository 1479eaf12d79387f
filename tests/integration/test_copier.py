"""Copies of real trees and of a running PostgreSQL over a real sshd: what arrives, what is reused, what fails."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from barman.backup.copier import Copier, CopyStatistics, Reference
from barman.backup.copy_plan import CopyPlan, Places, plan_copy
from barman.errors import BackupError, BarmanError, CommandFailed
from barman.postgres.connection import PostgresConnection
from barman.postgres.facts import read_facts
from barman.report import MemoryReporter
from barman.transport.host import Host, local_host, ssh_host
from barman.transport.rsync_pool import PoolOptions
from barman.values import replace
from tests.support.fix_postgres import Cluster, ClusterFactory, give_to_server, wait_until
from tests.support.fix_sshd import Sshd, SshdFactory
from tests.unit.backup.facts import make_facts

OPTIONS = PoolOptions(workers=2)


@pytest.fixture(scope="module")
def shared_sshd() -> Iterator[Sshd]:
    factory = SshdFactory()
    yield factory.create()
    factory.close()


@pytest.fixture(params=["local", "ssh"])
def host(request: pytest.FixtureRequest, shared_sshd: Sshd) -> Iterator[Host]:
    made = local_host() if request.param == "local" else ssh_host(shared_sshd.command)
    yield made
    made.close()


@pytest.fixture
def pgdata(shared_sshd: Sshd) -> Iterator[Path]:
    """What looks like a data directory, with what a copy must leave out, readable by the user of sshd."""
    root = shared_sshd.directory / "pg data"
    for name in ["global/pg_control", "global/1", "base/1/1259", "base/1/t3_1", "pg_wal/0001", "PG_VERSION", "a b'c"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"content of {name}")
    (root / "postmaster.pid").write_text("1")
    (root / "pg_tblspc").mkdir()
    (root / "pg_notify").mkdir()
    age(root)
    yield root
    shutil.rmtree(root)


def age(root: Path) -> None:
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (0, time.time() - 3600))


def plan_for(root: Path, target: Path) -> CopyPlan:
    facts = make_facts(settings={"data_directory": str(root)})
    return plan_copy(facts, Places(f"{target}/data", lambda oid: f"{target}/{oid}"))


def copy(
    host: Host, root: Path, target: Path, reference: Reference | None = None, options: PoolOptions = OPTIONS
) -> CopyStatistics:
    return Copier(host, options, MemoryReporter()).copy(plan_for(root, target), [reference] if reference else [])


def reference_to(base: Path, target: Path, how: str = "link") -> Reference:
    return Reference(how, {f"{target}/data": f"{base}/data"}, datetime.now(timezone.utc))


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_what_is_planned_arrives_and_nothing_else(host: Host, pgdata: Path, tmp_path: Path) -> None:
    statistics = copy(host, pgdata, tmp_path / "one")
    wanted = ["global/pg_control", "global/1", "base/1/1259", "PG_VERSION", "a b'c"]
    assert files(tmp_path / "one/data") == {name: f"content of {name}" for name in wanted}
    assert sorted(path.name for path in (tmp_path / "one/data").iterdir() if path.is_dir()) == [
        "base", "global", "pg_notify", "pg_tblspc", "pg_wal",
    ]  # fmt: skip
    for name in wanted:
        copied, original = os.stat(tmp_path / "one/data" / name), os.stat(pgdata / name)
        assert (copied.st_mode, int(copied.st_mtime)) == (original.st_mode, int(original.st_mtime))
    assert (statistics.files, statistics.rsyncs, statistics.transferred) == (5, 1, 4)
    assert (tmp_path / "one/data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("how", ["link", "copy"])
def test_unchanged_files_come_from_the_reference_without_rsync(
    host: Host, pgdata: Path, tmp_path: Path, how: str
) -> None:
    copy(host, pgdata, tmp_path / "one")
    statistics = copy(host, pgdata, tmp_path / "two", reference_to(tmp_path / "one", tmp_path / "two", how))
    assert (statistics.reused, statistics.rsyncs) == (4, 0)
    assert files(tmp_path / "two/data") == files(tmp_path / "one/data")
    same = (tmp_path / "two/data/a b'c").samefile(tmp_path / "one/data/a b'c")
    assert same is (how == "link")
    assert not (tmp_path / "two/data/global/pg_control").samefile(tmp_path / "one/data/global/pg_control")


def test_a_change_that_keeps_size_and_second_is_seen_and_the_reference_is_kept(
    host: Host, pgdata: Path, tmp_path: Path
) -> None:
    begun = datetime.now(timezone.utc)
    busy = pgdata / "base/1/1259"
    busy.write_text("content of base/1/1259")
    copy(host, pgdata, tmp_path / "one")
    second = int(busy.stat().st_mtime)
    busy.write_text("CONTENT of base/1/1259")
    os.utime(busy, (second, second))
    reference = replace(reference_to(tmp_path / "one", tmp_path / "two"), begun=begun)
    statistics = copy(host, pgdata, tmp_path / "two", reference)
    assert (tmp_path / "two/data/base/1/1259").read_text() == "CONTENT of base/1/1259"
    assert (tmp_path / "one/data/base/1/1259").read_text() == "content of base/1/1259"
    assert statistics.rsyncs == 1
    assert (tmp_path / "two/data/global/1").samefile(tmp_path / "one/data/global/1")


def test_a_second_attempt_never_writes_into_the_reference(host: Host, pgdata: Path, tmp_path: Path) -> None:
    copy(host, pgdata, tmp_path / "one")
    reference = reference_to(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two/data/base/1").mkdir(parents=True)
    os.link(tmp_path / "one/data/base/1/1259", tmp_path / "two/data/base/1/1259")
    (pgdata / "base/1/1259").write_text("changed, and longer than before")
    copy(host, pgdata, tmp_path / "two", reference)
    assert (tmp_path / "two/data/base/1/1259").read_text() == "changed, and longer than before"
    assert (tmp_path / "one/data/base/1/1259").read_text() == "content of base/1/1259"


def test_a_reference_that_is_gone_is_not_needed(host: Host, pgdata: Path, tmp_path: Path) -> None:
    reference = reference_to(tmp_path / "nothing", tmp_path / "two")
    assert copy(host, pgdata, tmp_path / "two", reference).transferred == 4


def test_a_missing_directory_is_refused(host: Host, pgdata: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="No such file or directory"):
        copy(host, pgdata / "nothing", tmp_path / "one")
    (pgdata / "empty").mkdir()
    with pytest.raises(BackupError, match="nothing to copy"):
        copy(host, pgdata / "empty", tmp_path / "one")


def test_an_unreadable_directory_is_refused_by_name(shared_sshd: Sshd, pgdata: Path, tmp_path: Path) -> None:
    (pgdata / "closed").mkdir(mode=0)
    with pytest.raises(BackupError, match=r"closed.*Permission denied"):
        copy(ssh_host(shared_sshd.command), pgdata, tmp_path / "one")
    (pgdata / "closed").chmod(0o700)


def test_what_is_no_file_is_named(host: Host, pgdata: Path, tmp_path: Path) -> None:
    (pgdata / "dangling").symlink_to("/nowhere")
    reporter = MemoryReporter()
    Copier(host, OPTIONS, reporter).copy(plan_for(pgdata, tmp_path / "one"))
    assert [text for level, text in reporter.lines if level == "warning"] == [
        f"'{pgdata}/dangling' is not a file and was not copied"
    ]


def test_many_large_files_travel_in_parallel(host: Host, pgdata: Path, tmp_path: Path) -> None:
    for number in range(8):
        (pgdata / f"base/1/{number}").write_bytes(os.urandom(1024) * 16 * 1024)
    statistics = copy(host, pgdata, tmp_path / "one")
    assert statistics.rsyncs == 2
    for number in range(8):
        assert (tmp_path / f"one/data/base/1/{number}").read_bytes() == (pgdata / f"base/1/{number}").read_bytes()


def test_starts_are_spread_over_time(host: Host, pgdata: Path, tmp_path: Path) -> None:
    for number in range(4):
        (pgdata / f"base/1/{number}").write_bytes(b"x" * 40 * 2**20)
    began = time.monotonic()
    options = PoolOptions(workers=4, start_batch_size=1, start_batch_period=0.7)
    assert copy(host, pgdata, tmp_path / "one", options=options).rsyncs == 4
    assert time.monotonic() - began >= 2.1


def test_a_cut_link_ends_the_copy_at_once_unless_it_may_be_tried_again(
    sshd: Sshd, pgdata: Path, tmp_path: Path
) -> None:
    (pgdata / "big").write_bytes(os.urandom(3_000_000))
    plan = plan_for(pgdata, tmp_path / "one")
    plan = replace(plan, directories=tuple(replace(tree, bandwidth_limit=1000) for tree in plan.directories))
    (tmp_path / "one/data").mkdir(parents=True)

    def cut() -> None:
        wait_until(lambda: list((tmp_path / "one/data").glob("*big*")), "the copy has begun")
        sshd.cut()

    def attempt(options: PoolOptions) -> CopyStatistics:
        thread = threading.Thread(target=cut)
        thread.start()
        try:
            return Copier(ssh_host(sshd.command), options, MemoryReporter()).copy(plan)
        finally:
            thread.join()

    with pytest.raises(CommandFailed, match=r"pgdata \(1 of 1\)"):
        attempt(PoolOptions())
    (tmp_path / "one/data/big").unlink(missing_ok=True)
    attempt(PoolOptions(retries=2, pause=0.1))
    assert (tmp_path / "one/data/big").read_bytes() == (pgdata / "big").read_bytes()
    assert (tmp_path / "one/data/global/pg_control").exists()


def test_a_cancelled_copy_raises_and_leaves_no_rsync(shared_sshd: Sshd, pgdata: Path, tmp_path: Path) -> None:
    (pgdata / "big").write_bytes(os.urandom(5_000_000))
    plan = plan_for(pgdata, tmp_path / "one")
    plan = replace(plan, directories=tuple(replace(tree, bandwidth_limit=100) for tree in plan.directories))
    copier = Copier(ssh_host(shared_sshd.command), OPTIONS, MemoryReporter())
    threading.Timer(1.5, copier.cancel).start()
    with pytest.raises(BarmanError, match="cancelled"):
        copier.copy(plan)
    assert not (tmp_path / "one/data/global/pg_control").exists()


def test_a_host_without_gnu_find_is_listed_by_rsync(sshd: Sshd, pgdata: Path, tmp_path: Path) -> None:
    bin_directory = sshd.directory / "bin"
    bin_directory.mkdir()
    (bin_directory / "find").write_text('#!/bin/sh\necho "find: unrecognized: -printf" >&2\nexit 1\n')
    (bin_directory / "find").chmod(0o755)
    sshd.behave(f"PATH={bin_directory}:$PATH")
    sshd.restart()
    statistics = copy(ssh_host(sshd.command), pgdata, tmp_path / "one")
    assert statistics.transferred == 4
    again = copy(ssh_host(sshd.command), pgdata, tmp_path / "two", reference_to(tmp_path / "one", tmp_path / "two"))
    assert (again.reused, again.rsyncs) == (4, 0)


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


def back_up(pg: Cluster, host: Host, target: Path, reference: Path | None, begun: datetime | None) -> datetime:
    """What a backup does: begin, copy, end, label; returns when it began by the clock of the server."""
    connection = PostgresConnection(pg.conninfo)
    try:
        moment = connection.query("SELECT now(), pg_backup_start('x', true)")[0][0]
        plan = plan_copy(read_facts(connection), Places(f"{target}/data", lambda oid: f"{target}/{oid}"))
        source = None
        if reference is not None:
            trees = {
                tree.destination: tree.destination.replace(str(target), str(reference)) for tree in plan.directories
            }
            source = Reference("link", trees, begun)
        pg.sql("INSERT INTO busy SELECT generate_series(1, 20000)")
        Copier(host, OPTIONS, MemoryReporter()).copy(plan, [source] if source else [])
        pg.sql("INSERT INTO busy SELECT generate_series(1, 20000)")
        label = connection.query("SELECT labelfile FROM pg_backup_stop(false)")[0][0]
    finally:
        connection.close()
    (target / "data/backup_label").write_text(str(label))
    assert isinstance(moment, datetime)
    return moment


def start_copy(pg: Cluster, factory: ClusterFactory, backup: Path, oid: int) -> Cluster:
    """Start a copy of a backup with the WAL that the server still has."""
    place = factory.scratch()
    shutil.copytree(backup / "data", place / "data")
    shutil.copytree(backup / str(oid), place / "space")
    (place / f"data/pg_tblspc/{oid}").symlink_to(place / "space")
    for path in (pg.data / "pg_wal").iterdir():
        if path.is_file():
            shutil.copy2(path, place / "data/pg_wal" / path.name)
    (place / "data").chmod(0o700)
    give_to_server(place / "data")
    return factory.adopt(pg.version, place / "data")


def test_a_copy_of_a_running_cluster_starts_and_so_does_one_that_reuses_it(
    pg: Cluster, pg_factory: ClusterFactory, shared_sshd: Sshd, tmp_path: Path
) -> None:
    space = pg.data / "inside"
    space.mkdir()
    shutil.chown(space, pg.data.stat().st_uid, pg.data.stat().st_gid)
    pg.configure(wal_keep_size="1GB")
    pg.restart()
    pg.sql(f"CREATE TABLESPACE odd LOCATION '{space}'")
    pg.sql("CREATE TABLE busy (id int) TABLESPACE odd")
    pg.sql("CREATE TABLE still AS SELECT generate_series(1, 100000) AS id")
    pg.sql("CHECKPOINT")
    oid = int(pg.value("SELECT oid FROM pg_tablespace WHERE spcname = 'odd'"))
    host = ssh_host(shared_sshd.command)
    time.sleep(4)
    begun = back_up(pg, host, tmp_path / "one", None, None)
    back_up(pg, host, tmp_path / "two", tmp_path / "one", begun)
    host.close()
    assert not (tmp_path / "two/data/inside").exists()
    assert not list((tmp_path / "two/data/pg_tblspc").iterdir())
    linked = [path for path in (tmp_path / "two/data/base").rglob("*") if path.is_file() and path.stat().st_nlink > 1]
    assert len(linked) > 500
    shutil.rmtree(tmp_path / "one")
    pg.stop()
    restored = start_copy(pg, pg_factory, tmp_path / "two", oid)
    assert restored.value("SELECT count(*) FROM busy") == 80_000
    assert restored.value("SELECT sum(id) FROM still") == 5_000_050_000
