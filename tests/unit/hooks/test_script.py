"""One run of a script: how it ends, what of its output is kept, and that nothing of it is left."""

from __future__ import annotations

import logging
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from barman.clock import Deadline
from barman.hooks.script import describe, printable, run_once
from barman.process import is_alive
from tests.unit.hooks.support import script


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "barman"):
        yield caplog


def run(command: str, seconds: float | None = 20) -> tuple[int | None, str]:
    ended = run_once(script(command, seconds=1), dict(os.environ), Deadline(seconds), grace=0.3)
    return ended.code, ended.reason


def until(path: Path) -> str:
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


def assert_dead(pid: int) -> None:
    """A killed process that is nobody's child here takes a moment to be gone."""
    limit = time.monotonic() + 20
    while is_alive(pid) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not is_alive(pid)


def test_the_shell_reads_the_option_and_the_output_is_logged_by_stream(log: pytest.LogCaptureFixture) -> None:
    assert run('x="two words"; printf "%s\\n" "$x" | tr a-z A-Z; echo "to err" >&2') == (0, "status 0")
    records = {(record.levelname, record.getMessage()) for record in log.records}
    assert ("DEBUG", "pre_backup_script: TWO WORDS") in records
    assert ("WARNING", "pre_backup_script: to err") in records


def test_a_failure_is_told_with_its_status_and_the_last_words(log: pytest.LogCaptureFixture) -> None:
    assert run("echo said; echo first >&2; echo 'no space' >&2; exit 5") == (5, "status 5: no space")
    assert "ended with status 5\nstdout: said\nstderr: first\nstderr: no space" in log.text
    code, reason = run("/nonexistent/script --now")
    assert code == 127
    assert "not found" in reason
    assert run("kill -9 $$") == (-9, "signal SIGKILL")


def test_a_script_without_permission_to_run_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    code, reason = run(str(tmp_path / "script"))
    assert code == 126
    assert "ermission denied" in reason


def test_what_cannot_be_started_has_no_exit_code() -> None:
    ended = run_once(script("true"), {"X": "x" * 300_000}, Deadline(20))
    assert ended.code is None
    assert ended.reason == "cannot run '/bin/sh': Argument list too long"


def test_standard_input_is_empty() -> None:
    assert run('test "$(cat)" = ""')[0] == 0


def test_a_script_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # Neither the shell nor its children heed SIGTERM; one is in the background, and the output stays open.
    command = f"trap '' TERM; sleep 600 & echo $$ $! >{pids}; (trap '' TERM; sleep 600); sleep 600"
    assert run(command, 0.3) == (None, "not done within 1 seconds, and killed")
    for pid in until(pids).split():
        assert_dead(int(pid))


def test_a_leader_that_obeys_does_not_hide_a_child_that_does_not(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    run(f"(trap '' TERM; echo $(exec sh -c 'echo $PPID') >{pids}; while :; do sleep 1; done) & wait", 0.5)
    assert_dead(int(until(pids)))


def test_a_program_left_in_the_background_goes_on_and_is_not_waited_for(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    assert run(f"sleep 600 >/dev/null 2>&1 & echo $! >{pids}") == (0, "status 0")
    pid = int(until(pids))
    assert is_alive(pid)
    os.kill(pid, 9)


def test_binary_output_is_logged_escaped(log: pytest.LogCaptureFixture) -> None:
    run(r"printf 'a\377\000\033[31mred\rforged \342\202\254\n' >&2")
    (line,) = [record.getMessage() for record in log.records if record.levelname == "WARNING"]
    assert line == "pre_backup_script: a\N{REPLACEMENT CHARACTER}\\x00\\x1b[31mred\\rforged €"


def test_endless_output_costs_neither_memory_nor_a_full_log(log: pytest.LogCaptureFixture) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert run("head -c 60000000 /dev/zero; yes | head -n 5000")[0] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert sum(len(record.getMessage()) for record in log.records) < 500_000
    assert len(log.records) < 1010
    assert "pre_backup_script: what it writes from here on is not logged" in log.text


def test_passwords_are_not_logged(log: pytest.LogCaptureFixture) -> None:
    run("true password=geheim; echo postgresql://me:geheim@host/db; echo PGPASSWORD=geheim >&2; exit 1")
    assert "geheim" not in log.text
    assert "geheim" not in describe(script("upload --password=geheim"))


def test_a_command_is_shown_on_one_line_of_bounded_length() -> None:
    assert printable("a\nb\tc\x85") == "a\\nb\tc\\x85"
    assert len(describe(script("x" * 5000))) == 2001
