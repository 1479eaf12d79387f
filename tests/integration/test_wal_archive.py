"""`barman-wal-archive` as archive_command of a real server, over a real sshd."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from tests.support.fix_postgres import Cluster, ClusterFactory, give_to_server, wait_until
from tests.support.fix_wal_clients import HOST, WalLink
from tests.support.wal_files import segment, segment_name


def start_archiving(link: WalLink, pg: Cluster, *options: str) -> Path:
    """Let a server archive over ssh; the directory where its WAL arrives."""
    link.home.add_server("pg", pg, archiver="on")
    link.barman("check", "pg")
    pg.configure(archive_mode="on", archive_command=link.archive_command(*options).replace("'", "''"))
    pg.restart()
    return link.home.path("pg", "incoming")


def wal_directory(link: WalLink, count: int, *, ready: int = 0) -> Path:
    """A pg_wal with sound segments, of which the first `ready` after the first are announced."""
    directory = link.directory / "pg_wal"
    (directory / "archive_status").mkdir(parents=True)
    for number in range(1, count + 1):
        (directory / segment_name(number)).write_bytes(segment(segment_name(number)))
        if number <= ready + 1:
            (directory / "archive_status" / f"{segment_name(number)}.ready").touch()
    for path in (directory, *directory.rglob("*")):
        os.chown(path, Path(link.sshd.identity).stat().st_uid, -1)
    return directory


@pytest.fixture
def incoming(wal_link: WalLink) -> Path:
    """Where WAL arrives of a server that exists only by name."""
    wal_link.home.add_server("pg", archiver="on", conninfo="host=/nonexistent")
    wal_link.home.path("pg", "incoming").mkdir(parents=True)
    wal_link.settle()
    return wal_link.home.path("pg", "incoming")


@pytest.mark.parametrize("options", [(), ("-p", "8"), ("--zstd",)], ids=["plain", "parallel", "zstd"])
def test_a_server_archives_over_ssh(pg: Cluster, wal_link: WalLink, options: tuple[str, ...]) -> None:
    cache = ("--prefetch-cache-dir", str(wal_link.cache)) if options[:1] == ("-p",) else ()
    if cache:
        wal_link.cache.mkdir(mode=0o700)
        os.chown(wal_link.cache, wal_link.sshd.identity.stat().st_uid, -1)
    start_archiving(wal_link, pg, *options, *cache)
    pg.create_ledger()
    names = []
    for _ in range(3):
        pg.insert(2)
        names.append(pg.switch_wal())
    wait_until(lambda: pg.value("SELECT last_archived_wal FROM pg_stat_archiver") == names[-1], "all is archived")
    assert pg.value("SELECT failed_count FROM pg_stat_archiver") == 0
    done = wal_link.barman("archive-wal", "pg").ok()
    for name in names:
        assert name in done.out
        sent = wal_link.home.run("get-wal", "-o", str(wal_link.home.directory), "pg", name).ok()
        assert sent.rc == 0
        assert (wal_link.home.directory / name).read_bytes()[:2] == b"\x10\xd1" or pg.major != 15


def test_a_backlog_goes_over_few_connections(newest_pg: Cluster, wal_link: WalLink) -> None:
    pg = newest_pg
    wal_link.cache.mkdir(mode=0o700)
    os.chown(wal_link.cache, wal_link.sshd.identity.stat().st_uid, -1)
    start_archiving(wal_link, pg, "-p", "20", "--prefetch-cache-dir", str(wal_link.cache))
    pg.create_ledger()
    pg.configure(archive_command="false")
    pg.reload()
    names = []
    for _ in range(12):
        pg.insert(1)
        names.append(pg.switch_wal())
    wal_link.sshd.stop()
    connections = wal_link.sshd.connections()
    wal_link.sshd.start()
    pg.configure(
        archive_command=wal_link.archive_command("-p", "20", "--prefetch-cache-dir", str(wal_link.cache)).replace(
            "'", "''"
        )
    )
    pg.reload()
    wait_until(lambda: pg.value("SELECT last_archived_wal FROM pg_stat_archiver") == names[-1], "all is archived", 120)
    assert wal_link.sshd.connections() - connections <= 4
    archived = wal_link.barman("archive-wal", "pg").ok().out
    assert all(name in archived for name in names)


def test_segments_go_along_and_are_not_sent_again(wal_link: WalLink, incoming: Path) -> None:
    directory = wal_directory(wal_link, 6, ready=3)
    options = ("-p", "10", "--prefetch-cache-dir", str(wal_link.directory / "pg_wal" / "cache"), HOST, "pg")
    assert wal_link.run("barman-wal-archive", *options, str(directory / segment_name(1))).ok().err == ""
    assert sorted(path.name for path in incoming.iterdir()) == [segment_name(number) for number in (1, 2, 3, 4)]
    wal_link.sshd.stop()
    for number in (2, 3, 4):
        wal_link.run("barman-wal-archive", *options, str(directory / segment_name(number))).ok()
    assert wal_link.run("barman-wal-archive", *options, str(directory / segment_name(5))).rc == 3


def test_nothing_is_skipped_by_the_order_of_names(wal_link: WalLink, incoming: Path) -> None:
    """The state of another cluster, or of later segments, says nothing about this file."""
    directory = wal_directory(wal_link, 4, ready=3)
    options = ("-p", "10", "--prefetch-cache-dir", str(wal_link.directory / "pg_wal" / "cache"), HOST, "pg")
    wal_link.run("barman-wal-archive", *options, str(directory / segment_name(1))).ok()
    other = segment(segment_name(2), seed=7, system_id=42)
    (directory / segment_name(2)).write_bytes(other)
    done = wal_link.run("barman-wal-archive", *options, str(directory / segment_name(2)))
    assert done.rc == 1
    assert "was refused" in done.err
    lower = directory / segment_name(0)
    lower.write_bytes(segment(segment_name(0)))
    lower.chmod(0o644)
    wal_link.run("barman-wal-archive", *options, str(lower)).ok()
    assert (incoming / segment_name(0)).read_bytes() == segment(segment_name(0))


def test_a_damaged_or_foreign_state_costs_a_transfer_only(wal_link: WalLink, incoming: Path) -> None:
    directory = wal_directory(wal_link, 3, ready=2)
    cache = wal_link.directory / "pg_wal" / "cache"
    options = ("-p", "10", "--prefetch-cache-dir", str(cache), HOST, "pg")
    wal_link.run("barman-wal-archive", *options, str(directory / segment_name(1))).ok()
    (state,) = cache.iterdir()
    for text in (b"", b"\xff\0garbage", state.read_bytes()[:-30], f"1 {segment_name(2)} {'0' * 64}\n".encode()):
        state.write_bytes(text)
        wal_link.run("barman-wal-archive", *options, str(directory / segment_name(2))).ok()
    assert (incoming / segment_name(2)).read_bytes() == segment(segment_name(2))


@pytest.mark.parametrize("bad", ["link", "open", "file"])
def test_a_state_directory_that_others_could_use_is_not_used(wal_link: WalLink, incoming: Path, bad: str) -> None:
    directory = wal_directory(wal_link, 3, ready=2)
    cache = wal_link.directory / "pg_wal" / "cache"
    if bad == "link":
        cache.symlink_to(wal_link.directory)
    elif bad == "open":
        cache.mkdir()
        os.chown(cache, directory.stat().st_uid, -1)
        cache.chmod(0o777)
    else:
        cache.write_text("")
    done = wal_link.run(
        "barman-wal-archive",
        "-p",
        "5",
        "--prefetch-cache-dir",
        str(cache),
        HOST,
        "pg",
        str(directory / segment_name(1)),
    ).ok()
    assert len(done.err.splitlines()) == 2
    assert [path.name for path in incoming.iterdir()] == [segment_name(1)]


@pytest.mark.parametrize("option", ["-z", "-j", "--xz", "--zstd", "--lz4", "--snappy"])
def test_what_is_compressed_here_is_stored_compressed(wal_link: WalLink, incoming: Path, option: str) -> None:
    directory = wal_directory(wal_link, 1)
    for _ in range(2):
        wal_link.run(
            "barman-wal-archive", option, "--compression-level", "low", HOST, "pg", str(directory / segment_name(1))
        ).ok()
    assert (incoming / segment_name(1)).stat().st_size < len(segment(segment_name(1)))
    wal_link.barman("archive-wal", "pg").ok()
    done = wal_link.home.run("get-wal", "-o", str(wal_link.home.directory), "pg", segment_name(1)).ok()
    assert done.rc == 0
    assert (wal_link.home.directory / segment_name(1)).read_bytes() == segment(segment_name(1))


def test_exit_codes_tell_what_failed(wal_link: WalLink, incoming: Path) -> None:
    directory = wal_directory(wal_link, 1)
    path = str(directory / segment_name(1))
    archive = "barman-wal-archive"
    assert wal_link.run(archive, "-t", HOST, "pg", "x").ok().out == "Ready to accept WAL files for the server pg\n"
    assert wal_link.run(archive, "-t", HOST, "other", "x").rc == 1
    assert wal_link.run(archive, HOST, "pg", str(directory)).rc == 2
    assert wal_link.run(archive, HOST, "pg", str(directory / "missing")).rc == 2
    assert wal_link.run(archive, HOST, "pg").rc == 2
    assert wal_link.run(archive, "-oProxyCommand=x", "pg", path).rc == 2
    done = wal_link.run(archive, HOST, "other", path)
    assert (done.rc, "Unknown server 'other'" in done.err) == (1, True)
    assert "ERROR: Remote 'barman put-wal' command has failed!" in done.err
    done = wal_link.run(archive, "--port", "1", HOST, "pg", path)
    assert done.rc == 3
    assert "ERROR: Connection problem with ssh" in done.err
    assert "Connection refused" in done.err
    wal_link.sshd.authorize("")
    assert wal_link.run(archive, HOST, "pg", path).rc == 3
    assert re.match(r"barman-wal-archive \d", wal_link.run(archive, "--version").out)
    assert list(incoming.iterdir()) == []


def test_a_changed_host_key_is_refused(wal_link: WalLink, incoming: Path) -> None:
    directory = wal_directory(wal_link, 1)
    wal_link.sshd.new_host_key()
    wal_link.sshd.restart()
    done = wal_link.run("barman-wal-archive", HOST, "pg", str(directory / segment_name(1)))
    assert done.rc == 3
    assert "verification failed" in done.err
    assert list(incoming.iterdir()) == []


def test_a_connection_cut_in_the_middle_stores_nothing_and_the_next_call_does(
    wal_link: WalLink, incoming: Path
) -> None:
    directory = wal_directory(wal_link, 1)
    path = str(directory / segment_name(1))
    wal_link.sshd.behave(
        f"PATH={wal_link.directory}:$PATH; export PATH; head -c 500000 | $SSH_ORIGINAL_COMMAND; kill -9 $PPID"
    )
    wal_link.sshd.restart()
    assert wal_link.run("barman-wal-archive", HOST, "pg", path).rc != 0
    assert list(incoming.iterdir()) == []
    wal_link.sshd.behave(f"PATH={wal_link.directory}:$PATH; export PATH")
    wal_link.sshd.restart()
    wal_link.run("barman-wal-archive", HOST, "pg", path).ok()
    assert (incoming / segment_name(1)).read_bytes() == segment(segment_name(1))


def test_noise_of_the_remote_shell_does_no_harm(wal_link: WalLink, incoming: Path) -> None:
    directory = wal_directory(wal_link, 1)
    wal_link.sshd.behave(
        f"PATH={wal_link.directory}:$PATH; export PATH; echo Welcome; echo hello >&2; head -c 300000 /dev/zero"
    )
    wal_link.sshd.restart()
    wal_link.run("barman-wal-archive", HOST, "pg", str(directory / segment_name(1))).ok()
    assert (
        hashlib.sha256((incoming / segment_name(1)).read_bytes()).digest()
        == hashlib.sha256(segment(segment_name(1))).digest()
    )


def test_what_is_stored_is_reported_before_the_connection_ends(wal_link: WalLink, incoming: Path) -> None:
    """The confirmation counts, as soon as it is there and however the connection ends after it."""
    directory = wal_directory(wal_link, 1)
    release = wal_link.directory / "release"
    wal_link.sshd.behave(
        f"PATH={wal_link.directory}:$PATH; export PATH; $SSH_ORIGINAL_COMMAND\n"
        f"while [ ! -e {release} ]; do sleep 0.1; done; exit 9"
    )
    wal_link.sshd.restart()
    wal_link.run("barman-wal-archive", HOST, "pg", str(directory / segment_name(1))).ok()
    assert not release.exists()
    assert (incoming / segment_name(1)).read_bytes() == segment(segment_name(1))
    release.touch()


def test_a_kept_connection_serves_the_next_calls(wal_link: WalLink, incoming: Path, tmp_path: Path) -> None:
    directory = wal_directory(wal_link, 5)
    runtime = wal_link.directory / "pg_wal" / "run"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, directory.stat().st_uid, -1)
    for number in range(1, 6):
        wal_link.run(
            "barman-wal-archive", "--keep-connection", "5", HOST, "pg", str(directory / segment_name(number)),
            env={"XDG_RUNTIME_DIR": str(runtime)},
        ).ok()  # fmt: skip
    assert wal_link.sshd.connections() == 1
    assert (runtime / "barman-ssh").stat().st_mode & 0o777 == 0o700
    assert len(list(incoming.iterdir())) == 5


def test_another_cluster_is_refused_and_its_server_told(
    pg_factory: ClusterFactory, newest_pg: Cluster, wal_link: WalLink
) -> None:
    start_archiving(wal_link, newest_pg)
    newest_pg.create_ledger()
    newest_pg.insert(1)
    name = newest_pg.switch_wal()
    wait_until(lambda: newest_pg.value("SELECT last_archived_wal FROM pg_stat_archiver") == name, "it is archived")
    other = pg_factory.create(newest_pg.version, fresh=True, settings={
        "archive_mode": "on", "archive_command": wal_link.archive_command(),
    })  # fmt: skip
    give_to_server(other.data)
    other.create_ledger()
    other.switch_wal()
    wait_until(lambda: other.value("SELECT failed_count FROM pg_stat_archiver") > 0, "it is refused")
    assert other.value("SELECT archived_count FROM pg_stat_archiver") == 0
    assert "was refused" in other.log_text()
    assert "archiver errors: FAILED" in wal_link.barman("check", "pg").out
