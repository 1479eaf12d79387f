"""The lines of `check`, side by side with the original: the same names in the same order with the same verdicts.

What may differ is written down for each state: lines that only one of the programs prints, and why. Hints of the
original are repeated, with more behind them where something fails. `backup` is refused in the same states.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fix_hosts import DATABASE_USER, Page, TwoHosts
from tests.support.fix_postgres import Cluster, ClusterFactory, wait_until
from tests.support.fix_sshd import SshdFactory
from tests.support.fix_upstream import INACTIVE_SERVER, Upstream, own_environment, write_config

Lines = list[tuple[str, str, str]]

# The original demands that host keys of unknown hosts are taken unseen; ours are verified.
UNVERIFIED = " -o StrictHostKeyChecking=no"


def lines_of(text: str) -> Lines:
    """Name, verdict and hint of each line."""
    found = [re.match(r"\t([^\t].*?): (OK|FAILED)(?: \((.*)\))?$", line) for line in text.splitlines()]
    return [(match[1], match[2], match[3] or "") for match in found if match]


def assert_same(theirs: Lines, ours: Lines, only_theirs: str = "", only_ours: str = "") -> None:
    """`only_…` names the lines that one program prints or colours differently on purpose, separated by commas."""
    apart = {name for name in (*only_theirs.split(", "), *only_ours.split(", ")) if name}
    assert [line[:2] for line in theirs if line[0] not in apart] == [line[:2] for line in ours if line[0] not in apart]
    for program, names in ((theirs, only_theirs), (ours, only_ours)):
        for name in filter(None, names.split(", ")):
            assert name in [line[0] for line in program]
    hints = {name: hint for name, _, hint in ours}
    for name, verdict, hint in theirs:
        if name in apart or name == "archiver errors":
            continue  # kinds come in the order of the directory
        if name == "streaming WALs directory":
            continue  # 3.19 always counts one less
        if hints[name] == "cannot connect to PostgreSQL":
            continue  # the original says that the slot is missing, which nobody could look up
        expected = hint.replace(UNVERIFIED, "")
        assert hints[name] == expected or (verdict == "FAILED" and expected in hints[name]), name


class Both:
    """Both programs on the two hosts of a page, each as the Barman user."""

    def __init__(self, hosts: TwoHosts, program: str) -> None:
        self.hosts = hosts
        ours = (hosts.bin / "barman").read_text()
        theirs = re.sub(r"PYTHONPATH=\S+", "-u PYTHONPATH", ours)
        (hosts.bin / "theirs").write_text(re.sub(r"\S+ -m barman ", f"{program} ", theirs))
        (hosts.bin / "theirs").chmod(0o755)
        hosts.create_roles()
        hosts.configure_barman()
        hosts.configure_postgresql()

    def compare(self, only_theirs: str = "", only_ours: str = "", *, refused: bool | None = None) -> dict[str, str]:
        """Compare the lines, and whether both refuse a backup; our failing lines with their hints."""
        theirs = lines_of(self.hosts.run("theirs", "check", "pg").out)
        ours = lines_of(self.hosts.barman("check", "pg").out)
        assert len(theirs) > 5
        assert_same(theirs, ours, only_theirs, only_ours)
        if refused:
            for program in ("theirs", "barman"):
                done = self.hosts.run(program, "backup", "pg")
                assert done.rc == 1
                assert "Impossible to start the backup" in done.err
        return {name: hint for name, verdict, hint in ours if verdict == "FAILED"}

    def edit(self, **options: str) -> None:
        path = self.hosts.directory / "barman.d" / "pg.conf"
        kept = [line for line in path.read_text().splitlines() if line.partition(" = ")[0] not in options]
        path.write_text("\n".join([*kept, *(f"{name} = {value}" for name, value in options.items())]) + "\n")


@pytest.fixture
def both(
    newest_pg: Cluster, pg_factory: ClusterFactory, sshd_factory: SshdFactory, upstream_program: str
) -> Iterator[Callable[[str], Both]]:
    started: list[TwoHosts] = []

    def follow(page: str) -> Both:
        started.append(TwoHosts(Page(page), newest_pg, pg_factory, sshd_factory))
        return Both(started[-1], upstream_program)

    yield follow
    for hosts in started:
        hosts.close()


def test_a_server_with_rsync_and_archive_command(both: Callable[[str], Both]) -> None:
    programs = both("rsync-and-archive-command")
    hosts, pg = programs.hosts, programs.hosts.pg
    pg.sql("CHECKPOINT")
    hosts.barman("backup", "pg", "--wait").ok()
    assert programs.compare() == {}

    refused = hosts.home / "pg" / "errors"
    for kind in ("duplicate", "unknown", "error"):
        (refused / f"file.20261122T101010Z.{kind}").touch()
    red = programs.compare()
    assert sorted(red["archiver errors"].split(", ")) == ["duplicates: 1", "not relevant: 1", "unknown: 1"]
    shutil.rmtree(refused)

    hosts.database_host.authorize("")
    assert set(programs.compare(refused=True)) == {"ssh"}
    hosts.database_host.authorize()
    hosts.database_host.behave("echo Welcome")
    hosts.database_host.restart()
    assert set(programs.compare(refused=True)) == {"ssh output clean"}
    del hosts.database_host.settings["ForceCommand"]
    hosts.database_host.restart()

    hosts.barman_host.stop()
    pg.switch_wal()
    wait_until(lambda: pg.value("SELECT failed_count FROM pg_stat_archiver"), "archiving fails")
    assert set(programs.compare(refused=True)) == {"continuous archiving"}
    pg.configure(archive_command="(disabled)")
    pg.reload()
    assert set(programs.compare()) == {"archive_command"}

    pg.stop()
    label = pg.data / "backup_label"
    label.touch()
    if os.geteuid() == 0:
        shutil.chown(label, DATABASE_USER)
    assert set(programs.compare(refused=True)) == {"PostgreSQL", "backup_label"}


def test_a_server_with_both_archivers(both: Callable[[str], Both]) -> None:
    programs = both("both-archivers")
    hosts, pg = programs.hosts, programs.hosts.pg
    # Ours creates the slot when it starts the receiver, as create_slot = auto says.
    assert set(programs.compare("replication slot")) == {"minimum redundancy requirements", "receive-wal running"}
    hosts.barman("-q", "cron").ok()
    wait_until(lambda: pg.value("SELECT bool_or(active) FROM pg_replication_slots"), "the receiver is connected")
    assert set(programs.compare()) == {"minimum redundancy requirements"}

    programs.edit(max_incoming_wals_queue="1")
    names = [pg.switch_wal() for _ in range(3)]
    wait_until(lambda: names[-1] in hosts.files("incoming"), "WAL is handed over")
    wait_until(lambda: names[-1] in hosts.files("streaming"), "WAL is received")
    assert set(programs.compare()) >= {"incoming WALs directory", "streaming WALs directory"}
    programs.edit(max_incoming_wals_queue="0")
    hosts.barman("archive-wal", "pg").ok()
    assert set(programs.compare()) == {"minimum redundancy requirements"}
    programs.edit(max_incoming_wals_queue="100")

    # A client may be right although the replication connection is refused: the version is known from the other one.
    pg.sql("ALTER ROLE streaming_barman NOREPLICATION")
    red = programs.compare("pg_basebackup compatible, pg_receivexlog compatible", refused=True)
    assert "PostgreSQL streaming" in red
    pg.sql("ALTER ROLE streaming_barman REPLICATION")
    pg.sql("REVOKE EXECUTE ON FUNCTION pg_backup_start(text, boolean) FROM barman")
    assert "no access to backup functions" in programs.compare(refused=True)

    hosts.barman("terminate-process", "pg", "receive-wal").ok()
    os.utime(hosts.home / ".pg-cron.lock", (1, 1))  # cron has not run for long
    assert {"replication slot", "receive-wal running"} <= set(programs.compare(refused=True))
    pg.stop()
    red = programs.compare()
    assert {"PostgreSQL", "pg_basebackup compatible", "pg_receivexlog compatible"} <= set(red)


A, B, C = (f"00000001000000000000000{letter}" for letter in "ABC")


def test_queues(tmp_path: Path, upstream_program: str) -> None:
    """What waits is told in the same order of lines. What counts is what 3.20 counts; the original here is 3.19."""
    home = str(tmp_path)
    for source, other in (("archiver", "streaming_archiver"), ("streaming_archiver", "archiver")):
        options = {**INACTIVE_SERVER, source: "on", other: "off", "max_incoming_wals_queue": "0"}
        upstream = Upstream(upstream_program, write_config(home, {"pg": options}))
        for names in ((A,), (A, B), (f"{C}.partial",), (f"{C}.tmp", f".{C}"), (A, B, f"{C}.partial")):
            for queue in ("incoming", "streaming"):
                directory = tmp_path / "pg" / queue
                shutil.rmtree(directory, ignore_errors=True)
                directory.mkdir(parents=True)
                for name in names:
                    (directory / name).touch()
            theirs = lines_of(upstream.run("check", "pg", check=False).out)
            ours = lines_of(run_ours(upstream.config_file))
            only_theirs, only_ours = "WAL archive", ""
            if names == (A,):  # a segment that nobody archives is the beginning of a hole
                only_ours = "empty streaming directory" if source == "archiver" else "streaming WALs directory"
            if names == (f"{C}.partial",):
                only_theirs += ", incoming WALs directory" if source == "archiver" else ", empty incoming directory"
            if len(names) == 3 and source == "archiver":
                only_theirs, only_ours = f"{only_theirs}, incoming WALs directory", "incoming WALs directory"
            assert_same(theirs, ours, only_theirs, only_ours)


def run_ours(config_file: str) -> str:
    import subprocess
    import sys

    from tests.support.fix_postgres import REPOSITORY

    argv = [sys.executable, "-m", "barman", "-c", config_file, "check", "pg"]
    environment = own_environment(PYTHONPATH=str(REPOSITORY), HOME=os.path.dirname(config_file))
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=environment).stdout
