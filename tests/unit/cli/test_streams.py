"""Standard output that is closed, or whose reader has gone: every command keeps its exit code and its composure."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from barman.cli.table import COMMANDS
from tests.support.catalog_builder import add_backup
from tests.support.forked import ROOT, Program, start_ours
from tests.support.offline import OfflineHome

A = "20260101T000000"
SEGMENT = "000000010000000000000004"

ARGUMENTS = {
    "archive-wal": "main",
    "backup": "main",
    "check": "main",
    "check-archived-wal-range": f"main {SEGMENT} {SEGMENT}",
    "check-backup": f"main {A}",
    "check-wal-archive": "main",
    "config-switch": "main --reset",
    "config-update": "[]",
    "cron": "--dry-run",
    "delete": "main nosuch",
    "diagnose": "",
    "export-backup": "main nosuch /nonexistent",
    "generate-manifest": "main nosuch",
    "get-wal": f"main {SEGMENT}",
    "import-backup": "main /nonexistent",
    "keep": f"main {A} --status",
    "list-backups": "main",
    "list-files": f"main {A}",
    "list-processes": "main",
    "list-servers": "",
    "lock-directory-cleanup": "",
    "metrics": "main",
    "put-wal": "-t main",
    "rebuild-xlogdb": "main",
    "receive-wal": "main --drop-slot",
    "recovery-window": "main",
    "replication-status": "main",
    "restore": f"main {A} /nonexistent/place",
    "retention": "main --explain",
    "show-backup": f"main {A}",
    "show-servers": "main",
    "status": "main",
    "switch-wal": "main",
    "terminate-process": "main receive-wal",
    "verify-backup": "main nosuch",
    "wal-errors": "main",
}
"""What each command is given; a command that is not here is run without arguments."""

CLOSED_PIPE = 141


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    directory = tmp_path_factory.mktemp("streams")
    home = OfflineHome(directory)
    add_backup(home.catalog, A, tablespaces=())
    program = start_ours(str(home.config_file), directory / "ours")
    yield program
    program.close()


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_standard_output_that_is_not_there_is_no_reason_to_fall_over(ours: Program, command: str, form: str) -> None:
    words = ["-f", form, command, *ARGUMENTS.get(command, "").split()]
    usual = ours.run(*words)
    assert usual.code in (0, 1, 2), usual
    assert "EXCEPTION" not in usual.said
    closed = ours.run(*words, out="closed")
    broken = ours.run(*words, out="broken pipe")
    assert closed.code == usual.code, closed.err
    assert broken.code in ({usual.code, CLOSED_PIPE} if usual.out else {usual.code}), broken.err
    for ran in (usual, closed, broken):
        for word in ("Traceback", "EXCEPTION", "BrokenPipe", "Exception ignored"):
            assert word not in ran.err, ran.err
        assert "refused an operation" not in ran.err, ran.err


def test_the_reader_of_a_long_list_may_go_after_its_first_line(tmp_path: Path) -> None:
    home = OfflineHome(tmp_path)
    for number in range(1, 29):
        for hour in range(24):
            path = home.catalog.layout.backup_info(f"202601{number:02}T{hour:02}0000")
            Path(path).write_text("status=FAILED\nserver_name=main\nversion=150018\n" + "error=" + "x" * 200 + "\n")
    command = f"{sys.executable} -m barman -c {home.config_file} list-backups all"
    done = subprocess.run(
        ["bash", "-c", f'{command} | head -1; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stderr == ""
    line, code = done.stdout.splitlines()
    assert line == "main 20260128T230000 - F - FAILED"
    assert int(code) in (0, CLOSED_PIPE)
