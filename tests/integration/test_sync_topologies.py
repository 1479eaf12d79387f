"""Passive nodes in every arrangement, and on their bad days: several backup homes on one machine, over a real ssh."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from configparser import ConfigParser

import pytest

from tests.support import needs
from tests.support.fix_homes import OURS, ActiveServer, Home, Homes
from tests.support.fix_hosts import Page
from tests.support.fix_postgres import ClusterFactory, Completed, wait_until

IDS = ("20261120T100000", "20261120T110000", "20261121T100000")
NOWHERE = {"conninfo": "host=/nowhere", "streaming_conninfo": "host=/nowhere", "archiver": "on"}
SLOW = {"bandwidth_limit": "700", "basebackup_retry_sleep": "0"}


def follow_page(passive: Home, primary: Home, page: str, **options: str) -> None:
    """Configure the server `pg` of a passive node as a page of docs/howto does."""
    parser = ConfigParser(interpolation=None)
    parser.read_string(Page(page).blocks("ini")[0])
    shown = dict(parser["pg"])
    assert shown.pop("primary_ssh_command").startswith("ssh barman@backup-")
    passive.follow(primary, "pg", **{**shown, **options})


def assert_has_all(passive: Home, primary: Home, server: str = "main") -> None:
    """Every backup and every file of the archive is there, byte for byte, and listed once."""
    assert passive.backups(server) == primary.backups(server)
    assert passive.wals(server) == primary.wals(server)
    for backup in primary.backups(server):
        assert passive.base(server, backup) == primary.base(server, backup)
    listed = sorted(line[0] for line in passive.indexed(server))
    assert listed == sorted(os.path.basename(name) for name in passive.wals(server))


def red_lines(home: Home, server: str = "main") -> dict[str, str]:
    """The lines of check that failed: name → reason."""
    lines = re.findall(r"^\t(.*?): FAILED(?: \((.*)\))?$", home.run("check", server).out, re.MULTILINE)
    return dict(lines)


def copied(passive: Home, backup: str) -> list[int]:
    """What the log tells of a copy: files, bytes, files that were here before, of other backups, bytes that came."""
    (told,) = re.findall(rf"backup {backup} of server \w+ is copied: (.*)", passive.log_text())
    return [int(number) for number in re.findall(r"\d+", told)]


def arrived(passive: Home, backup: str) -> int:
    """Bytes of the large files of a backup that have come."""
    found = passive.path("main", "base", backup).glob("data/base/1/*")
    return sum(path.stat().st_size for path in found)


def assert_told(done: Completed, *texts: str) -> None:
    """It has failed, and every text is part of what it says; no traceback is."""
    assert done.rc == 1
    for text in texts:
        assert text in done.err
    assert "Traceback" not in done.err
    assert "EXCEPTION" not in done.err


# --- arrangements


def test_the_loss_of_the_primary_data_center_is_recovered_from_the_last_of_its_passive_nodes(
    homes: Homes, pg_factory: ClusterFactory
) -> None:
    """A is copied to B and D, B to C. A and B burn down, and nothing that C has is lost."""
    a, b, c, d = (homes.create(f"backup-{letter}") for letter in "abcd")
    primary = ActiveServer(a, pg_factory, "15")
    primary.configure(compression="zstd")
    follow_page(b, a, "passive-node")
    follow_page(c, b, "passive-of-a-passive")
    d.follow(a, "pg", compression="zstd", compression_level="low")
    primary.back_up()
    primary.archive()
    b.cron().ok()
    primary.configure(compression="zstd", backup_method="local-rsync", reuse_backup="link")
    newest = primary.back_up()
    primary.archive("the last row that is copied")
    d.run("sync-info", "--primary", "pg").ok()
    for command in (("sync-backup", "pg", newest), ("sync-wals", "pg")):
        d.run(*command).ok()
    assert d.base("pg", newest) == a.base("pg", newest)
    assert d.run("check-backup", "pg", newest).ok().rc == 0
    assert d.backups("pg") == {newest: "DONE"}
    for passive, source in ((b, a), (c, b)):
        passive.catch_up(source, "pg")
        assert_has_all(passive, a, "pg")
        for backup, record in a.records("pg").items():
            there = passive.records("pg")[backup]
            assert {key for key in record if record[key] != there[key]} <= {"deduplicated_size"}
    assert red_lines(c, "pg") == {}
    rows = primary.pg.ledger()
    last = max(os.path.basename(name) for name in c.wals("pg") if "." not in name)

    primary.pg.destroy()
    for lost in (a, b):
        lost.behave("echo 'connect to host: No route to host' >&2; exit 255")
        shutil.rmtree(lost.home)
    assert_told(c.cron(), "Failed to retrieve the primary node status", "No route to host")
    assert "ssh" in red_lines(c, "pg")
    assert last in c.run("recovery-window", "pg").ok().out
    c.run("get-wal", "--output-directory", str(c.disk), "pg", last).ok()
    assert (c.disk / last).stat().st_size == 1 << 20
    assert primary.recovered(c, newest) == rows


def test_two_zones_relay_to_each_other_with_one_cron_each(homes: Homes) -> None:
    a, b = homes.create("a"), homes.create("b")
    for home, name in ((a, "east"), (b, "west")):
        home.add_server(name, None, **NOWHERE)
        home.put_backup(name, IDS[0], 4)
        home.put_incoming(name, 5)
    a.follow(b, "west")
    b.follow(a, "east")
    for _ in range(3):
        started = [home.start("cron") for home in (a, b)]
        for process in started:
            out, err = process.communicate()
            assert (process.returncode, err) == (0, "")
            assert "Starting WAL archiving for server" in out
        a.wait_idle()
        b.wait_idle()
    assert_has_all(a, b, "west")
    assert_has_all(b, a, "east")
    assert len(a.wals("west")) == len(b.wals("east")) == 2


# --- bad days


@pytest.fixture
def nodes(homes: Homes) -> tuple[Home, Home]:
    """A primary with a backup of the server `main`, and a passive node with a copy of its repository."""
    primary, passive = homes.create("primary"), homes.create("passive")
    primary.add_server("main", None, **NOWHERE)
    primary.put_backup("main", IDS[0], 4)
    primary.put_wal("main", 5)
    subprocess.run(["cp", "-a", primary.path("main"), passive.path("main")], check=True)
    passive.follow(primary, "main")
    return primary, passive


def test_a_primary_out_of_reach_is_told_with_its_cause_and_followed_when_it_is_back(nodes: tuple[Home, Home]) -> None:
    primary, passive = nodes
    primary.put_backup("main", IDS[1], 6)
    for trouble, cause in (
        ("echo 'Connection refused' >&2; exit 255", "Connection refused"),
        ("echo 'account expired' >&2; exit 3", "account expired"),
        ("barman-of-before", "Install barman on the primary"),
    ):
        primary.behave(trouble if trouble.startswith("echo") else "")
        primary.script("barman", trouble)
        assert_told(passive.cron(), "Failed to retrieve the primary node status", cause)
    primary.use(OURS)
    primary.behave("echo 'Connection refused' >&2; exit 255")
    assert "Connection refused" in red_lines(passive)["ssh"]
    for arguments in (("list-backups", "main"), ("status", "main"), ("list-files", "main", "latest")):
        passive.run(*arguments).ok()
    primary.behave("echo Welcome to this host")
    shown = passive.run("sync-info", "--primary", "main").ok().out
    assert IDS[1] in json.loads(shown)["backups"]
    primary.behave("echo Welcome to this host >&2")
    passive.catch_up(primary, "main")
    assert_has_all(passive, primary)
    assert set(red_lines(passive)) == {"ssh output clean"}


def test_what_is_cut_in_the_middle_is_continued_and_what_is_damaged_meanwhile_comes_again(
    nodes: tuple[Home, Home],
) -> None:
    """Backup and WAL: what sends is killed on the far side."""
    primary, passive = nodes
    passive.follow(primary, "main", **SLOW)
    primary.put_backup("main", IDS[1], 6, files=4, size=1_000_000)
    primary.put_wal("main", 7, 8)
    passive.run("cron").ok()
    staging = passive.path("main", ".sync-wals")
    wait_until(
        lambda: arrived(passive, IDS[1]) > 1_200_000 and list(staging.glob("*/.0*.*")), "half of both is here", 60
    )
    for pid in primary.processes("rsync --server"):
        os.kill(pid, signal.SIGKILL)
    passive.wait_idle()
    assert passive.backups("main")[IDS[1]] == "FAILED"
    assert "failure syncing server main backup" in passive.records("main")[IDS[1]]["error"]
    whole = passive.wals("main")
    assert whole.items() <= primary.wals("main").items()  # nothing in part has a final name
    assert len(whole) < len(primary.wals("main"))
    assert "failed backups" in red_lines(passive)

    (complete,) = (
        path for path in passive.path("main", "base", IDS[1], "data/base/1").iterdir() if path.name == "1259"
    )
    facts = complete.stat()
    assert facts.st_size == 1_000_000
    complete.write_bytes(b"\0" * facts.st_size)
    os.utime(complete, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    passive.follow(primary, "main")
    passive.catch_up(primary, "main")
    assert_has_all(passive, primary)
    _, size, present, _, came = copied(passive, IDS[1])
    assert present >= 1
    assert came < size - 150_000


def test_a_backup_that_is_deleted_while_it_is_copied_is_purged(nodes: tuple[Home, Home]) -> None:
    primary, passive = nodes
    passive.follow(primary, "main", **SLOW)
    primary.put_backup("main", IDS[1], 6, files=4, size=500_000)
    primary.put_backup("main", IDS[2], 7)
    passive.run("cron").ok()
    wait_until(lambda: arrived(passive, IDS[1]) > 200_000, "some of it is here", 60)
    primary.run("delete", "main", IDS[1]).ok()
    passive.wait_idle()
    record = passive.records("main")[IDS[1]]
    assert record["status"] == "FAILED"
    assert "the primary has deleted the backup while it was copied" in record["error"]
    assert "incomplete locally, purging local backup" in passive.cron().ok().err
    passive.catch_up(primary, "main")
    assert_has_all(passive, primary)
    assert not passive.path("main", "base", IDS[1]).exists()


def test_a_full_disk_fails_the_copy_and_is_told_and_room_lets_it_go_on(nodes: tuple[Home, Home]) -> None:
    primary, passive = nodes
    primary.put_backup("main", IDS[1], 6, files=4, size=1_000_000)
    place = passive.path("main")
    aside = place.rename(passive.disk / "aside")
    place.mkdir()
    with needs.small_disk(place, "5m"):
        subprocess.run(["cp", "-a", f"{aside}/.", place], check=True)
        passive.give()
        passive.cron().ok()
        assert passive.backups("main")[IDS[1]] in ("FAILED", "SYNCING")
        assert "No space left on device" in passive.log_text()
        assert_told(passive.cron(), "No space left on device", "ERROR: the operating system refused an operation on")
        assert "backup catalog" in red_lines(passive)
        subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
        passive.catch_up(primary, "main")
        assert_has_all(passive, primary)
        assert copied(passive, IDS[1])[4] < 3_500_000


def test_a_primary_of_another_version_whose_clock_is_ahead_is_followed(nodes: tuple[Home, Home]) -> None:
    primary, passive = nodes
    rules = {"retention_policy": "RECOVERY WINDOW OF 1 DAYS", "last_backup_maximum_age": "1 DAYS"}
    # The other way to say whose passive node it is, and where the primary has its configuration.
    passive.globals["primary_ssh_command"] = primary.ssh
    passive.add_server("main", None, forward_config_path="true", **rules)
    elsewhere = f"s#^barman -c {passive.config_file} #barman -c there #"
    primary.behave(f'SSH_ORIGINAL_COMMAND=$(printf "%s" "$SSH_ORIGINAL_COMMAND" | sed "{elsewhere}")')
    (primary.directory / "there").symlink_to(primary.config_file)
    ahead = "20361120T100000"
    primary.put_backup("main", ahead, 6)
    for path in primary.path("main", "wals").rglob("0*6"):
        os.utime(path, (2_110_000_000, 2_110_000_000))
    primary.run("rebuild-xlogdb", "main").ok()
    os.rename(primary.bin / "barman", primary.bin / "barman-3")
    changes = (
        's/"version": "3[^"]*"/"version": "4.2.0", "moons": {"io": [1]}/',
        's/"status": "DONE"/"status": "DONE", "colour": "red"/',
    )
    primary.script("barman", f'test "$1" = -c && barman-3 "$@" | sed \'{"; ".join(changes)}\'')
    passive.cron(times=2).ok()
    assert json.loads(passive.path("main", "primary.info").read_text())["version"] == "4.2.0"
    assert_has_all(passive, primary)
    passive.run("list-backups", "main").ok()
    passive.run("status", "main").ok()
    passive.run("retention", "main").ok()
    assert "is in the future: the clocks of the hosts differ" in red_lines(passive)["backup maximum age"]


def test_state_that_is_damaged_or_from_elsewhere_is_told_and_replaced(nodes: tuple[Home, Home]) -> None:
    primary, passive = nodes
    primary.put_backup("main", IDS[1], 6)
    passive.cron(times=2).ok()
    state, position = passive.path("main", "primary.info"), passive.path("main", "wals", "sync-wals.info")
    whole = state.read_bytes()
    state.write_bytes(whole[:700])
    assert_told(passive.run("sync-backup", "main", IDS[1]), "sync-info of server main: ")
    assert "run 'barman sync-info --primary main'" in red_lines(passive)["primary node"]
    state.unlink()
    assert_told(passive.run("sync-wals", "main"), "Cannot open primary.info file for server main")
    compared, rejected = "all of it is compared again", "requesting full synchronisation from primary server main"
    for number, wrong, told in (
        (7, "../../etc/x\t1", compared),
        (8, "0000000900000000000000FF\t77777", rejected),
        (9, f"{'0' * 23}1\t3", rejected),
    ):
        position.write_text(wrong)
        primary.put_wal("main", number)
        assert told in passive.cron().ok().err
        assert_has_all(passive, primary)


def test_another_cluster_another_backup_and_the_node_itself_are_refused(nodes: tuple[Home, Home], homes: Homes) -> None:
    primary, passive = nodes
    before = passive.base("main", IDS[0]), passive.wals("main")
    other = homes.create("other")
    other.add_server("main", None, **NOWHERE)
    other.put_backup("main", IDS[1], 4, systemid="1111111111111111111")
    passive.follow(other, "main")
    assert_told(passive.cron(), "system identifier 1111111111111111111", "nothing is copied")
    assert not passive.path("main", "primary.info").exists()  # else check would take it for a primary that answers
    passive.follow(passive, "main")
    assert_told(passive.cron(), "is this node itself")
    # Both were active, and each took a backup in the same second.
    twin = homes.create("twin")
    twin.add_server("main", None, **NOWHERE)
    twin.put_backup("main", IDS[0], 5)
    twin.put_backup("main", IDS[1], 6)
    passive.follow(twin, "main")
    assert_told(passive.cron(), f"backup {IDS[0]} of server main is another backup on the primary")
    assert set(passive.backups("main")) == {IDS[0], IDS[1]}  # it holds up nobody
    assert "another backup on the primary" in red_lines(passive)["backup synchronisation"]
    assert passive.base("main", IDS[0]) == before[0]
    assert before[1].items() <= passive.wals("main").items()


def test_a_passive_node_that_was_active_for_a_while_keeps_what_it_has_and_gives_it_back(
    nodes: tuple[Home, Home],
) -> None:
    """B is promoted, A works on unaware of it; then A follows B, and in the end B follows A again."""
    a, b = nodes
    b.add_server("main", None, **NOWHERE)
    b.put_backup("main", IDS[1], 6)
    a.put_backup("main", IDS[2], 7)
    assert "primary node" not in b.run("check", "main").out
    a.follow(b, "main")
    a.cron(times=2).ok()
    assert set(a.backups("main")) == set(IDS)
    assert set(b.backups("main")) == set(IDS[:2])
    a.add_server("main", None, **NOWHERE)
    b.follow(a, "main")
    b.catch_up(a, "main")
    assert_has_all(b, a)
    assert_has_all(a, b)
