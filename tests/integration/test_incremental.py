"""Block-level incremental backups: chains are taken, combined, deleted in part, and refused with the reason."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_restore_remote import promoted
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, require_version
from tests.support.fix_sshd import USER, Sshd

pytestmark = pytest.mark.postgres
IMMEDIATE = ("--target-immediate", "--target-action", "promote")


def set_up(home: BarmanHome, pg: Cluster, **options: str) -> None:
    home.add_server("pg", pg, archiver="on", immediate_checkpoint="true", **options)
    pg.configure(archive_mode="on", archive_command=home.accept_wal("pg"), summarize_wal="on")
    pg.restart()
    pg.create_ledger()
    home.run("switch-wal", "--force", "--archive", "pg").ok()


def back_up(home: BarmanHome, *options: str) -> str:
    home.run("backup", "pg", "--wait", *options).ok()
    return home.run("list-backups", "--minimal", "pg").ok().out.split()[0]


def shown(home: BarmanHome, backup: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(home.run("-f", "json", "show-backup", "pg", backup).ok().out)["pg"]
    return found


def facts(pg: Cluster) -> list[Any]:
    """What a restored cluster is compared with."""
    sums = [pg.value(f"SELECT sum(hashtext({name}::text)) FROM {name}") for name in ("bulk", "far_away", "grows")]
    return [pg.ledger(), *sums]


def restored(factory: ClusterFactory, pg: Cluster, directory: Path) -> list[Any]:
    """Start a restored cluster, and see what it has."""
    assert not [path for path in directory.rglob("*") if "barman-combine" in path.name]
    assert not list(directory.rglob("INCREMENTAL.*"))
    cluster = promoted(factory.adopt(pg.version, directory))
    found = facts(cluster)
    cluster.stop()
    return found


@pytest.mark.parametrize(
    ("pg", "formats"),
    [("17", (None, None, None)), ("18", ("gzip", None, "gzip"))],
    ids=["pg17-plain", "pg18-mixed"],
    indirect=["pg"],
)
def test_every_backup_of_a_chain_is_restored_as_it_was(
    pg: Cluster,
    pg_factory: ClusterFactory,
    barman_home: BarmanHome,
    sshd: Sshd,
    tmp_path: Path,
    formats: tuple[str | None, ...],
) -> None:
    home = barman_home
    set_up(home, pg)
    place = pg_factory.scratch() / "a = space"
    place.mkdir()
    shutil.chown(place, pg.data.stat().st_uid)
    pg.sql(f"CREATE TABLESPACE far LOCATION '{place}'")
    pg.sql("CREATE TABLE far_away TABLESPACE far AS SELECT generate_series(1, 20000) AS n")
    pg.sql("CREATE TABLE bulk AS SELECT n, repeat('x', 200) AS filler FROM generate_series(1, 10000) AS n")
    pg.sql("CREATE TABLE grows AS SELECT 1 AS n")
    changes = [
        (),
        ("UPDATE bulk SET n = -n WHERE n = 17", "UPDATE far_away SET n = 0 WHERE n < 9", "INSERT INTO grows SELECT 2"),
        ("TRUNCATE far_away", "INSERT INTO grows SELECT generate_series(3, 9000)", "DELETE FROM bulk WHERE n > 5000"),
    ]
    then: dict[str, list[Any]] = {}
    for number, method in enumerate(formats):
        for statement in changes[number]:
            pg.sql(statement)
        pg.sql("VACUUM bulk")
        pg.insert(5)
        if method is None:
            home.servers["pg"].pop("backup_compression", None)
        else:
            home.servers["pg"]["backup_compression"] = method
        home.write()
        backup = back_up(home, *(("--incremental", "latest") if number else ()))
        then[backup] = facts(pg)
    full, middle, leaf = then
    # A repository that was moved has links to where it was.
    for link in home.path("pg", "base", middle, "data", "pg_tblspc").iterdir():
        link.unlink()
        link.symlink_to(tmp_path / "nowhere")

    listed = json.loads(home.run("-f", "json", "list-backups", "pg").ok().out)["pg"]
    assert [item["backup_type"] for item in listed] == ["incremental", "incremental", "full"]
    last = shown(home, leaf)
    told = last["catalog_information"]
    assert float(last["base_backup_information"]["resources_saved_percentage"].rstrip("%")) > 50
    assert (told["root_backup_id"], told["parent_backup_id"], told["chain_size"]) == (full, middle, 3)
    assert shown(home, full)["catalog_information"]["children_backup_ids"] == [middle]
    assert list(home.path("pg", "base", middle).rglob("INCREMENTAL.*"))
    assert "backup successfully verified" in home.run("verify-backup", "pg", middle).ok().out

    pg.destroy()
    before = set(os.listdir(tempfile.gettempdir()))
    backup = leaf if pg.major < 18 else middle
    here, far = tmp_path / backup, tmp_path / f"far-{backup}"
    options = ("--tablespace", f"far:{far}", *IMMEDIATE, "--combine-mode", "clone")
    done = home.run("restore", "pg", backup, str(here), *options).ok()
    assert f"Start combining backup via pg_combinebackup for backup {backup} on " in done.out
    assert f"End combining backup via pg_combinebackup for backup {backup}\n" in done.out
    assert "combine mode clone is not used, files are copied" in done.err or not _cannot_clone(tmp_path)
    assert restored(pg_factory, pg, here) == then[backup]
    if pg.major < 18:
        # Back to an older state of itself, by what differs.
        far = tmp_path / f"far-{leaf}"
        options = ("--delta-restore", "--tablespace", f"far:{far}", *IMMEDIATE, "--staging-path", str(tmp_path))
        done = home.run("restore", "pg", middle, str(tmp_path / leaf), *options, "--combine-mode", "link").ok()
        assert "combine mode link is not used" in done.err
        assert "files differed" in done.out
        assert restored(pg_factory, pg, tmp_path / leaf) == then[middle]
    else:
        host = pg_factory.scratch()
        shutil.chown(host, USER)
        there = ("--remote-ssh-command", sshd.command, "--tablespace", f"far:{host}/far", *IMMEDIATE)
        done = home.run("restore", "pg", leaf, f"{host}/pg", *there, "--combine-mode", "link").ok()
        assert "combine mode link is not used" not in done.err
        assert restored(pg_factory, pg, host / "pg") == then[leaf]
    assert not [name for name in set(os.listdir(tempfile.gettempdir())) - before if name.startswith("barman-combine")]
    assert not list(tmp_path.glob("barman-combine*"))

    # A part of the tree goes: what remains says the truth.
    gone = home.run("delete", "pg", middle).ok()
    assert f"Backup {middle} has incremental backups which depend on it. Deleting all backups in the tree" in gone.err
    assert home.run("list-backups", "--minimal", "pg").ok().out.split() == [full]
    assert shown(home, full)["catalog_information"]["children_backup_ids"] is None
    home.run("restore", "pg", full, str(tmp_path / "last"), "--tablespace", f"far:{tmp_path}/f", *IMMEDIATE).ok()
    assert restored(pg_factory, pg, tmp_path / "last") == then[full]


def _cannot_clone(path: Path) -> bool:
    done = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip() in ("ext2/ext3", "tmpfs")


@pytest.fixture
def chain(pg_factory: ClusterFactory, barman_home: BarmanHome) -> tuple[Cluster, str, str]:
    """A full backup and an incremental one of a server that runs on."""
    pg = pg_factory.create("17")
    set_up(barman_home, pg)
    pg.insert(5)
    full = back_up(barman_home)
    pg.insert(5)
    return pg, full, back_up(barman_home, "--incremental", full)


def test_what_cannot_become_a_good_incremental_backup_is_not_begun(
    chain: tuple[Cluster, str, str], barman_home: BarmanHome
) -> None:
    pg, full, _ = chain
    home = barman_home

    def refused(*options: str) -> str:
        before = home.run("list-backups", "--minimal", "pg").ok().out
        done = home.run("backup", "pg", *options)
        assert done.rc == 1, done
        assert home.run("list-backups", "--minimal", "pg").ok().out == before
        return done.err

    assert "Unknown backup 'nobody'" in refused("--incremental", "nobody")
    manifest = home.path("pg", "base", full, "data", "backup_manifest")
    manifest.rename(manifest.with_name("elsewhere"))
    assert f"failed to start backup: the manifest of backup {full} is missing" in refused("--incremental", full)
    manifest.with_name("elsewhere").rename(manifest)
    home.servers["pg"]["backup_method"] = "local-rsync"
    home.write()
    assert "using the --incremental flag need backup_method = postgres" in refused("--incremental", full)
    home.servers["pg"]["backup_method"] = "postgres"
    home.write()

    # PostgreSQL has forgotten what changed since the parent, and the WAL that it could read it from.
    for _ in range(3):
        pg.switch_wal()
    pg.sql("CHECKPOINT")
    pg.stop()
    summaries = pg.data / "pg_wal" / "summaries"
    for summary in summaries.iterdir():
        summary.unlink()
    pg.start()
    home.run("switch-wal", "--force", "--archive", "pg").ok()
    done = home.run("backup", "pg", "--incremental", full)
    assert done.rc == 1
    assert "WAL summaries are required" in done.err
    assert "HINT: The server has no WAL summaries from the parent on any more: take a full backup" in done.err
    failed = home.run("list-backups", "--minimal", "pg").ok().out.split()[0]
    assert shown(home, failed)["status"] == "FAILED"
    assert failed in shown(home, full)["catalog_information"]["children_backup_ids"]
    home.run("delete", "pg", failed).ok()
    assert failed not in shown(home, full)["catalog_information"]["children_backup_ids"]

    pg.configure(summarize_wal="off")
    pg.reload()
    assert "failed to start backup: 'summarize_wal' option must be enabled" in refused("--incremental", full)


def test_a_chain_that_is_not_whole_is_refused_and_a_combination_that_fails_is_begun_anew(
    chain: tuple[Cluster, str, str], pg_factory: ClusterFactory, barman_home: BarmanHome, tmp_path: Path
) -> None:
    pg, full, leaf = chain
    home = barman_home
    rows = pg.ledger()
    destination = tmp_path / "restored"
    pg.destroy()

    def restore() -> str:
        done = home.run("restore", "pg", leaf, str(destination), *IMMEDIATE)
        assert done.rc == 1, done
        assert not (destination / "global" / "pg_control").exists()
        return done.err

    data = home.path("pg", "base", full, "data")
    table = next(path for path in home.path("pg", "base", leaf, "data").rglob("INCREMENTAL.*"))
    parent = data / table.relative_to(home.path("pg", "base", leaf, "data")).with_name(
        table.name[len("INCREMENTAL.") :]
    )
    for hidden in (data, parent, data / "backup_manifest"):
        hidden.rename(tmp_path / "hidden")
        if hidden.name == "backup_manifest":
            done = home.run("restore", "pg", leaf, str(tmp_path / "x"), *IMMEDIATE).ok()
            assert f"backup '{full}' has no manifest" in done.err
        else:
            assert f"needs backup '{full}': " in restore()
            assert not destination.exists()
        if hidden == data:
            assert f"backup {full} is DONE, but its data are missing" in home.run("check", "pg").out
        (tmp_path / "hidden").rename(hidden)
    content = table.read_bytes()
    table.write_bytes(b"x" * len(content))
    assert "its chain is damaged: " in restore()
    assert not destination.exists()
    table.write_bytes(content)

    # The program fails half-way: the second restore goes over what the first one left.
    tools = tmp_path / "tools"
    tools.mkdir()
    real = pg.program("pg_combinebackup")
    script = f"""#!/bin/sh
