"""How the clients reach a Barman host: arguments, quoting, and what is imported before ssh starts."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from barman.clients.ssh import ClientError, PrivateDirectoryError, Remote, private_directory, quote, quote_always


def remote(**options: object) -> Remote:
    values = {"user": "barman", "port": None, "config": None, **options}
    return Remote(str(values.pop("host", "backup")), str(values.pop("server", "main")), **values)  # type: ignore[arg-type]  # any field


def test_the_remote_command_is_one_argument_as_the_original_sends_it() -> None:
    argv = remote(port="2222").argv(remote().barman("put-wal", quote("main")))
    assert argv[:3] == ["ssh", "-p", "2222"]
    assert argv[-2:] == ["barman@backup", "barman put-wal main"]
    assert remote(config="/etc/b.conf").barman("put-wal", "x", config_form="--config={}") == (
        "barman --config=/etc/b.conf put-wal x"
    )


def test_nobody_is_asked_for_a_password_and_a_dead_link_is_noticed() -> None:
    argv = remote().argv("true")
    assert "BatchMode=yes" in argv
    assert any(word.startswith("ServerAliveInterval") for word in argv)
    assert not any("StrictHostKeyChecking" in word for word in argv)


@pytest.mark.parametrize("text", ["", "-oProxyCommand=evil", "a b", "a\nb", "x@y", "\0"])
def test_a_host_or_user_that_ssh_could_take_for_something_else_is_refused(text: str) -> None:
    with pytest.raises(ClientError):
        remote(host=text)
    with pytest.raises(ClientError):
        remote(user=text)


def test_what_is_quoted_arrives_as_it_is_in_a_real_shell() -> None:
    dice = random.Random(3)
    alphabet = "ab'\"\\$`!*?[]{}()<>|&;#~=%^ \t\n-é\u2028"
    words = ["", "'", "$(touch x)", "-n", "a b", "%", "\\'"]
    words += ["".join(dice.choices(alphabet, k=dice.randint(1, 12))) for _ in range(300)]
    for function in (quote, quote_always):
        command = "printf '%s\\0' " + " ".join(function(word) for word in words)
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
        assert done.stdout.decode().split("\0")[:-1] == words


def test_different_destinations_have_different_keys() -> None:
    keys = {
        remote().key(),
        remote(host="other").key(),
        remote(user="other").key(),
        remote(port="1").key(),
        remote(config="x").key(),
        remote(server="other").key(),
    }
    assert len(keys) == 6


def test_a_private_directory_is_made_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert private_directory(str(path)) == str(path)
    assert path.stat().st_mode & 0o777 == 0o700
    path.chmod(0o770)
    with pytest.raises(PrivateDirectoryError, match="others"):
        private_directory(str(path))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(PrivateDirectoryError, match="real directory"):
        private_directory(str(tmp_path / "link"))
    if os.geteuid() == 0:
        (tmp_path / "foreign").mkdir(mode=0o700)
        os.chown(tmp_path / "foreign", 12345, -1)
        with pytest.raises(PrivateDirectoryError, match="another user"):
            private_directory(str(tmp_path / "foreign"))


@pytest.mark.parametrize("client", ["wal_archive", "wal_restore"])
def test_before_ssh_starts_nothing_heavy_is_imported(tmp_path: Path, client: str) -> None:
    """ssh here tells what was imported when it started."""
    (tmp_path / "wal").write_bytes(b"x")
    (tmp_path / "ssh").write_text(f"#!/bin/sh\n: > {tmp_path}/started\ncat > /dev/null\n")
    (tmp_path / "ssh").chmod(0o755)
    code = (
        "import json, sys\nbefore, seen = set(sys.modules), []\n"
        "def watch(event, arguments):\n    if event == 'os.posix_spawn':\n"
        "        seen.extend(set(sys.modules) - before)\n"
        f"sys.addaudithook(watch)\nfrom barman.clients import {client}\n"
        f"{client}.run(sys.argv[1:])\nprint(json.dumps(seen))"
    )
    arguments = ["h", "s", str(tmp_path / "wal")]
    if client == "wal_restore":
        spool = str(tmp_path / "no spool")
        arguments = ["--spool-dir", spool, "h", "s", "000000010000000000000001", str(tmp_path / "dest")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=True, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    names = {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert (tmp_path / "started").exists(), done.stderr
    heavy = {"subprocess", "threading", "dataclasses", "logging", "socket", "tempfile", "hashlib", "tarfile", "pathlib"}
    assert "argparse" in names
    assert names & (heavy | {"psycopg2", "paramiko", "dateutil", "zstandard", "lz4", "cramjam", "isal"}) == set()
