"""The script that docs/howto/passive-node.md puts before the key of a passive node, run as sshd runs it."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fix_postgres import REPOSITORY
from tests.support.needs import need_program

SECRET = "password=secret\n"


class Key:
    """What the key can do: each call is one command of a client."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        for name in ("pg/wals", "pg/base/20260101T000000/data", "other/wals"):
            (self.home / name).mkdir(parents=True)
        (self.home / "pg/wals/file").write_text("a segment\n")
        self.config = directory / "barman.conf"
        user = pwd.getpwuid(os.geteuid()).pw_name
        sections = "".join(f"[{name}]\nconninfo = host=x\narchiver = on\n" for name in ("pg", "other"))
        self.config.write_text(f"[barman]\nbarman_user = {user}\nbarman_home = {self.home}\n; {SECRET}{sections}")
        page = (REPOSITORY / "docs/howto/passive-node.md").read_text(encoding="utf-8")
        (script,) = re.findall(r"^```text\n(#!/bin/sh\n.*?)^```", page, re.DOTALL | re.MULTILINE)
        self.script = directory / "barman-passive-key"
        self.script.write_text(script.replace("/var/lib/barman", str(self.home)))
        programs = directory / "bin"
        programs.mkdir()
        (programs / "barman").write_text(
            f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m barman -c {self.config} "$@"\n'
        )
        (programs / "barman").chmod(0o755)
        self.environment = {"PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
        # In the place of ssh: what follows the host is what sshd hands to the forced command.
        self.ssh = directory / "ssh"
        self.ssh.write_text(f'#!/bin/sh\nshift\nSSH_ORIGINAL_COMMAND="$*" exec sh {self.script} pg\n')
        self.ssh.chmod(0o755)

    def ask(self, command: str) -> subprocess.CompletedProcess[str]:
        return self._run([str(self.ssh), "backup-a", command])

    def rsync(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._run(["rsync", "-e", str(self.ssh), *words])

    def _run(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    need_program("rsync")
    probe = [need_program("bwrap"), "--unshare-all", "--ro-bind", "/", "/", "true"]
    if subprocess.run(probe, check=False, capture_output=True).returncode != 0:
        pytest.skip("this host lets nobody make user namespaces")
    return Key(tmp_path)


def test_the_key_of_a_passive_node_asks_and_reads_one_server_and_changes_nothing(key: Key, tmp_path: Path) -> None:
    answer = key.ask("barman sync-info pg")
    assert answer.returncode == 0, answer.stderr
    assert '"last_position": 0' in answer.stdout
    assert key.ask("true").returncode == 0
    assert key.ask(f"ls {key.home}").stdout == "pg\n"

    copied = key.rsync("-rpts", f"backup-a:{key.home}/pg/", f"{tmp_path}/copy/")
    assert copied.returncode == 0, copied.stderr
    assert (tmp_path / "copy/wals/file").read_text() == "a segment\n"

    before = sorted(path for path in key.home.rglob("*") if ".lock" not in path.name)
    # Options that travel behind the command, where no forced command sees them.
    assert key.rsync("-rs", "--remove-source-files", f"backup-a:{key.home}/pg/wals/", f"{tmp_path}/b/").returncode != 0
    assert key.rsync("-rs", f"{tmp_path}/copy/", f"backup-a:{key.home}/pg/base/").returncode != 0
    for command in (
        f"touch {key.home}/pg/x",
        "barman list-servers",
        "barman sync-info other",
        "barman sync-info pg --primary",
        f"barman sync-info pg; cat {key.config}",
        f"cat {key.config}",
        f"cat {key.home}/other/wals/../../pg/../../barman.conf",
        "",
    ):
        refused = key.ask(command)
        assert refused.returncode != 0, command
        assert SECRET not in refused.stdout, command
    assert sorted(path for path in key.home.rglob("*") if ".lock" not in path.name) == before