[ "$1" = --version ] && exec {real} "$@"
{real} "$@" || exit
[ -e {tmp_path}/once ] && exit 0
touch {tmp_path}/once; echo 'pg_combinebackup: error: no luck' >&2; exit 1
"""
    (tools / "pg_combinebackup").write_text(script)
    (tools / "pg_combinebackup").chmod(0o755)
    home.servers["pg"]["path_prefix"] = f"{tools}:{pg.bindir}"
    home.write()
    text = restore()
    assert "Failure combining backups: pg_combinebackup: error: no luck" in text
    assert "is incomplete and cannot be started. Repeat the same command" in text
    assert (destination / ".barman-combine" / "global" / "pg_control").exists()
    # What must be combined first elsewhere leaves the destination alone until it is.
    (tmp_path / "once").unlink()
    done = home.run("restore", "pg", leaf, str(tmp_path / "other"), *IMMEDIATE, "--delta-restore")
    assert done.rc == 1
    assert f"'{tmp_path}/other' was not touched yet" in done.err
    assert not (tmp_path / "other").exists()

    home.run("restore", "pg", leaf, str(destination), *IMMEDIATE).ok()
    assert not list(destination.glob(".barman-combine*"))
    assert not (destination / ".barman-restore.unfinished").exists()
    cluster = promoted(pg_factory.adopt(pg.version, destination))
    assert cluster.ledger() == rows
    cluster.stop()

    # A newest backup that nothing here can combine turns check red.
    home.servers["pg"]["path_prefix"] = require_version("18")
    home.write()
    packaged = glob.glob("/usr/lib/postgresql/17/bin/pg_combinebackup") + glob.glob(
        "/usr/pgsql-17/bin/pg_combinebackup"
    )
    told = "pg_combinebackup of PostgreSQL 17 is needed on this host" in home.run("check", "pg").out
    assert told == (not packaged)
