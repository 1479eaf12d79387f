"""Each way to set a server up, told from the page of docs/howto to the recovered cluster.

The configuration is the page's own, so a page that does not work fails here. Every story: set up, check, back up, go
on, lose the cluster, recover to a moment and to the last row, locally and onto the database host, compare the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from barman.fs.lock import FileLock
from tests.support.fix_hosts import BARMAN_USER, Page, TwoHosts
from tests.support.fix_postgres import ClusterFactory, require_version, wait_until
from tests.support.fix_sshd import USER as DATABASE_USER
from tests.support.fix_sshd import SshdFactory

Rows = list[tuple[int, str]]


@pytest.fixture(params=["15", "18"], ids=["pg15", "pg18"])
def set_up(request: pytest.FixtureRequest, pg_factory: ClusterFactory, sshd_factory: SshdFactory) -> Iterator[SetUp]:
    """Make a story of the page with a name."""
    version = str(request.param)
    require_version(version)
    started: list[TwoHosts] = []

    def follow(name: str, *, plain_rsync_on: str = "") -> Story:
        page = Page(name)
        hosts = TwoHosts(page, pg_factory.create(version), pg_factory, sshd_factory)
        started.append(hosts)
        return Story(hosts, pg_factory, page.blocks("conf")[1] if version == plain_rsync_on else "")

    yield follow
    for hosts in started:
        hosts.close()


class Story:
    """A server that was set up as a page says, and what was in its ledger when."""

    def __init__(self, hosts: TwoHosts, factory: ClusterFactory, archive_command: str) -> None:
        self.hosts = hosts
        self.pg = hosts.pg
        self.factory = factory
        self.moment = ""
        self.rows: Rows = []
        self.last_rows: Rows = []
        hosts.create_roles()
        hosts.configure_barman()
        hosts.barman("-q", "cron").ok()
        hosts.configure_postgresql(archive_command=archive_command)

    def check(self, *, backups: int = 1) -> None:
        """All lines that the page promises are there, and nothing is red but the missing first backup."""
        done = self.hosts.barman("check", "pg")
        assert done.err == ""
        lines = done.out.splitlines()[1:]
        red = [line.strip().partition(":")[0] for line in lines if ": OK" not in line]
        assert red == ([] if backups else ["minimum redundancy requirements"]), done
        promised = self.hosts.page.lines(r"\t.*: OK.*")
        assert promised == [line for line in lines if line in promised]
        assert len(promised) >= 5

    def tell(self, arrived: Callable[[str], object]) -> None:
        """Back up, note a moment, go on, and lose everything once the last segment has arrived."""
        pg = self.pg
        pg.create_ledger()
        pg.insert(20, "before the backup")
        pg.sql("CHECKPOINT")  # a spread one takes seconds
        self.hosts.barman("-q", "cron").ok()
        self.check(backups=0)
        done = self.hosts.barman("backup", "pg", "--wait").ok()
        assert "Backup completed" in done.out
        self.check()
        pg.insert(3, "until the moment")
        pg.switch_wal()
        self.moment = str(pg.insert(2, "at the moment"))
        self.rows = pg.ledger()
        pg.insert(5, "after the moment")
        name = pg.switch_wal()
        self.last_rows = pg.ledger()
        wait_until(lambda: arrived(name), f"{name} arrives")

    def is_archived(self, name: str) -> bool:
        """Whether archive_command ended with 0."""
        return bool(self.pg.value("SELECT last_archived_wal FROM pg_stat_archiver") == name)

    def is_received(self, name: str) -> bool:
        """Whether the receiver has completed a segment."""
        return name in self.hosts.files("streaming")

    def ledger_of(self, place: Path) -> Rows:
        """Start what was recovered, and read."""
        cluster = self.factory.adopt(self.pg.version, place)
        wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
        rows = cluster.ledger()
        cluster.stop("immediate")
        return rows

    def recover(self, place: Path, *options: str) -> None:
        self.hosts.barman("recover", *options, "pg", "latest", str(place)).ok()

    def recover_all(self) -> None:
        """To the moment and to the last row, here and onto the database host, all at once from the same backup.

        They meet an archiver that is at work: what has arrived must not be missing from what is recovered.
        """
        self.pg.destroy()
        there = ("--remote-ssh-command", self.hosts.adapted("ssh postgres@pg.example.com"))
        to_the_moment = ("--target-time", self.moment, "--target-action", "promote")
        expected: dict[Path, Rows] = {}
        with ThreadPoolExecutor() as threads:
            started = []
            with FileLock(str(self.hosts.home / ".pg-archive-wal.lock"), wait=True):
                for target, rows in ((to_the_moment, self.rows), ((), self.last_rows)):
                    for place, options in (
                        (self.hosts.home / f"restored{len(rows)}", target),
                        (self.factory.scratch() / "restored", (*there, *target)),
                    ):
                        expected[place] = rows
                        started.append(threads.submit(self.recover, place, *options))
                waiting = "Waiting for another archive-wal process of server pg"
                log = self.hosts.home / "barman.log"
                wait_until(lambda: log.read_text().count(waiting) == len(started), "all wait for the archiver", 60)
            for task in started:
                task.result()
        assert {len(rows) for rows in expected.values()} == {25, 30}
        for place, rows in expected.items():
            if place.parent != self.hosts.home:
                assert place.owner() == DATABASE_USER  # ready to be started as it is
            assert self.ledger_of(place) == rows, place


SetUp = Callable[..., Story]


def test_rsync_and_archive_command(set_up: SetUp) -> None:
    """On 15 with rsync as archive_command, which the page shows second."""
    story = set_up("rsync-and-archive-command", plain_rsync_on="15")
    story.tell(story.is_archived)
    story.recover_all()


def test_streaming_and_archive_command(set_up: SetUp) -> None:
    story = set_up("streaming-and-archive-command")
    story.tell(story.is_archived)
    story.recover_all()


def test_rsync_and_streaming(set_up: SetUp) -> None:
    story = set_up("rsync-and-streaming")
    story.tell(story.is_received)
    story.recover_all()


def test_both_archivers(set_up: SetUp) -> None:
    """Each segment comes twice and is archived once, without an error."""
    story = set_up("both-archivers")
    story.tell(lambda name: story.is_archived(name) and story.is_received(name))
    hosts = story.hosts
    twice = set(hosts.files("incoming")) & set(hosts.files("streaming"))
    assert len(twice) >= 2
    hosts.barman("-q", "cron").ok()
    wait_until(lambda: not hosts.files("incoming"), "cron has archived")
    late = str(story.pg.data / "pg_wal" / max(twice))
    again = ("barman-wal-archive", "-U", BARMAN_USER, "backup.example.com", "pg", late)
    hosts.run(*again, user=DATABASE_USER).ok()
    hosts.barman("archive-wal", "pg").ok()
    assert hosts.files("incoming") == []
    assert hosts.files("errors") == []
    listed = [line.split("\t")[0] for line in (hosts.home / "pg/wals/xlog.db").read_text().splitlines()]
    assert twice <= set(listed)
    assert len(listed) == len(set(listed))
    story.check()
    story.recover_all()
