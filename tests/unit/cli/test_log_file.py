"""The log file: where it goes, what it holds, and what happens when nobody can write it."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.support.needs import ordinary_permissions
from tests.support.offline import OfflineHome
from tests.support.wal_files import drop


class Home(OfflineHome):
    """A home whose [barman] section can be changed."""

    def set(self, **options: str) -> None:
        text = self.config_file.read_text()
        for name, value in options.items():
            text = re.sub(rf"^{name} = .*\n", "", text, flags=re.MULTILINE)
            text = text.replace("[barman]\n", f"[barman]\n{name} = {value}\n" if value else "[barman]\n")
        self.config_file.write_text(text)

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


DEFAULT_LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[\d+\] barman\S* ERROR: Unknown server 'nosuch'"


def test_lines_have_the_format_of_the_original_or_the_one_that_is_configured(home: Home) -> None:
    home.run("status", "nosuch")
    assert re.search(rf"^{DEFAULT_LINE}$", home.log(), re.MULTILINE)
    home.set(log_format="%%(levelname)s/%%(process)s/%%(message)s")
    home.run("status", "nosuch")
    assert re.search(r"^ERROR/\d+/Unknown server 'nosuch'$", home.log(), re.MULTILINE)


def test_a_format_that_is_none_is_told_and_replaced(home: Home) -> None:
    home.set(log_format="%%(nosuch")
    ran = home.run("status", "nosuch")
    assert ran.rc == 1
    assert "log_format" in ran.err
    assert "Traceback" not in ran.said
    assert re.search(DEFAULT_LINE, home.log())


@pytest.mark.parametrize(
    ("configured", "given", "debug", "info", "error"),
    [
        ("DEBUG", "", True, True, True),
        ("INFO", "", False, True, True),
        ("ERROR", "", False, False, True),
        ("CRITICAL", "", False, False, False),
        ("", "", False, True, True),
        ("nonsense", "", False, True, True),
        ("ERROR", "DEBUG", True, True, True),
        ("DEBUG", "ERROR", False, False, True),
    ],
)
def test_the_level_is_the_configured_one_unless_one_is_given(
    home: Home, configured: str, given: str, debug: bool, info: bool, error: bool
) -> None:
    home.set(log_level=configured)
    option = ["--log-level", given] if given else []
    assert home.run(*option, "archive-wal", "main").rc == 0
    assert home.run(*option, "status", "nosuch").rc == 1
    log = home.log()
    assert ("INFO: Processing xlog segments" in log) == info
    assert ("ERROR: Unknown server" in log) == error
    assert (" DEBUG: " in log) <= debug


@pytest.mark.parametrize("level", ["debug", "CHATTY", ""])
def test_a_level_that_is_none_is_a_usage_error(home: Home, level: str) -> None:
    process = home.start("--log-level", level, "list-servers")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "--log-level" in err


def test_a_file_that_cannot_be_written_is_a_warning_and_the_command_goes_on(home: Home, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "barman.log").touch(mode=0o400)
    (tmp_path / "file").touch()
    for place in (closed / "barman.log", closed / "below" / "barman.log", tmp_path / "file" / "barman.log", tmp_path):
        closed.chmod(0o500)
        home.set(log_file=str(place))
        with ordinary_permissions():
            ran = home.run("archive-wal", "main")
        assert ran.rc == 0, ran.said
        assert "\tno file found" in ran.out
        assert f"WARNING: failed opening the requested log file '{place}'" in ran.err
        assert "Traceback" not in ran.said


def test_a_full_disk_below_the_log_file_stops_nothing(home: Home) -> None:
    home.set(log_file="/dev/full")
    ran = home.run("archive-wal", "main")
    assert (ran.rc, ran.err) == (0, "")
    assert "\tno file found" in ran.out


def test_a_process_that_runs_for_long_writes_into_the_new_file_after_a_rotation(home: Home) -> None:
    os.mkfifo(home.directory / "go")
    script = home.directory / "wait"
    script.write_text(f"#!/bin/sh\necho before the rotation\ncat {home.directory}/go\nexit 1\n")
    script.chmod(0o755)
    home.config_file.write_text(home.config_file.read_text() + f"pre_archive_script = {script}\n")
    name = "000000010000000000000001"
    drop(home.catalog.layout.incoming_directory, name)
    process = home.start("archive-wal", "main")
    try:
        # Opening returns when the script reads: everything before has been logged, and nothing more is until it ends.
        with open(home.directory / "go", "w") as go:
            rotated = home.log_file.with_name("barman.log.1")
            home.log_file.rename(rotated)
            before = rotated.read_text()
            go.write("after the rotation\n")
        out, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert process.returncode == 0, out
    assert "Processing xlog segments" in before
    assert rotated.read_text() == before
    assert name in home.log()


def test_colours_follow_the_option_and_the_terminal(home: Home) -> None:
    for arguments, expected in (
        (("check", "main"), False),
        (("--color", "auto", "check", "main"), False),
        (("--color", "never", "check", "main"), False),
        (("--colour", "always", "check", "main"), True),
    ):
        ran = home.run(*arguments)
        assert ran.rc == 1
        assert ("\033[32mOK\033[0m" in ran.out) == expected
        assert ("\033[31mFAILED\033[0m" in ran.out) == expected
        assert expected or "\033" not in ran.said
    assert "\033[31mERROR: Unknown server 'nosuch'\033[0m" in home.run("--color", "always", "status", "nosuch").err
    assert "\033" not in home.run("--color", "always", "-f", "json", "check", "main").out


@pytest.mark.parametrize(
    "command", ["list-servers", "list-backups main", "status main", "show-servers main", "check main"]
)
def test_quiet_silences_what_is_said_and_no_exit_code(home: Home, command: str) -> None:
    words = command.split()
    loud, quiet = home.run(*words), home.run("-q", *words)
    assert quiet.out == ""
    assert (quiet.rc, quiet.err) == (loud.rc, loud.err)
    silent = home.run("-q", "-f", "json", *words)
    assert (silent.rc, silent.out, silent.err) == (loud.rc, "", "")


def test_quiet_leaves_the_line_of_the_plugin(home: Home) -> None:
    ran = home.run("-q", "check", "--nagios", "main")
    assert ran.out.startswith("BARMAN CRITICAL - server main has issues")
    assert ran.rc == 2
