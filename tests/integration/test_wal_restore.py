"""`barman-wal-restore` as restore_command of a recovering server, over a real sshd and its bad days."""

from __future__ import annotations

import contextlib
import functools
import gzip
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from barman.clients.recovery import STOP
from barman.fs.lock import who_holds
from tests.support.fix_postgres import (
    VERSIONS,
    BarmanHome,
    Cluster,
    ClusterFactory,
    find_bindirs,
    require_version,
    wait_until,
)
from tests.support.fix_sshd import SshdFactory
from tests.support.fix_upstream import find_upstream
from tests.support.fix_wal_clients import HOST, WalLink
from tests.support.wal_files import HISTORY, SYSTEM_ID, drop, segment, segment_name

# -- recoveries

BEYOND = segment_name(60)
"""A segment after the position where timeline 2 left timeline 1: nothing says that there should be one."""


class Lost:
    """A cluster of one version that was backed up, wrote on, and is lost: what its Barman host has, and its rows.

    Made once for the whole module: the tests get copies.
    """

    def __init__(self, version: str, directory: Path) -> None:
        self.version = version
        self.kept = directory / "kept"
        with contextlib.ExitStack() as stack:
            servers, factory, home = SshdFactory(), ClusterFactory(), BarmanHome(directory)
            for part in (home, factory, servers):
                stack.callback(part.close)
            link = WalLink(factory.scratch(), home, servers.create())
            pg = factory.create(version)
            self.bindir = pg.bindir
            self.rows = self._write(link, pg)
            pg.destroy()
            home.home.rename(self.kept)

    def _write(self, link: WalLink, pg: Cluster) -> list[tuple[int, str]]:
        link.home.add_server("pg", pg, archiver="on", compression="gzip")
        link.barman("check", "pg")
        pg.configure(archive_mode="on", archive_command=link.archive_command())
        pg.restart()
        pg.create_ledger()
        link.barman("switch-wal", "--force", "--archive", "pg").ok()
        link.barman("backup", "pg", "--wait").ok()
        for _ in range(5):
            pg.insert(2)
            wal = pg.switch_wal()
        wait_until(lambda: pg.value("SELECT last_archived_wal FROM pg_stat_archiver") == wal, "all is archived")
        link.barman("archive-wal", "pg").ok()
        return pg.ledger()


class Story:
    """The archive of a lost cluster on a Barman host."""

    def __init__(self, link: WalLink, lost: Lost, factory: ClusterFactory) -> None:
        self.link = link
        self.factory = factory
        self.version = lost.version
        self.rows = lost.rows
        shutil.copytree(lost.kept, link.home.home, symlinks=True, dirs_exist_ok=True)
        gone = "host=/nonexistent user=barman dbname=postgres"
        link.home.add_server(
            "pg", conninfo=gone, streaming_conninfo=gone, path_prefix=lost.bindir, archiver="on", compression="gzip"
        )
        link.settle()

    def recover(self, *options: str, standby: bool = False) -> Cluster:
        """Restore the backup and start a server on it that gets its WAL over ssh."""
        destination = self.factory.scratch() / "restored"
        more = ["--standby-mode"] if standby else []
        self.link.barman("restore", "--get-wal", *more, "pg", "latest", str(destination)).ok()
        cluster = self.factory.adopt(
            self.version, destination, start=False, settings={"restore_command": self.link.restore_command(*options)}
        )
        cluster.start(wait=False)
        return cluster


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Lost]:
    return functools.cache(lambda version: Lost(version, tmp_path_factory.mktemp("lost")))


@pytest.fixture(params=VERSIONS, ids=[f"pg{version}" for version in VERSIONS])
def story(
    request: pytest.FixtureRequest, lost: Callable[[str], Lost], wal_link: WalLink, pg_factory: ClusterFactory
) -> Story:
    require_version(str(request.param))
    return Story(wal_link, lost(str(request.param)), pg_factory)


@pytest.fixture
def newest_story(lost: Callable[[str], Lost], wal_link: WalLink, pg_factory: ClusterFactory) -> Story:
    installed = [version for version in VERSIONS if version in find_bindirs()]
    return Story(wal_link, lost(installed[-1] if installed else VERSIONS[-1]), pg_factory)


def is_recovered(cluster: Cluster) -> bool:
    assert cluster.is_running, cluster.log_text()[-3000:]
    return answers(cluster) and not cluster.value("SELECT pg_is_in_recovery()")


