"""The exit codes by which PostgreSQL is told whether the WAL has ended, through the shell that PostgreSQL uses."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from barman.restore.recovery import get_wal_command
from barman.restore.request import RestoreRequest
from barman.values import replace
from tests.support.wal_files import make_server, segment, segment_name

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    server = make_server(tmp_path)
    for number in (2, 4):
        name = segment_name(number)
        path = Path(server.catalog.layout.wal_path(name))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(segment(name))
    command = tmp_path / "barman"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m barman "$@"\n')
    command.chmod(0o755)
    return tmp_path


def restore_command(home: Path, name: str, *, shell: str = "sh", target: str = "RECOVERYXLOG") -> int:
    """Run the generated command as PostgreSQL does, without its patience."""
    request = replace(RestoreRequest("latest", "/d", get_wal=True), config_file=str(home / "barman.conf"))
    command = get_wal_command(request, "main").replace("--recovery 30", "--recovery 0")
    command = command.replace("%f", name).replace("%p", target).replace("%%", "%")
    return subprocess.run(
        [shell, "-c", command], cwd=home, env={"PATH": f"{home}:/usr/bin:/bin"}, capture_output=True, check=False
    ).returncode


def test_a_segment_is_restored(home: Path) -> None:
    assert restore_command(home, segment_name(2)) == 0
    assert (home / "RECOVERYXLOG").read_bytes() == segment(segment_name(2))


def test_the_end_of_a_healthy_archive_is_the_end_of_the_wal(home: Path) -> None:
    assert restore_command(home, segment_name(5)) == 1
    assert restore_command(home, "00000002.history") == 1


def test_a_hole_ends_no_recovery(home: Path) -> None:
    assert restore_command(home, segment_name(3)) > 125


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_destination_that_cannot_be_written_ends_no_recovery(home: Path, shell: str) -> None:
    assert restore_command(home, segment_name(2), shell=shell, target="missing/file") > 125
    assert restore_command(home, segment_name(2), shell=shell, target="/dev/full") > 125


def test_an_archive_that_is_not_mounted_ends_no_recovery(home: Path) -> None:
    shutil.rmtree(home / "main" / "wals")
    assert restore_command(home, segment_name(5)) > 125
    (home / "main" / "wals").mkdir()
    assert restore_command(home, segment_name(5)) > 125
    assert restore_command(home, "00000002.history") > 125


def test_a_configuration_that_does_not_know_the_server_ends_no_recovery(home: Path) -> None:
    (home / "barman.conf").write_text("[barman]\nbarman_user = root\nbarman_home = /nowhere\n")
    assert restore_command(home, segment_name(5)) > 125
    (home / "barman.conf").unlink()
    assert restore_command(home, segment_name(5)) > 125


def test_a_program_that_is_missing_ends_no_recovery(home: Path) -> None:
    (home / "barman").unlink()
    assert restore_command(home, segment_name(5)) > 125
