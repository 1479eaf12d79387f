"""The boundary: messages, exit codes, closed pipes. Everything runs as a process, as users run it."""

import json
import os
import pwd
import signal
import subprocess
import sys
import time

import pytest

USER = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "barman.conf").write_text(
        f"[barman]\nbarman_home = {tmp_path}/home\nbarman_user = {USER}\nlog_file = {tmp_path}/barman.log\n"
        "[pg]\nactive = false\nconninfo = host=pg password=s3cret\nstreaming_archiver = on\nslot_name = barman\n"
        "backup_method = postgres\ndescription = Main\n"
    )
    return tmp_path


def barman(home, *arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "barman", "-c", str(home / "barman.conf"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        **kwargs,
    )


def test_an_unknown_command_is_a_usage_error_with_a_suggestion(home):
    done = barman(home, "list-serves")
    assert done.returncode == 2
    assert "list-servers" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["check"], ["check", "pg", "--nonsense"], ["--format", "xml", "check", "pg"]]
)
def test_bad_arguments_are_usage_errors(home, arguments):
    assert barman(home, *arguments).returncode == 2


def test_no_command_and_help_show_the_commands(home):
    for arguments in ([], ["help"]):
        done = barman(home, *arguments)
        assert done.returncode == 0
        assert "list-backups" in done.stdout


def test_a_missing_configuration_file_is_named_without_a_traceback(tmp_path):
    done = barman(tmp_path, "list-servers")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"Configuration file '{tmp_path}/barman.conf' does not exist"
    assert "Traceback" not in done.stderr


def test_an_unknown_server_is_an_error_and_json_stays_one_document(home):
    done = barman(home, "status", "nosuch")
    assert (done.returncode, done.stderr) == (1, "ERROR: Unknown server 'nosuch'\n")
    done = barman(home, "-f", "json", "status", "nosuch")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"_ERROR": ["Unknown server 'nosuch'"]}
    assert done.stderr == ""


def test_all_cannot_be_mixed_with_names_nor_used_where_one_server_is_meant(home):
    assert barman(home, "status", "all", "pg").returncode != 0
    done = barman(home, "show-backup", "all", "latest")
    assert done.returncode == 1
    assert "'all'" in done.stderr


def test_a_closed_pipe_is_silent(home):
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [sys.executable, "-m", "barman", "-c", str(home / "barman.conf"), "show-servers", "pg"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        os.close(write)
        _, err = child.communicate()
    assert err == ""
    assert child.returncode in (1, 141)


def test_quiet_silences_the_lines_and_keeps_the_errors(home):
    assert barman(home, "-q", "list-servers").stdout == ""
    assert "Unknown server" in barman(home, "-q", "status", "nosuch").stderr


def test_no_password_is_shown_in_any_format_or_logged(home):
    for arguments in (
        ["show-servers", "pg"],
        ["-f", "json", "show-servers", "pg"],
        ["diagnose"],
        ["-f", "json", "diagnose"],
    ):
        done = barman(home, *arguments)
        assert done.returncode == 0, done.stderr
        assert "s3cret" not in done.stdout + done.stderr, arguments
    log = home / "barman.log"
    assert not log.exists() or "s3cret" not in log.read_text()


def test_colours_are_used_on_request_only(home):
    assert "\033[" not in barman(home, "status", "nosuch").stderr
    assert "\033[31mERROR" in barman(home, "--color", "always", "status", "nosuch").stderr


def test_errors_are_written_to_the_log(home):
    barman(home, "status", "nosuch")
    assert "ERROR: Unknown server 'nosuch'" in (home / "barman.log").read_text()


def test_an_unreadable_log_file_is_a_warning(home):
    (home / "barman.log").mkdir()
    done = barman(home, "status", "nosuch")
    assert "barman.log" in done.stderr
    assert "Unknown server" in done.stderr


@pytest.mark.parametrize("server", ["pg", "nope"])
def test_nagios_in_json_is_one_document_with_the_exit_code_of_the_plugin(home, server):
    done = barman(home, "-f", "json", "check", "--nagios", server)
    lines = json.loads(done.stdout)["_INFO"]
    assert lines[0].startswith("BARMAN ")
    assert done.returncode == (2 if server == "nope" else 0)


@pytest.mark.parametrize("arguments", [["list-servers"], ["-f", "json", "list-servers"]])
def test_a_full_standard_output_is_an_error_without_a_traceback(home, arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "barman", "-c", str(home / "barman.conf"), *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: ")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_the_void(home, streams):
    command = f"exec {sys.executable} -m barman -c {home}/barman.conf list-servers {streams}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_an_interrupt_while_the_configuration_is_read_is_told_without_a_traceback(home):
    os.mkfifo(home / "fifo.conf")
    process = subprocess.Popen(
        [sys.executable, "-m", "barman", "-c", str(home / "fifo.conf"), "list-servers"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Opening returns when the program has the other end open: then it waits for the first line.
    with open(home / "fifo.conf", "w"):
        # One that arrives between two system calls is seen by the interpreter only after the second.
        for _ in range(100):
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
            if process.poll() is not None:
                break
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "interrupted" in errors
