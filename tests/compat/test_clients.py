"""Programs of other people, unchanged, against this one: an exporter for Prometheus, and repmgr's `standby clone`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat import shapes
from tests.support import places
from tests.support.fix_hosts import BARMAN_USER, Page, TwoHosts
from tests.support.fix_hosts import DATABASE_USER as POSTGRES
from tests.support.fix_postgres import REPOSITORY, Cluster, ClusterFactory, wait_until
from tests.support.fix_sshd import SshdFactory
from tests.support.fix_upstream import own_environment
from tests.support.needs import skip_or_fail

pytestmark = pytest.mark.compat


@pytest.fixture
def hosts(pg_factory: ClusterFactory, sshd_factory: SshdFactory) -> Iterator[TwoHosts]:
    """A database host, and a Barman host that receives its WAL and has one backup with a tablespace."""
    cluster = pg_factory.create("15")
    found = TwoHosts(Page("streaming-only"), cluster, pg_factory, sshd_factory)
    options = {
        "conninfo": cluster.conninfo,
        "streaming_conninfo": cluster.streaming_conninfo,
        "path_prefix": cluster.bindir,
        "backup_method": "postgres",
        "streaming_archiver": "on",
        "slot_name": "barman",
        "create_slot": "auto",
    }
    general = {"barman_home": found.home, "barman_user": BARMAN_USER, "log_file": found.home / "barman.log"}
    lines = ["[barman]", *(f"{key} = {value}" for key, value in general.items())]
    lines += ["[pg]", *(f"{key} = {value}" for key, value in options.items())]
    found.config_file.write_text("\n".join([*lines, ""]))
    yield found
    found.close()


def metrics(exporter: str, barman: str, directory: Path) -> dict[str, str]:
    """What the exporter prints about the server `main` with one of the programs on PATH."""
    directory.mkdir()
    (directory / "barman").write_text(f'#!/bin/sh\nexec {barman} "$@"\n')
    (directory / "barman").chmod(0o755)
    environment = own_environment(PATH=f"{directory}:{os.environ['PATH']}")
    argv = [exporter, "--debug", "main"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.rpartition(" ") for line in done.stdout.splitlines() if line.startswith("barman_")]
    return {name: value for name, _, value in lines if not name.startswith("barman_metrics_update")}


def test_the_exporter_says_the_same_of_both_programs(upstream_program: str, tmp_path: Path) -> None:
    path = os.environ.get("BARMAN_TEST_EXPORTER", places.EXPORTER)
    exporter = shutil.which(path)
    if exporter is None:
        skip_or_fail(f"the exporter is not installed: no program {path} (barman-exporter on PyPI)")
    home = tmp_path / "home"
    home.mkdir()
    config_file = shapes.build_home(str(home))
    python = f"env PYTHONPATH={REPOSITORY} {sys.executable}"
    ours = metrics(exporter, f"{python} -m barman -c {config_file}", tmp_path / "ours")
    theirs = metrics(exporter, f"{upstream_program} -c {config_file}", tmp_path / "theirs")
    assert ours['barman_backups_total{server="main"}'] == "5.0"
    assert float(ours['barman_backup_size{number="1",server="main"}']) > 0
    assert [name for name in theirs if name not in ours] == []
    differ = {name for name in ours if ours[name] != theirs.get(name)}
    assert differ <= {'barman_up{check="backup_catalog",server="main"}'}


def back_up(hosts: TwoHosts) -> None:
    hosts.barman("-q", "cron").ok()
    wait_until(lambda: hosts.pg.value("SELECT bool_or(active) FROM pg_replication_slots"), "the receiver is connected")
    hosts.barman("backup", "pg", "--wait").ok()


def test_repmgr_clones_a_standby_from_a_backup(hosts: TwoHosts, pg_factory: ClusterFactory, tmp_path: Path) -> None:
    cluster = hosts.pg
    program = cluster.program("repmgr")
    if not os.access(program, os.X_OK):
        skip_or_fail(f"repmgr is not installed: no program {program} (Debian package postgresql-15-repmgr)")
    space, moved = pg_factory.scratch(), pg_factory.scratch()
    cluster.sql(f"CREATE TABLESPACE space LOCATION '{space}'")
    cluster.sql("CREATE TABLE elsewhere TABLESPACE space AS SELECT generate_series(1, 1000) AS n")
    cluster.create_ledger()
    cluster.insert(20)
    back_up(hosts)
    cluster.insert(3, "after the backup")
    directory = pg_factory.scratch()
    data = directory / "data"
    settings = {
        "conninfo": f"host={cluster.directory} port={cluster.port} user=postgres dbname=postgres",
        "data_directory": str(data),
        "pg_bindir": cluster.bindir,
        "barman_host": f"{BARMAN_USER}@backup.example.com",
        "barman_server": "pg",
        "barman_config": str(hosts.config_file),
        "restore_command": f"{hosts.bin}/barman-wal-restore -U {BARMAN_USER} backup.example.com pg %f %p",
        "tablespace_mapping": f"{space}={moved}",
    }

    def run(number: int, *arguments: str) -> None:
        lines = [f"{key}='{value}'" for key, value in settings.items()]
        if number == 1:
            lines[1] = f"data_directory='{cluster.data}'"
        conf = directory / f"repmgr{number}.conf"
        conf.write_text("\n".join([f"node_id={number}", f"node_name=node{number}", *lines, ""]))
        hosts.run(program, "-f", str(conf), *arguments, user=POSTGRES).ok()

    run(1, "primary", "register")
    address = ("-h", str(cluster.directory), "-p", str(cluster.port), "-U", "postgres", "-d", "postgres")
    run(2, *address, "standby", "clone")
    standby = pg_factory.adopt("15", data)
    assert standby.value("SELECT pg_is_in_recovery()")
    wait_until(lambda: standby.ledger() == cluster.ledger(), "the standby has all rows")
    assert standby.value("SELECT sum(n) FROM elsewhere") == 500500
    assert [os.readlink(link) for link in (data / "pg_tblspc").iterdir()] == [str(moved)]
    assert_archive_is_read(standby)


def assert_archive_is_read(standby: Cluster) -> None:
    assert "barman-wal-restore" in standby.value("SHOW restore_command")
