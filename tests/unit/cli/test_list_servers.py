from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import barman

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(barman.__file__)))
SERVERS = """
[pg]
description = Main PG
conninfo = host=a
backup_method = postgres
archiver = on
[off]
active = no
[passive]
primary_ssh_command = ssh other
[broken]
description = Needs care
backup_method = postgres
archiver = on
[plain]
conninfo = host=a
backup_method = postgres
archiver = on
"""


def run(tmp_path: Path, *arguments: str, servers: str = SERVERS) -> subprocess.CompletedProcess[str]:
    import getpass

    main = tmp_path / "barman.conf"
    main.write_text(
        f"[barman]\nbarman_home = {tmp_path}\nbarman_user = {getpass.getuser()}\nlog_file = {tmp_path}/log\n{servers}"
    )
    return subprocess.run(
        [sys.executable, "-m", "barman", "-c", str(main), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_servers_are_listed_sorted_with_what_is_odd_about_them(tmp_path: Path) -> None:
    done = run(tmp_path, "list-servers")
    assert done.stdout.splitlines() == [
        "broken - Needs care (WARNING: disabled)",
        "off -  (inactive)",
        "passive -  (Passive)",
        "pg - Main PG",
        "plain",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_minimal_prints_names_only_and_the_singular_is_an_alias(tmp_path: Path) -> None:
    assert run(tmp_path, "list-server", "--minimal").stdout.split() == ["broken", "off", "passive", "pg", "plain"]


@pytest.mark.parametrize("arguments", [[], ["--minimal"]])
def test_json_has_the_descriptions(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, "-f", "json", "list-servers", *arguments)
    assert json.loads(done.stdout) == {
        "broken": {"description": "Needs care (WARNING: disabled)"},
        "off": {"description": " (inactive)"},
        "passive": {"description": " (Passive)"},
        "pg": {"description": "Main PG"},
        "plain": {"description": ""},
    }


def test_warnings_about_servers_and_options_go_to_standard_error(tmp_path: Path) -> None:
    done = run(tmp_path, "list-servers", servers="[a]\nconninfo = host=a\nbackup_method = postgres\nfoo = 1\n")
    assert done.stdout == "a\n"
    assert done.stderr.splitlines() == [
        'WARNING: Invalid configuration option "foo" in [a] section.',
        "WARNING: No archiver enabled for server 'a'. Please turn on 'archiver', 'streaming_archiver' or both",
        "WARNING: Forcing 'archiver = on'",
    ]


def test_conflicting_directories_are_an_error(tmp_path: Path) -> None:
    server = "conninfo = host=a\nbackup_method = postgres\narchiver = on\nbackup_directory = /same\n"
    done = run(tmp_path, "list-servers", servers=f"[a]\n{server}[b]\n{server}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 6


def test_no_third_party_and_no_heavy_module_is_imported(tmp_path: Path) -> None:
    main = tmp_path / "barman.conf"
    main.write_text(f"[barman]\nbarman_home = {tmp_path}\nbarman_user =\n[pg]\nactive = no\n")
    script = (
        "import sys\nfrom barman.config.loader import load_settings\n"
        f"load_settings({str(main)!r}, {{}})\n"
        "print([name for name in ('configparser', 'dataclasses', 'inspect', 'logging', 'pathlib', 'psycopg2',"
        " 'dateutil', 'subprocess') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
