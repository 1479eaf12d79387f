"""Backups of a standby when its primary is away, wrong, slow, or takes over in the middle."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until

OPTIONS = {"archiver": "on", "backup_options": "concurrent_backup", "backup_method": "local-rsync"}
CHECKPOINTED = "SELECT redo_lsn FROM pg_control_checkpoint()"


@pytest.fixture
def primary(newest_pg: Cluster, barman_home: BarmanHome, tmp_path: Path) -> Cluster:
    """A primary that archives while there is a file `open`."""
    (tmp_path / "open").touch()
    command = f"test -e {tmp_path}/open && {barman_home.accept_wal('main')}"
    newest_pg.configure(archive_mode="on", archive_command=command)
    newest_pg.restart()
    newest_pg.create_ledger()
    newest_pg.insert(3)
    return newest_pg


def failed_checks(home: BarmanHome) -> dict[str, str]:
    lines = home.run("check", "main").out.splitlines()[1:]
    failed = (line.strip().split(": FAILED ", 1) for line in lines if ": FAILED" in line)
    return {name: hint for name, _, hint in ((item[0], "", item[-1]) for item in failed)}


def statuses(home: BarmanHome) -> list[str]:
    done = home.run("list-backups", "--minimal", "main").ok()
    shown = [home.run("show-backup", "main", backup).ok().out for backup in done.out.split()]
    return [line.split(":")[1].strip() for out in shown for line in out.splitlines() if "Status  " in line]


def test_the_primary_is_asked_carefully_and_left_alone_when_the_backup_ends(
    primary: Cluster, barman_home: BarmanHome, pg_factory: ClusterFactory, tmp_path: Path
) -> None:
    home, standby = barman_home, pg_factory.standby_of(primary)
    first = primary.switch_wal()
    wait_until((home.path("main", "incoming") / first).exists, "WAL arrives")

    def insert() -> None:
        primary.insert(1)
        wait_until(lambda: standby.ledger() == primary.ledger(), "the standby has caught up")

    # Away: said with its cause. The backup is taken, and says what it waits for and what helps.
    home.add_server("main", standby, primary_conninfo="host=127.0.0.1 port=1 user=barman dbname=postgres", **OPTIONS)
    hint = failed_checks(home)["Primary server is not a standby"]
    assert "primary_conninfo" not in failed_checks(home)
    assert "port 1 failed: Connection refused" in hint
    insert()
    done = home.run("backup", "main", "--immediate-checkpoint").ok()
    assert "its last segment may arrive late: primary_conninfo: cannot connect to PostgreSQL (host '127" in done.err
    assert "only the primary can close 0000000100000000000000" in done.err
    assert "'barman switch-wal main' closes the current one" in done.err
    switched = home.run("switch-wal", "main")
    assert switched.rc == 1
    assert "Connection refused" in switched.err
    # It waits on when it is told to, and ends with the WAL: not with the pauses between its tries.
    insert()
    waiting = home.start("backup", "main", "--immediate-checkpoint", "--wait")
    wait_until(lambda: home.log_text().count("cannot switch WAL on the primary, which is tried every") == 1, "it tries")
    primary.switch_wal()
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, err
    assert "Backup completed" in out
    home.run("cron").ok()
    assert statuses(home) == ["DONE", "DONE"]

    # Without primary_conninfo: natural traffic closes the segment, and the command that does is named.
    home.add_server("main", standby, **OPTIONS)
    insert()
    done = home.run("backup", "main", "--immediate-checkpoint").ok()
    assert "'SELECT pg_switch_wal()' on the primary closes the current one; with primary_conninfo" in done.err
    assert statuses(home)[0] == "WAITING_FOR_WALS"

    # A checkpoint on the primary, when WAL does not come for as long as is configured.
    home.add_server("main", standby, primary_conninfo=primary.conninfo, primary_checkpoint_timeout="1", **OPTIONS)
    insert()
    (tmp_path / "open").unlink()
    before = primary.value(CHECKPOINTED)
    running = home.start("backup", "main", "--immediate-checkpoint")
    wait_until(lambda: primary.value(CHECKPOINTED) != before, "the primary has made a checkpoint")
    (tmp_path / "open").touch()
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    home.run("cron").ok()
    assert set(statuses(home)) == {"DONE"}

    # Wrong ones are refused: nothing is switched there, no backup begins.
    stranger = pg_factory.create(primary.version, fresh=True)
    wrong = {
        "Primary server is not a standby": (standby, f"not a standby; it leads to host '{standby.directory}'"),
        "Primary and standby have same system ID": (
            stranger,
            f"that of the primary is {stranger.system_id}, that of the standby {primary.system_id}",
        ),
    }
    for line, (cluster, text) in wrong.items():
        home.add_server("main", standby, primary_conninfo=cluster.conninfo, **OPTIONS)
        assert text in failed_checks(home)[line]
        for command in ("switch-wal", "backup"):
            refused = home.run(command, "main")
            assert refused.rc == 1, command
    assert f"its system identifier is {stranger.system_id}, that of the standby" in home.run("switch-wal", "main").err
    assert stranger.current_wal().endswith("01"), "nothing was switched there"
    # conninfo leads to the primary: a standby that was promoted looks like this.
    home.add_server("main", primary, primary_conninfo=standby.conninfo, **OPTIONS)
    assert failed_checks(home) == {
        "PostgreSQL server is standby": "(conninfo should point to a standby server if primary_conninfo is set)"
    }
    done = home.run("backup", "main", "--immediate-checkpoint", "--wait").ok()
    assert done.err.count("Ignoring 'primary_conninfo'.") == 1
    # rsync copies from a directory: it must be the one of the server that is asked.
    home.add_server("main", standby, primary_conninfo=primary.conninfo, **OPTIONS)
    (standby.data / "postmaster.pid").write_bytes((primary.data / "postmaster.pid").read_bytes())
    refused = home.run("backup", "main", "--immediate-checkpoint")
    assert refused.rc == 1
    assert f"is not the one that runs in '{standby.data}' on" in refused.err
    assert f"has port {standby.port}" in refused.err

    # It does not archive itself, and need not: the primary does, and is looked at.
    standby.stop("immediate")
    standby.settings["archive_mode"] = "off"
    standby.start()
    assert [name for name in failed_checks(home) if "archiv" in name] == []
    standby.stop("immediate")
    standby.settings["hot_standby"] = "off"
    standby.start(wait=False)
    wait_until(lambda: "Hot standby mode is disabled" in failed_checks(home).get("PostgreSQL", ""), "check says why")


@pytest.mark.parametrize("method", ["local-rsync", "postgres"])
def test_a_promotion_in_the_middle_fails_the_backup_naming_both_timelines(
    method: str, primary: Cluster, barman_home: BarmanHome, pg_factory: ClusterFactory, tmp_path: Path
) -> None:
    home, standby = barman_home, pg_factory.standby_of(primary)
    follower = pg_factory.standby_of(standby) if method == "local-rsync" else None
    # Much for the first checkpoint after the promotion to write: it takes a while.
    primary.sql("CREATE TABLE ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 10000)")
    name = {"local-rsync": "rsync", "postgres": "pg_basebackup"}[method]
    real = shutil.which("rsync") if method == "local-rsync" else standby.program(name)
    slow = tmp_path / "slow"
    slow.mkdir()
    # The program begins its work when the standby has been promoted, well after the beginning of the backup.
    limit = "" if method == "local-rsync" else " --max-rate=512"
    hold = f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done" if not limit else ":"
    script = f'#!/bin/sh\ncase "$*" in *--version*|*-V*) exec {real} "$@";; esac\n{hold}\nexec {real} "$@"{limit}\n'
    (slow / name).write_text(script)
    (slow / name).chmod(0o755)
    options = {**OPTIONS, "backup_method": method, "path_prefix": f"{slow}:{standby.bindir}"}
    home.add_server("main", standby, primary_conninfo=primary.conninfo, basebackup_retry_times="3", **options)
    running = home.start("backup", "main", "--immediate-checkpoint")
    if limit:
        copied = home.path("main", "base")
        wait_until(lambda: list(copied.glob("*/data/base/*/*")), "files arrive")
    else:
        wait_until((tmp_path / "begun").exists, "the copy begins")
    standby.promote()
    standby.insert(1, "on the new timeline")
    (tmp_path / "go").touch()
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    reason = "the server was promoted during the backup: it began on timeline 1 and ended on timeline 2"
    assert reason in err
    failed = home.run("show-backup", "main", "last-failed").ok().out
    assert reason in failed
    assert "Status                 : FAILED" in failed
    assert os.listdir(home.path("main", "base")) == [next(iter(home.path("main", "base").iterdir())).name], "no retry"

    # A standby of the promoted server has followed it, and has no restartpoint yet but one of the old timeline.
    if follower is not None:
        wait_until(lambda: follower.ledger() == standby.ledger(), "it has followed")
        home.add_server("main", follower, primary_conninfo=standby.conninfo, **OPTIONS)
        home.run("backup", "main", "--immediate-checkpoint", "--wait").ok()
        newest = max(home.path("main", "base").iterdir())
        assert "timeline=2" in (newest / "backup.info").read_text().splitlines()
        assert statuses(home)[0] == "DONE"
