"""Hook scripts around a real server: what they change counts, what they hold up is let go, what they forbid stays."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from barman.process import is_alive
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until
from tests.support.listener import Listener


def test_scripts_live_with_a_server(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    listener = Listener(tmp_path / "listener")
    quick = {"immediate_checkpoint": "true", "archiver": "on"}
    newest_pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("pg"))
    newest_pg.restart()
    newest_pg.create_ledger()
    newest_pg.insert(3, "before")

    # A script that hangs after every WAL file delays archiving by its limit, and no longer.
    hanging = {"post_archive_script": "sleep 600", "wal_hook_script_timeout": "1"}
    barman_home.add_server("pg", newest_pg, **quick, **hanging)
    assert barman_home.run("check", "pg").out.count("hook") == 0
    done = barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    assert "post_archive_script of server pg failed: not done within 1 seconds, and killed (sleep 600)" in done.err

    # What a script changes before the backup is in the backup, and in its record.
    space = pg_factory.scratch() / "space"
    space.mkdir()
    os.chown(space, newest_pg.data.stat().st_uid, newest_pg.data.stat().st_gid)
    psql = f"{newest_pg.program('psql')} -qX -d '{newest_pg.conninfo}'"
    script = f"""{psql} -c "CREATE TABLESPACE late LOCATION '{space}'" """
    told = listener.options("post_backup_script", "pre_wal_delete_script", pre_backup_script=script)
    barman_home.add_server("pg", newest_pg, **quick, **told)
    barman_home.run("backup", "pg", "--wait").ok()
    (backup,) = barman_home.run("list-backups", "--minimal", "pg").ok().out.split()
    assert "late" in barman_home.run("show-backup", "pg", backup).ok().out
    calls = listener.calls()
    assert {call["HOOK"] for call in calls[:-1]} == {"wal_delete_script"}
    assert calls[0]["SEGMENT"] == "000000010000000000000001"
    assert (calls[-1]["HOOK"], calls[-1]["BACKUP_ID"], calls[-1]["STATUS"]) == ("backup_script", backup, "DONE")

    # A backup that is ended while a script runs takes the script along, and says how it ended.
    pid_file = tmp_path / "pid"
    waiting = listener.options("post_backup_script", pre_backup_retry_script=f"echo $$ >{pid_file}; sleep 600; true")
    barman_home.add_server("pg", newest_pg, **quick, **waiting)
    process = barman_home.start("backup", "pg")
    wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), "the script runs")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 1
    assert not is_alive(int(pid_file.read_text()))
    (call,) = listener.calls()
    assert (call["STATUS"], call["ERROR"]) == ("FAILED", "failure starting backup (interrupted by SIGTERM)")
    assert (call["PREVIOUS_ID"], call["NEXT_ID"]) == (backup, "")

    # The destination is judged again after the scripts, and those after a restore hear of good ones alone.
    destination = tmp_path / "restored"
    elsewhere = ("--tablespace", f"late:{pg_factory.scratch()}/late")
    filling = f"mkdir {destination}; touch {destination}/mine"
    told = listener.options("post_recovery_script", "post_recovery_retry_script", pre_recovery_script=filling)
    barman_home.add_server("pg", newest_pg, **quick, **told)
    refused = barman_home.run("restore", "pg", backup, str(destination), *elsewhere)
    assert refused.rc == 1
    assert "mine" in refused.err
    assert os.listdir(destination) == ["mine"]
    assert listener.calls() == []
    clearing = f"rm -rf {destination}"
    barman_home.add_server("pg", newest_pg, **quick, **{**told, "pre_recovery_script": clearing})
    rows = newest_pg.ledger()
    newest_pg.stop()
    (destination / "mine").unlink()
    barman_home.run("restore", "pg", backup, str(destination), *elsewhere).ok()
    assert listener.heard() == ["post_recovery_retry_script", "post_recovery_script"]
    restored = pg_factory.adopt(newest_pg.version, destination)
    wait_until(lambda: not restored.value("SELECT pg_is_in_recovery()"), "the recovery ends")
    assert restored.ledger() == rows
