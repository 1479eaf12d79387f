"""The ssh gateway: what a database host's key may ask for, and everything else that it may not."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from barman.cli.gateway import PERMITTED, REFUSED, Gateway, NotPermitted, run
from tests.support.wal_files import make_server

WAL = "00000001000000000000002A"

# What the clients of the released original send, as seen by an ssh that writes its arguments down.
OF_THE_ORIGINAL = [
    ("barman put-wal pg", ["put-wal", "pg"]),
    ("barman put-wal pg --test", ["put-wal", "--test", "pg"]),
    (f"barman get-wal 'pg' '{WAL}'", ["get-wal", "pg", WAL]),
    ("barman get-wal --test 'pg' 'dummy_wal_name'", ["get-wal", "--test", "pg", "dummy_wal_name"]),
    (f"barman get-wal --gzip --partial 'pg' '{WAL}'", ["get-wal", "--gzip", "--partial", "pg", WAL]),
    (f"barman get-wal --bzip2 'pg' '{WAL}'", ["get-wal", "--bzip2", "pg", WAL]),
    (
        f"barman get-wal --peek '2' --keep-compression --partial 'pg' '{WAL}'",
        ["get-wal", "--peek", "2", "--keep-compression", "--partial", "pg", WAL],
    ),
]


@pytest.mark.parametrize(("command", "expected"), OF_THE_ORIGINAL)
def test_what_the_original_clients_send_is_served(command: str, expected: list[str]) -> None:
    assert Gateway("pg").translate(command) == expected


@pytest.mark.parametrize("form", ["-c {}", "--config {}", "--config={}", "--config='{}'"])
def test_the_configuration_may_be_named_if_it_is_the_one_of_the_key(form: str, tmp_path: Path) -> None:
    config = tmp_path / "barman.conf"
    config.touch()
    command = f"barman {form.format(config)} put-wal pg"
    assert Gateway("pg", str(config)).translate(command) == ["--config", str(config), "put-wal", "pg"]
    for other in ("/etc/shadow", f"{tmp_path}/../barman.conf", f"{config}.d", ""):
        with pytest.raises(NotPermitted, match="configuration file|has no value"):
            Gateway("pg", str(config)).translate(f"barman {form.format(other)} put-wal pg")


def test_the_configuration_of_the_key_serves_whether_the_client_names_it_or_not(tmp_path: Path) -> None:
    assert Gateway("pg", "/a b.conf").translate("barman put-wal pg") == ["--config", "/a b.conf", "put-wal", "pg"]


def test_a_name_is_compared_as_a_whole_and_quoted_as_shells_do() -> None:
    assert Gateway("p g$").translate(r"barman put-wal 'p g$'") == ["put-wal", "p g$"]
    assert Gateway("p'g").translate(r"barman get-wal 'p'\''g' " + WAL) == ["get-wal", "p'g", WAL]


@pytest.mark.parametrize(
    "command",
    [
        # other servers, no server, more than one
        "barman put-wal other", "barman put-wal all", "barman put-wal", "barman put-wal pg other", "barman put-wal PG",
        f"barman get-wal other {WAL}", f"barman get-wal pg {WAL} {WAL}", "barman get-wal pg", "barman put-wal 'pg '",
        # paths, and options that are none of the clients'
        f"barman get-wal -o /tmp pg {WAL}", f"barman get-wal --output-directory=/tmp pg {WAL}",
        f"barman get-wal -o/tmp pg {WAL}", "barman get-wal pg ../../../etc/passwd", "barman get-wal pg /etc/passwd",
        "barman get-wal pg .ssh", "barman get-wal pg ''", f"barman get-wal --part pg {WAL}", "barman put-wal --te pg",
        "barman put-wal --help", "barman put-wal -- pg", "barman get-wal -Pz pg " + WAL, "barman put-wal -P pg",
        f"barman get-wal --partial=1 pg {WAL}",
        # numbers that are none, or ask for a great deal
        f"barman get-wal --peek pg {WAL}", f"barman get-wal --peek -1 pg {WAL}", f"barman get-wal -p2 pg {WAL}",
        f"barman get-wal --peek 99999 pg {WAL}", f"barman get-wal pg {WAL} --peek", f"barman get-wal -p=2 pg {WAL}",
        f"barman get-wal --recovery 1e9 pg {WAL}", f"barman get-wal --peek ² pg {WAL}",
        # other commands, other programs
        "barman delete pg latest", "barman wal-errors pg --drop all", "barman list-servers", "barman -v", "barman",
        "barman --help", "barman -f json put-wal pg", "barman -q put-wal pg", "barman --log-level DEBUG put-wal pg",
        "barman restore pg latest /", "barman --config", "barman -c", "/bin/barman put-wal pg", "barman2 put-wal pg",
        "sh", "bash -i", "rsync --server -logDtpre.iLsfxC . /var/lib/barman", "scp -t /", "internal-sftp",
        "/usr/lib/openssh/sftp-server", "cat", " ", "''",
        # what a shell would make of it
        "barman put-wal pg; rm -rf /", "barman put-wal pg;rm", "barman put-wal pg && id", "barman put-wal pg | sh",
        "barman put-wal pg\nid", "barman put-wal\npg", "barman\tput-wal pg",
        "barman put-wal pg\rid", "barman put-wal pg\0", "barman put-wal $(id)",
        "barman put-wal `id`", "barman put-wal pg > /etc/passwd", "barman put-wal pg < /x",
        "barman put-wal pg &", "(barman put-wal pg)", "barman put-wal 'pg", 'barman put-wal "pg', "barman put-wal pg\\",
        "barman put-wal pg # x", "PATH=/tmp barman put-wal pg", "env barman put-wal pg", "exec barman put-wal pg",
        "barman put-wal ${x:-pg}", "barman put-wal p*", "barman put-wal ~", "barman put-wal pg\u2028id",
        "barman put-wal pg " + " " * 5000,
    ],
)  # fmt: skip
def test_everything_else_is_refused(command: str) -> None:
    with pytest.raises(NotPermitted):
        Gateway("pg", "/etc/barman.conf").translate(command)


def test_a_key_may_be_narrowed_to_one_command() -> None:
    gateway = Gateway("pg", only="put-wal")
    assert gateway.translate("barman put-wal pg") == ["put-wal", "pg"]
    with pytest.raises(NotPermitted, match="get-wal"):
        gateway.translate(f"barman get-wal pg {WAL}")
    assert "get-wal" not in gateway.permits()


def test_every_option_of_the_served_commands_is_permitted_or_known_not_to_be() -> None:
    """A new option of put-wal or get-wal needs a decision here: may whoever breaks into a database host use it?"""
    refused = {"-h", "--help", "-o", "--output-directory"}
    for name, permit in PERMITTED.items():
        parser = argparse.ArgumentParser()
        import_module(f"barman.cli.commands.{name.replace('-', '_')}").add_arguments(parser)
        flags = {word for action in parser._actions if action.nargs == 0 for word in action.option_strings}
        valued = {word for action in parser._actions if action.nargs != 0 for word in action.option_strings}
        positional = [action for action in parser._actions if not action.option_strings]
        assert permit.flags == flags - refused
        assert permit.numbers == valued - refused
        assert len(positional) == 1 + permit.wal_names


def test_a_refusal_says_what_is_permitted_and_is_logged_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_server(tmp_path)
    config = str(tmp_path / "barman.conf")
    for command in ("", "sh\nFAKED LINE", "x" * 100_000):
        assert run(["-c", config, "main"], {"SSH_ORIGINAL_COMMAND": command}) == REFUSED
        told = capsys.readouterr()
        assert told.out == ""
        assert "was refused by the ssh gateway of server 'main'" in told.err
        assert "it permits: barman put-wal [--test] main; barman get-wal" in told.err
        assert len(told.err) < 2000
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 3
    assert all(" WARNING: " in line and "was refused by the ssh gateway" in line for line in lines)
    assert REFUSED > 125


def test_the_configuration_is_that_of_the_line_and_not_of_the_session(tmp_path: Path) -> None:
    """sshd can be told to accept variables of the client."""
    make_server(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    make_server(elsewhere)
    done = subprocess.run(
        [sys.executable, "-m", "barman.cli.gateway", "main"],
        env={**os.environ, "HOME": str(tmp_path), "SSH_ORIGINAL_COMMAND": "barman put-wal main --test",
             "BARMAN_CONFIG_FILE": str(elsewhere / "barman.conf")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Could not find any configuration file" in done.stderr


def test_the_gateway_imports_nothing_that_the_command_does_not_use(tmp_path: Path) -> None:
    make_server(tmp_path)
    config = str(tmp_path / "barman.conf")

    def imported(program: str) -> set[str]:
        code = f"import json, sys\n{program}\nsys.stdout.flush()\nsys.stderr.write(json.dumps(sorted(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "SSH_ORIGINAL_COMMAND": "barman put-wal main --test"},
        )  # fmt: skip
        assert done.stdout == "Ready to accept WAL files for the server main\n"
        return set(json.loads(done.stderr.splitlines()[-1]))

    plain = imported(f"from barman.cli.main import run\nrun(['-c', {config!r}, 'put-wal', '--test', 'main'])")
    through = imported(f"import os\nfrom barman.cli.gateway import run\nrun(['-c', {config!r}, 'main'], os.environ)")
    assert through - plain <= {"barman.cli.gateway", "shlex"}