def answers(cluster: Cluster) -> bool:
    try:
        cluster.value("SELECT 1")
    except psycopg2.Error:
        return False
    return True


def has_promoted(cluster: Cluster) -> bool:
    return (cluster.data / "pg_wal" / "00000002.history").exists() or "archive recovery complete" in cluster.log_text()


@pytest.mark.parametrize("options", [(), ("-p", "4")], ids=["serial", "prefetch"])
def test_a_server_recovers_over_ssh(story: Story, options: tuple[str, ...]) -> None:
    cluster = story.recover(*options)
    wait_until(lambda: is_recovered(cluster), "it is recovered", 60)
    assert cluster.ledger() == story.rows
    assert not [path.name for path in (cluster.data / "pg_wal").iterdir() if path.name.endswith(".tmp")]


def test_a_recovering_server_whose_link_dies_never_promotes_and_finishes_when_it_returns(newest_story: Story) -> None:
    story = newest_story
    story.link.sshd.stop()
    cluster = story.recover("--retry-timeout", "120")
    wait_until(lambda: "cannot get WAL file" in cluster.log_text(), "it asks in vain")
    time.sleep(3)
    assert cluster.is_running, cluster.log_text()
    assert not has_promoted(cluster)
    story.link.sshd.start()
    wait_until(lambda: is_recovered(cluster), "it is recovered", 60)
    assert cluster.ledger() == story.rows


def test_when_patience_ends_the_server_stops_and_can_be_started_again(newest_story: Story) -> None:
    story = newest_story
    story.link.sshd.authorize("")
    cluster = story.recover("--retry-timeout", "1")
    process = cluster.process
    assert process is not None
    wait_until(lambda: process.poll() is not None, "the server stops", 60)
    assert not has_promoted(cluster)
    assert (cluster.data / "recovery.signal").exists()
    cluster.stop()
    story.link.sshd.authorize()
    cluster.start(wait=False)
    wait_until(lambda: is_recovered(cluster), "it is recovered", 60)
    assert cluster.ledger() == story.rows


