import os
import sys
import time

import pytest

from barman import process
from barman.clock import Deadline
from barman.errors import CommandFailed, DeadlineExceeded


def test_a_program_gets_stdin_and_its_output_is_returned():
    done = process.run(["cat"], stdin=b"hello")
    assert (done.returncode, done.stdout) == (0, b"hello")


def test_a_failing_program_is_named_with_its_last_words():
    with pytest.raises(CommandFailed, match=r"'sh' ended with status 3: no disk") as caught:
        process.run(["sh", "-c", "echo no disk >&2; exit 3"])
    assert caught.value.returncode == 3


def test_a_missing_program_is_a_command_failure():
    with pytest.raises(CommandFailed, match="cannot run '/nowhere/program'"):
        process.run(["/nowhere/program"])


def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path):
    marker = tmp_path / "pid"
    with pytest.raises(DeadlineExceeded):
        process.run(["sh", "-c", f"sleep 60 & echo $! > {marker}; wait"], deadline=Deadline(0.5))
    pid = int(marker.read_text())
    for _ in range(50):
        if not process.is_alive(pid):
            break
        time.sleep(0.05)
    assert not process.is_alive(pid)


def test_the_lines_of_a_child_reach_the_callbacks():
    out, err = [], []
    with process.Child(
        ["sh", "-c", "echo one; echo two >&2; echo three"], on_stdout=out.append, on_stderr=err.append
    ) as child:
        assert child.wait() == 0
    assert (out, err) == (["one", "three"], ["two"])


def test_a_child_never_outlives_its_block():
    with process.Child(["sleep", "60"]) as child:
        pid = child.pid
    assert not process.is_alive(pid)


def test_programs_are_found_in_the_order_of_the_search_path(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text("#!/bin/sh\n")
        (tmp_path / name / "tool").chmod(0o755)
    (tmp_path / "b" / "other").write_text("not executable")
    path = f"{tmp_path}/a:{tmp_path}/b"
    assert process.find_programs(["tool"], path) == [f"{tmp_path}/a/tool", f"{tmp_path}/b/tool"]
    assert process.find_program(["other"], path) is None


def test_a_detached_program_does_not_hold_our_output():
    pid = process.spawn_detached(["sleep", "30"])
    assert os.getsid(pid) == pid
    os.kill(pid, 9)


INTERRUPTED_AT_BIRTH = """
import signal, sys, time
from barman import process
from barman.errors import Interrupted
from barman.interrupts import raise_interrupted

signal.signal(signal.SIGTERM, raise_interrupted)
try:
    process.Child(["/bin/sh", "-c", f"echo $$ >{sys.argv[1]}; kill -TERM $PPID; sleep 600; true"])
    time.sleep(60)
except Interrupted as interruption:
    process.end_children()
    print(interruption.signal_name)
"""


@pytest.mark.parametrize("attempt", range(5))
def test_a_program_does_not_outlive_a_process_that_is_interrupted_while_it_starts_it(tmp_path, attempt):
    pid_file = tmp_path / "pid"
    done = process.run([sys.executable, "-c", INTERRUPTED_AT_BIRTH, str(pid_file)], deadline=Deadline(50))
    assert done.text == "SIGTERM\n"
    assert not process.is_alive(int(pid_file.read_text()))
