"""A server entry with several hosts follows its cluster through a failover: receiver, backups, check, recovery."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, require_version, wait_until

RESTORE_ROWS = list[tuple[int, str]]


def hosts(user: str, attributes: str, *clusters: Cluster) -> str:
    """A connection string whose first host is down."""
    names = ",".join(["127.0.0.1", *(str(cluster.directory) for cluster in clusters)])
    ports = ",".join(["1", *(str(cluster.port) for cluster in clusters)])
    return f"host={names} port={ports} user={user} dbname=postgres target_session_attrs={attributes}"


def address(user: str, attributes: str, *clusters: Cluster) -> str:
    """The same as a URI, with the percent signs doubled that an INI file wants."""
    names = ",".join(
        [
            "127.0.0.1:1",
            *(f"{quote(str(cluster.directory), safe='').replace('%', '%%')}:{cluster.port}" for cluster in clusters),
        ]
    )
    return f"postgresql://{user}@{names}/postgres?target_session_attrs={attributes}"


def failed_checks(home: BarmanHome) -> list[str]:
    lines = home.run("check", "main").out.splitlines()[1:]
    return [line.strip().split(":")[0] for line in lines if ": FAILED" in line]


def newest_backup(home: BarmanHome) -> str:
    return home.run("list-backups", "--minimal", "main").ok().out.split()[0]


def receives_from(home: BarmanHome, cluster: Cluster) -> bool:
    return bool(
        home.lock_holder("main", "receive-wal")
        and cluster.value("SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name = 'barman'")
    )


def restored(home: BarmanHome, factory: ClusterFactory, version: str, backup: str) -> RESTORE_ROWS:
    place = factory.scratch() / "restored"
    home.run("restore", "main", backup, str(place)).ok()
    cluster = factory.adopt(version, place)
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
    rows = cluster.ledger()
    cluster.stop("immediate")
    return rows


@pytest.mark.parametrize(("version", "ahead"), [("15", False), ("18", True)], ids=["pg15", "pg18-receiver-ahead"])
def test_the_entry_follows_the_new_timeline(
    version: str, ahead: bool, barman_home: BarmanHome, pg_factory: ClusterFactory
) -> None:
    """With `ahead` the receiver has WAL that the new primary never got, and backups come from standbys first."""
    require_version(version)
    home, primary = barman_home, pg_factory.create(version)
    primary.create_ledger()
    primary.insert(3, "before the backup")
    standby = pg_factory.standby_of(primary)
    both = (standby, primary)
    options = {"streaming_archiver": "on", "slot_name": "barman", "create_slot": "auto"}
    if ahead:
        options |= {
            "conninfo": hosts("barman", "prefer-standby", *both),
            "streaming_conninfo": address("streaming_barman", "prefer-standby", *both),
            "primary_conninfo": hosts("barman", "read-write", *both),
            "wal_conninfo": address("barman", "read-write", *both),
            "wal_streaming_conninfo": hosts("streaming_barman", "read-write", *both),
        }
    else:
        options |= {
            "conninfo": address("barman", "read-write", *both),
            "streaming_conninfo": hosts("streaming_barman", "primary", *both),
        }
    home.add_server("main", primary, **options)
    # A fresh server, whose standby has made its last restartpoint long before the receiver comes.
    primary.switch_wal()
    primary.insert(1, "before the receiver")
    position = primary.current_lsn()
    wait_until(
        lambda: standby.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,)), "the standby has it all"
    )
    done = home.run("backup", "main", "--immediate-checkpoint", "--wait", "--wait-timeout", "60").ok()
    old = newest_backup(home)
    assert ("before all WAL that has arrived here: asking the primary for a checkpoint" in done.out) is ahead
    assert failed_checks(home) == []
    label = home.run("show-backup", "main", old).ok().out
    assert "Status                 : DONE" in label
    taken_from = (home.path("main", "base", old, "data", "backup_label")).read_text()
    assert ("BACKUP FROM: standby" in taken_from) is ahead

    primary.insert(4, "after the backup")
    wait_until(lambda: standby.ledger() == primary.ledger(), "the standby has caught up")
    ledger = standby.ledger()
    if ahead:
        standby.stop()
        for number in range(2):
            primary.insert(1, f"lost {number}")
            lost = primary.switch_wal()
        wait_until(
            lambda: (
                home.path("main", "streaming", lost).exists() or home.path("main", "wals", lost[:16], lost).exists()
            ),
            "WAL is here that the standby never got",
        )
    primary.destroy()
    wait_until(lambda: home.lock_holder("main", "receive-wal") is None, "the receiver has ended")
    if ahead:
        standby.start()
        options |= {
            "conninfo": hosts("barman", "prefer-standby", standby, primary),
            "streaming_conninfo": hosts("streaming_barman", "prefer-standby", standby, primary),
        }
    standby.promote()
    assert standby.ledger() == ledger

    done = home.run("cron").ok()
    wait_until(lambda: receives_from(home, standby), "the receiver is connected to the new primary")
    standby.insert(2, "on the new timeline")
    wait_until(
        lambda: (
            home.path("main", "streaming", "00000002.history").exists()
            or home.run("archive-wal", "main").ok()
            and home.path("main", "wals", "00000002.history").exists()
        ),
        "the history arrives",
    )
    done = home.run("backup", "main", "--immediate-checkpoint", "--wait", "--wait-timeout", "60").ok()
    assert ("Ignoring 'primary_conninfo'." in done.err) is ahead
    new = newest_backup(home)
    assert new != old
    assert "timeline=2" in home.path("main", "base", new, "backup.info").read_text().splitlines()
    assert ("reception goes on with 00000002" in home.log_text()) is ahead
    assert failed_checks(home) == (["PostgreSQL server is standby"] if ahead else [])

    standby.insert(2, "after the new backup")
    last = standby.switch_wal()
    ledger = standby.ledger()
    home.run("cron").ok()
    wait_until(
        lambda: home.run("archive-wal", "main").ok() and home.path("main", "wals", last[:16], last).exists(),
        "WAL is here",
    )
    standby.stop("immediate")
    for backup in (old, new):
        assert restored(home, pg_factory, version, backup) == ledger
