"""The comparison of `test_comparison` on a running server: its live facts, and backups that each program has taken."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tests.compat.comparison import cases, differences
from tests.compat.intended import INTENDED, is_intended
from tests.compat.test_comparison import OF_A_SERVER, TARGETS, Compared, is_built, shown
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until
from tests.support.fix_upstream import Upstream
from tests.support.forked import start_original, start_ours

pytestmark = pytest.mark.compat

LIVE = (
    *(line.format("pg") for line in OF_A_SERVER),
    "list-servers",
    "diagnose",
    "diagnose --show-config-source",
    "replication-status pg --minimal",
    "replication-status pg --target hot-standby",
    "replication-status pg --target wal-streamer",
    "replication-status pg --target hot-standby --minimal",
    "replication-status pg --target wal-streamer --minimal",
    "replication-status pg --source wal-host",
    "receive-wal pg",
    "receive-wal pg --create-slot",
    "receive-wal pg --create-slot --if-not-exists",
    "receive-wal pg --drop-slot",
    "check-wal-archive pg",
    "check-wal-archive pg --timeline 2",
)
OF_A_BACKUP = ("show-backup pg {}", "check-backup pg {}", "keep pg {} --status")


def newest(home: BarmanHome) -> str:
    return home.run("list-backups", "--minimal", "pg").ok().out.split()[0]


def broken_programs(directory: Path, cluster: Cluster) -> str:
    """A path_prefix whose pg_basebackup tells its version and fails."""
    directory.mkdir()
    for name in ("pg_receivewal", "psql", "pg_verifybackup"):
        (directory / name).symlink_to(cluster.program(name))
    script = directory / "pg_basebackup"
    real = cluster.program("pg_basebackup")
    script.write_text(f'#!/bin/sh\ncase "$*" in *--version*) exec {real} "$@" ;; esac\necho no luck >&2\nexit 1\n')
    script.chmod(0o755)
    return str(directory)


def take_backups(cluster: Cluster, home: BarmanHome, original: Upstream, scratch: Path) -> dict[str, str]:
    """Backups of both programs, in several ways: what they are → their ids."""
    common = {
        "archiver": "on",
        "streaming_archiver": "on",
        "slot_name": "barman",
        "compression": "gzip",
        "retention_policy": "REDUNDANCY 2",
        "last_backup_maximum_age": "1 DAY",
        "last_wal_maximum_age": "1 DAY",
        "backup_directory": str(home.path("pg")),
    }
    home.add_server("pg", cluster, **common)
    original.run("receive-wal", "--create-slot", "pg")
    home.run("cron").ok()
    wait_until(lambda: cluster.value("SELECT bool_or(active) FROM pg_replication_slots"), "the receiver is connected")
    taken = {}

    def back_up(*words: str, check: bool = True) -> None:
        """By the original, which gives the id of this second to a backup even if there is one of that id."""
        wait_until(lambda: not taken or f"{datetime.now():%Y%m%dT%H%M%S}" > newest(home), "another second has begun")
        original.run("backup", *words, check=check)

    back_up("pg", "--wait", "--name", "of-the-original")
    taken["of the original"] = newest(home)
    back_up("--incremental", "latest", "pg", "--wait")
    taken["incremental"] = newest(home)
    home.run("backup", "pg", "--wait", "--name", "ours").ok()
    taken["ours"] = newest(home)
    home.add_server("pg", cluster, **common, backup_method="local-rsync", reuse_backup="link")
    back_up("pg", "--wait")
    taken["rsync of the original"] = newest(home)
    home.run("backup", "pg", "--wait").ok()
    taken["our rsync"] = newest(home)
    # The last one, because the original gives the id of a failed backup to the next one of the same second.
    home.add_server("pg", cluster, **{**common, "path_prefix": broken_programs(scratch, cluster)})
    back_up("pg", check=False)
    taken["failed"] = newest(home)
    home.add_server("pg", cluster, **common)
    original.run("keep", "pg", taken["of the original"], "--target", "full")
    assert len(set(taken.values())) == 6
    return taken


def test_every_difference_on_a_running_server_is_intended(
    pg_factory: ClusterFactory, barman_home: BarmanHome, upstream_program: str, tmp_path: Path
) -> None:
    settings = {"summarize_wal": "on", "archive_mode": "on"}
    cluster = pg_factory.create("17", settings={**settings, "archive_command": barman_home.accept_wal("pg")})
    cluster.create_ledger()
    cluster.insert(100)
    original = Upstream(upstream_program, str(barman_home.config_file))
    taken = take_backups(cluster, barman_home, original, tmp_path / "broken")
    pg_factory.standby_of(cluster)
    cluster.switch_wal()
    barman_home.run("archive-wal", "pg").ok()
    lines = list(LIVE)
    for backup_id in taken.values():
        lines += [line.format(backup_id) for line in OF_A_BACKUP]
    for what in ("ours", "our rsync"):
        lines += [f"list-files pg {taken[what]} --target {target}" for target in TARGETS]
    lines += [f"verify-backup pg {taken[what]}" for what in ("ours", "of the original")]
    chosen = [case for case in cases(lines) if is_built(case)]
    config_file = str(barman_home.config_file)
    theirs = start_original(upstream_program, config_file, tmp_path / "original")
    ours = start_ours(config_file, tmp_path / "ours")
    try:
        compared = Compared(chosen, [item for case in chosen for item in differences(case, theirs, ours, is_intended)])
    finally:
        theirs.close()
        ours.close()
    print(compared.summary)  # noqa: T201  what pytest -s is asked for
    assert len(chosen) > 80
    assert compared.unexpected == [], shown(compared.unexpected)
    assert [known for known in INTENDED if known.live and not any(map(known.covers, compared.found))] == []