@pytest.mark.parametrize("sickness", ["hole", "damage", "unmounted", "unknown server"])
def test_a_sick_archive_is_not_the_end_of_the_wal(newest_story: Story, sickness: str) -> None:
    story = newest_story
    archive = story.link.home.path("pg", "wals")
    names = sorted(path for path in archive.rglob("0*") if len(path.name) == 24)
    victim, backup = names[-2], names[-2].read_bytes()
    if sickness == "hole":
        victim.unlink()
    elif sickness == "damage":
        victim.write_bytes(backup[: len(backup) // 2])
    elif sickness == "unmounted":
        archive.rename(archive.with_name("elsewhere"))
    else:
        story.link.barman("check", "pg")
    destination = story.factory.scratch() / "restored"
    if sickness == "unmounted":
        archive.with_name("elsewhere").rename(archive)
    story.link.barman("restore", "--get-wal", "pg", "latest", str(destination))
    if not (destination / "PG_VERSION").exists():
        # A restore that sees the sickness refuses: let it see a healthy archive.
        victim.write_bytes(backup)
        story.link.settle()
        story.link.barman("restore", "--get-wal", "pg", "latest", str(destination)).ok()
        if sickness == "hole":
            victim.unlink()
        elif sickness == "damage":
            victim.write_bytes(backup[: len(backup) // 2])
    if sickness == "unmounted":
        archive.rename(archive.with_name("elsewhere"))
    server = "other" if sickness == "unknown server" else "pg"
    cluster = story.factory.adopt(
        story.version,
        destination,
        start=False,
        settings={"restore_command": story.link.restore_command("--retry-timeout", "1", server=server)},
    )
    cluster.start(wait=False)
    process = cluster.process
    assert process is not None
    wait_until(lambda: process.poll() is not None, "the server stops", 60)
    assert not has_promoted(cluster)


def test_a_standby_goes_on_without_its_archive(newest_story: Story) -> None:
    story = newest_story
    cluster = story.recover(standby=True)
    wait_until(lambda: answers(cluster) and cluster.ledger() == story.rows, "it has everything", 60)
    story.link.sshd.stop()
    before = cluster.log_text().count("cannot get WAL file")
    wait_until(lambda: cluster.log_text().count("cannot get WAL file") > before + 1, "it asks in vain", 60)
    assert cluster.is_running
    assert cluster.value("SELECT pg_is_in_recovery()")


# -- calls


class Desk:
    """A data directory that asks for WAL, and an archive of sound segments."""

    def __init__(self, link: WalLink, directory: Path) -> None:
        self.link = link
        self.home = link.home
        link.home.add_server("pg", archiver="on", conninfo="host=/nonexistent")
        for name in ("wals", "incoming", "streaming", "errors", "meta", "base"):
            link.home.path("pg", name).mkdir(parents=True)
        for number in range(1, 9):
            drop(str(link.home.path("pg", "incoming")), segment_name(number))
        drop(str(link.home.path("pg", "incoming")), "00000002.history", HISTORY)
        link.barman("archive-wal", "pg").ok()
        self.data = directory / "data"
        (self.data / "pg_wal").mkdir(parents=True)
        (self.data / "global").mkdir()
        (self.data / "global" / "pg_control").write_bytes(struct.pack("=Q", SYSTEM_ID) + bytes(100))
        self.owner = link.sshd.identity.stat().st_uid
        self.give(self.data)
        self.destination = self.data / "pg_wal" / "RECOVERYXLOG"

    def give(self, path: Path) -> None:
        for entry in (path, *path.rglob("*")):
            os.chown(entry, self.owner, -1, follow_symlinks=False)

    def ask(self, name: str, *options: str, server: str = "pg", **more: Any) -> Any:
        arguments = ["--spool-dir", str(self.link.spool), *options, HOST, server, name, "pg_wal/RECOVERYXLOG"]
        return self.link.run("barman-wal-restore", *arguments, cwd=self.data, **more)

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.data / "pg_wal").iterdir())

    def spooled(self) -> list[str]:
        return sorted(path.name for path in self.link.spool.rglob("0000*"))

    def reads_ahead(self) -> bool:
        return any(who_holds(str(lock)) is not None for lock in self.link.spool.rglob(".lock"))


@pytest.fixture
def desk(wal_link: WalLink, pg_factory: ClusterFactory) -> Desk:
    return Desk(wal_link, pg_factory.scratch())


def test_a_file_arrives_whole_and_alone(desk: Desk) -> None:
    for name, content in ((segment_name(1), segment(segment_name(1))), ("00000002.history", HISTORY)):
        desk.ask(name).ok()
        assert desk.destination.read_bytes() == content
        assert desk.left() == ["RECOVERYXLOG"]


def test_stored_compression_is_undone_here_if_asked_for(desk: Desk) -> None:
    path = desk.home.path("pg", "wals", "0000000100000000", segment_name(2))
    path.write_bytes(gzip.compress(path.read_bytes(), 1))
    desk.ask(segment_name(2), "--keep-compression").ok()
    assert desk.destination.read_bytes() == segment(segment_name(2))
    done = desk.ask(segment_name(2), "-z").ok()
    assert "WARNING" in done.out
    assert desk.destination.read_bytes() == segment(segment_name(2))
    assert desk.left() == ["RECOVERYXLOG"]
    assert desk.ask(segment_name(2), "-z", "-j").rc == 2


@pytest.mark.parametrize(("signal_file", "failure"), [("", 0), ("standby.signal", 1), ("recovery.signal", STOP)])
def test_exit_codes_depend_on_who_asks(desk: Desk, signal_file: str, failure: int) -> None:
    """1 is the end of the WAL, in every mode; a failure never looks like it in archive recovery."""
    if signal_file:
        (desk.data / signal_file).touch()

    def code(plain: int) -> int:
        return {0: plain, 1: 1}.get(failure, STOP + plain)

    quick = ("--retry-timeout", "0")
    assert desk.ask(segment_name(1), *quick).rc == 0
    desk.destination.unlink()
    assert desk.ask(BEYOND, *quick).rc == 1
    assert desk.ask("00000003.history", *quick).rc == 1
    assert desk.ask("nonsense", *quick).rc == code(3)
    assert desk.ask(segment_name(1), *quick, server="other").rc == code(1)
    assert desk.ask(segment_name(1), *quick, "--port", "1").rc == code(2)
    assert desk.ask(segment_name(1), *quick, "--no-such-option").rc == code(2)
    # Reading ahead changes nothing about it.
    ahead = ("-p", "2", *quick)
    assert desk.ask(BEYOND, *ahead).rc == 1
    assert desk.ask(segment_name(1), *ahead, server="other").rc == code(1)
    assert desk.ask(segment_name(1), *ahead, "--port", "1").rc == code(2)
    desk.home.path("pg", "wals", "0000000100000000", segment_name(3)).unlink()
    assert desk.ask(segment_name(3), *quick).rc == code(4)
    assert desk.ask(segment_name(3), *ahead).rc == code(4)
    desk.home.path("pg", "wals", "0000000100000000", segment_name(4)).write_bytes(b"short")
    assert desk.ask(segment_name(4), *quick).rc == code(4)
    assert desk.left() == []
    desk.destination.mkdir()
    assert desk.ask(segment_name(1), *quick).rc == code(3)
    if not failure:
        assert desk.ask("dummy", "-t").out == "Ready to retrieve WAL files from the server pg\n"


def test_a_stream_that_is_cut_leaves_nothing(desk: Desk) -> None:
    desk.link.sshd.behave(
        f"PATH={desk.link.directory}:$PATH; export PATH; $SSH_ORIGINAL_COMMAND | head -c 300000; kill -9 $PPID"
    )
    desk.link.sshd.restart()
    assert desk.ask(segment_name(1)).rc == 2
    assert desk.left() == []
    # And one whose end nobody reports: the status is 0, the bytes are too few.
    desk.link.sshd.behave(
        f"PATH={desk.link.directory}:$PATH; export PATH; eval $SSH_ORIGINAL_COMMAND | head -c 300000; exit 0"
    )
    desk.link.sshd.restart()
    done = desk.ask(segment_name(1))
    assert done.rc == 4, done.err
    assert desk.left() == []


def test_the_next_segments_are_fetched_ahead_and_served_without_a_connection(desk: Desk) -> None:
    desk.ask(segment_name(1), "-p", "4").ok()
    wait_until(lambda: desk.spooled() == [segment_name(number) for number in (2, 3, 4, 5)], "they are there")
    desk.link.sshd.stop()
    for number in (2, 3, 4, 5):
        desk.ask(segment_name(number), "-p", "4").ok()
        assert desk.destination.read_bytes() == segment(segment_name(number))
    assert desk.ask(segment_name(9)).rc == 2


def test_one_connection_brings_what_a_recovery_asks_for(desk: Desk) -> None:
    """It goes on reading ahead when the call that made it has ended, and no file in the spool is half."""
    connections = desk.link.sshd.connections()
    for number in range(1, 9):
        desk.ask(segment_name(number), "-p", "3").ok()
        assert desk.destination.read_bytes() == segment(segment_name(number))
        for path in desk.link.spool.rglob("0000*"):
            assert path.read_bytes() == segment(path.name)
        assert set(desk.spooled()) <= {segment_name(number + ahead) for ahead in (1, 2, 3)}
        # After the last one somebody looks whether there is more by now.
        assert number == 8 or desk.link.sshd.connections() == connections + 1
    wait_until(lambda: not desk.reads_ahead(), "it is seen that there is no more")
    # What is compressed in the archive comes as it is stored, and is a plain segment in the spool.
    path = desk.home.path("pg", "wals", "0000000100000000", segment_name(2))
    path.write_bytes(gzip.compress(path.read_bytes(), 1))
    desk.ask(segment_name(1), "-p", "1", "--keep-compression").ok()
    wait_until(lambda: desk.spooled() == [segment_name(2)], "it is there")
    assert next(desk.link.spool.rglob("0000*2")).read_bytes() == segment(segment_name(2))


def test_whoever_reads_ahead_goes_when_it_is_waited_for_in_vain(desk: Desk) -> None:
    """A recovery that begins again, or a spool that was cleared: nobody waits for a segment that does not come."""
    desk.ask(segment_name(1), "-p", "2").ok()
    (lock,) = desk.link.spool.rglob(".lock")
    ahead = [segment_name(2), segment_name(3)]
    wait_until(lambda: desk.spooled() == ahead, "they are there")
    assert desk.reads_ahead()
    lock.with_name(ahead[0]).unlink()
    wait_until(lambda: not desk.reads_ahead(), "nobody reads ahead", 15)
    for number in (2, 3, 4, 1, 2):
        desk.ask(segment_name(number), "-p", "2").ok()
        assert desk.destination.read_bytes() == segment(segment_name(number))


def test_a_series_that_is_cut_brings_whole_segments_only(desk: Desk) -> None:
    for cut in (300_000, 2_500_000):
        once = desk.home.directory / f"cut-at-{cut}"
        desk.link.sshd.behave(
            f'PATH={desk.link.directory}:$PATH; export PATH\ncase "$SSH_ORIGINAL_COMMAND" in\n'
            f'*--following*) mkdir {once} || exit 3; eval "$SSH_ORIGINAL_COMMAND" | head -c {cut}; exit 0;;\nesac'
        )
        desk.link.sshd.restart()
        done = desk.ask(segment_name(1), "-p", "4")
        wait_until(lambda: not desk.reads_ahead(), "whoever read ahead is gone")
        whole = [segment_name(2)] if cut > 2_000_000 else []
        assert (done.rc, desk.spooled()) == (0 if whole else 4, whole), done.err
        assert not list(desk.link.spool.rglob(".*.tmp"))
        assert desk.left() == (["RECOVERYXLOG"] if whole else [])
    assert next(desk.link.spool.rglob("0000*")).read_bytes() == segment(segment_name(2))
    assert desk.destination.read_bytes() == segment(segment_name(1))


def test_the_original_on_the_barman_host_serves_our_client(desk: Desk) -> None:
    """It knows no series: then each segment is fetched by itself, ahead all the same."""
    original = find_upstream()
    assert original is not None
    (desk.link.directory / "barman").write_text(f'#!/bin/sh\nexec {original} -c {desk.home.config_file} "$@"\n')
    desk.ask(segment_name(1), "-p", "2").ok()
    assert desk.destination.read_bytes() == segment(segment_name(1))
    wait_until(lambda: desk.spooled() == [segment_name(2), segment_name(3)], "they are there", 60)
    desk.ask(segment_name(2), "-p", "2").ok()
    assert desk.destination.read_bytes() == segment(segment_name(2))
    assert desk.ask(BEYOND, "-p", "2").rc == 1
    assert desk.left() == ["RECOVERYXLOG"]


def test_the_spool_is_filled_up_while_the_recovery_goes_on(desk: Desk) -> None:
    for number in range(1, 9):
        desk.ask(segment_name(number), "-p", "3").ok()
        assert desk.destination.read_bytes() == segment(segment_name(number))
    assert desk.ask(BEYOND, "-p", "3").rc == 1
    # A recovery that begins again, or elsewhere, is served as well.
    for number in (2, 3, 7, 8, 1):
        desk.ask(segment_name(number), "-p", "3").ok()
        assert desk.destination.read_bytes() == segment(segment_name(number))


@pytest.mark.parametrize("content", [b"", segment(segment_name(2))[:99999], segment(segment_name(3)),
                                     segment(segment_name(2), system_id=42), b"\0" * (1 << 20)])  # fmt: skip
def test_a_spooled_file_that_is_not_whole_or_not_ours_is_never_served(desk: Desk, content: bytes) -> None:
    desk.ask(segment_name(1), "-p", "1").ok()
    wait_until(lambda: desk.spooled() == [segment_name(2)], "it is there")
    (path,) = desk.link.spool.rglob(segment_name(2))
    path.write_bytes(content)
    (desk.link.spool / segment_name(2)).write_bytes(content)
    desk.ask(segment_name(2)).ok()
    assert desk.destination.read_bytes() == segment(segment_name(2))


def test_what_another_program_spooled_is_taken_if_it_is_sound(desk: Desk) -> None:
    desk.link.spool.mkdir()
    (desk.link.spool / segment_name(1)).write_bytes(segment(segment_name(1)))
    desk.give(desk.link.spool)
    desk.link.sshd.stop()
    desk.ask(segment_name(1)).ok()
    assert desk.destination.read_bytes() == segment(segment_name(1))


def test_a_spool_that_cannot_be_used_costs_speed_only(desk: Desk) -> None:
    desk.link.spool.mkdir()
    desk.link.spool.chmod(0o777)
    desk.give(desk.link.spool)
    done = desk.ask(segment_name(1), "-p", "4").ok()
    assert "WARNING" in done.err
    assert desk.destination.read_bytes() == segment(segment_name(1))


def test_an_unfinished_segment_is_given_only_if_asked_for(desk: Desk) -> None:
    drop(str(desk.home.path("pg", "streaming")), f"{BEYOND}.partial", segment(BEYOND))
    desk.link.settle()
    assert desk.ask(BEYOND).rc == 1
    desk.ask(BEYOND, "-P", "-p", "4").ok()
    assert desk.destination.read_bytes() == segment(BEYOND)
    assert desk.spooled() == []


def test_leftovers_of_killed_calls_are_swept(desk: Desk) -> None:
    leftover = desk.data / "pg_wal" / ".RECOVERYXLOG.4194999.tmp"
    leftover.write_bytes(b"half")
    desk.give(desk.data)
    desk.ask(segment_name(1)).ok()
    assert desk.left() == ["RECOVERYXLOG"]
