"""Backups with rsync of a standby: restorable, and good only when the WAL of the primary is here."""

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until


def test_a_backup_of_a_standby_restores_and_one_whose_wal_is_missing_waits(
    barman_home: BarmanHome, newest_pg: Cluster, pg_factory: ClusterFactory
) -> None:
    primary = newest_pg
    primary.configure(archive_mode="on", archive_command=barman_home.accept_wal("main"))
    primary.restart()
    primary.create_ledger()
    primary.insert(3)
    standby = pg_factory.standby_of(primary)
    options = {"backup_method": "local-rsync", "archiver": "on", "reuse_backup": "link"}
    barman_home.add_server("main", standby, primary_conninfo=primary.conninfo, **options)
    barman_home.run("switch-wal", "--force", "--archive", "main").ok()
    primary.insert(4)
    wait_until(lambda: standby.ledger() == primary.ledger(), "the standby has caught up")
    barman_home.run("backup", "main", "--wait", "--wait-timeout", "60", "--immediate-checkpoint").ok()
    first = max(barman_home.path("main", "base").iterdir())
    assert "BACKUP FROM: standby" in (first / "data/backup_label").read_text()
    assert not (first / "data/standby.signal").exists()
    assert "Status                 : DONE" in barman_home.run("show-backup", "main", first.name).ok().out

    # Nobody can switch the WAL of the primary: the backup waits, and its files are compared by content.
    barman_home.add_server("main", standby, **options)
    primary.insert(5)
    wait_until(lambda: standby.ledger() == primary.ledger(), "the standby has caught up")
    barman_home.run("backup", "main", "--immediate-checkpoint").ok()
    second = max(barman_home.path("main", "base").iterdir())
    assert second != first
    assert "WAITING_FOR_WALS" in barman_home.run("show-backup", "main", second.name).ok().out
    refused = barman_home.run("recover", "main", second.name, str(pg_factory.scratch() / "too-early"))
    assert refused.rc == 1
    assert len([path for path in (second / "data").rglob("*") if path.is_file() and path.stat().st_nlink > 1]) > 500
    last = primary.switch_wal()
    ledger = primary.ledger()
    wait_until((barman_home.path("main", "incoming") / last).exists, "the last segment has arrived")
    barman_home.run("archive-wal", "main").ok()
    barman_home.run("check-backup", "main", second.name).ok()
    assert "Status                 : DONE" in barman_home.run("show-backup", "main", second.name).ok().out

    standby.stop()
    primary.stop()
    for backup in (first, second):
        place = pg_factory.scratch() / "restored"
        barman_home.run("recover", "main", backup.name, str(place)).ok()
        restored = pg_factory.adopt(primary.version, place)
        wait_until(lambda restored=restored: not restored.value("SELECT pg_is_in_recovery()"), "it is a primary")
        assert restored.ledger() == ledger
        restored.stop()
