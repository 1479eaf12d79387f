"""Start-up is a feature: light commands import no third party and nothing heavy."""

import json
import os
import pwd
import subprocess
import sys

import pytest

USER = pwd.getpwuid(os.getuid()).pw_name
HEAVY = {"psycopg2", "paramiko", "dateutil", "argcomplete", "zstandard", "lz4", "cramjam", "isal", "asyncio"}
# What list-servers and --help have no use for.
UNUSED = HEAVY | {"subprocess", "logging", "configparser", "socket", "pathlib", "tempfile", "threading", "typing"}


def imported(tmp_path, *arguments):
    (tmp_path / "barman.conf").write_text(
        f"[barman]\nbarman_home = {tmp_path}\nbarman_user = {USER}\nlog_file = {tmp_path}/barman.log\n"
        "[pg]\nconninfo = host=pg user=barman\nstreaming_archiver = on\nbackup_method = postgres\nslot_name = barman\n"
    )
    code = (
        # What the interpreter and its site packages import by themselves is not ours.
        "import json, sys\nbefore = set(sys.modules)\nfrom barman.cli.main import run\n"
        f"try:\n    run({['-c', str(tmp_path / 'barman.conf'), *arguments]!r})\nexcept SystemExit:\n    pass\n"
        "sys.stdout.flush()\nsys.stderr.write('\\n' + json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}, done


@pytest.mark.parametrize("arguments", [["list-servers"], ["--help"], ["--version"]])
def test_a_light_command_imports_nothing_it_does_not_use(tmp_path, arguments):
    names, done = imported(tmp_path, *arguments)
    assert names & UNUSED == set(), done.stderr


def test_the_version_line_begins_with_a_number_that_clients_can_range_check(tmp_path):
    _, done = imported(tmp_path, "--version")
    first = done.stdout.split()[0]
    assert [int(part) for part in first.split(".")] >= [2, 9]
    assert first.startswith("3.100.")
    assert "independent" in done.stdout


@pytest.mark.parametrize("arguments", [["list-backups", "pg"], ["list-backups", "--minimal", "all"]])
def test_a_command_that_reads_the_catalog_imports_no_more_than_the_catalog(tmp_path, arguments):
    names, done = imported(tmp_path, *arguments)
    assert "Traceback" not in done.stderr
    unused = HEAVY | {"configparser", "dataclasses", "typing", "inspect", "ast", "shutil", "subprocess", "threading"}
    assert names & unused == set(), done.stderr
