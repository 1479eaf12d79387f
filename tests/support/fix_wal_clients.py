"""The WAL clients over a real sshd: programs on PATH, and a Barman home that the ssh user owns.

Fixture: `wal_link`. PostgreSQL runs as its own user, so does sshd; the Barman home is given to that user too.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import places
from tests.support.fix_postgres import REPOSITORY, BarmanHome, ClusterFactory, Completed
from tests.support.fix_sshd import USER, Sshd

HOST = "db"
"""The name of the Barman host in the configuration of the ssh client."""


class WalLink:
    """A database host's view of a Barman host."""

    def __init__(self, directory: Path, home: BarmanHome, sshd: Sshd) -> None:
        self.directory = directory
        self.home = home
        self.sshd = sshd
        self.spool = directory / "spool"
        self.cache = directory / "cache"
        directory.chmod(0o755)
        self._script("barman", f'exec {shutil.which(sys.executable)} -m barman -c {home.config_file} "$@"')
        for name in ("wal_archive", "wal_restore"):
            self._script(
                f"barman-{name.replace('_', '-')}", f'exec {shutil.which(sys.executable)} -m barman.clients.{name} "$@"'
            )
        (directory / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {sshd.client_config} "$@"\n')
        (directory / "ssh").chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(sshd.identity, USER)
        sshd.behave(f"PATH={directory}:$PATH; export PATH")
        sshd.restart()

    def _script(self, name: str, command: str) -> None:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\nexport PYTHONPATH={REPOSITORY} {places.bytecode()}\n{command}\n")
        path.chmod(0o755)

    def settle(self) -> None:
        """Give the Barman home to the user of sshd, with everything that is in it now."""
        self.home.globals["barman_user"] = USER
        self.home.write()
        if os.geteuid() != 0:
            return
        owner = pwd.getpwnam(USER).pw_uid
        for path in (self.home.directory, *self.home.directory.rglob("*")):
            os.chown(path, owner, -1, follow_symlinks=False)
        for path in (self.home.directory, *self.home.directory.parents):
            if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 1:
                path.chmod(path.stat().st_mode | 0o11)

    def command(self, program: str, *arguments: str) -> str:
        """A shell command for archive_command or restore_command; `%p` and `%f` stay as they are."""
        words = [argument if argument.startswith("%") else shlex.quote(argument) for argument in arguments]
        return " ".join([f"PATH={self.directory}:$PATH", program, "-U", USER, *words])

    def archive_command(self, *options: str, server: str = "pg") -> str:
        return self.command("barman-wal-archive", *options, HOST, server, "%p")

    def restore_command(self, *options: str, server: str = "pg") -> str:
        return self.command("barman-wal-restore", "--spool-dir", str(self.spool), *options, HOST, server, "%f", "%p")

    def run(
        self, program: str, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Completed:
        """Run a client as the server's user does."""
        environment = {**os.environ, "PATH": f"{self.directory}:{os.environ['PATH']}", **(env or {})}
        as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            as_user = {"user": USER, "group": pwd.getpwnam(USER).pw_gid, "extra_groups": []}
        done = subprocess.run(
            [str(self.directory / program), "-U", USER, *arguments],
            capture_output=True, env=environment, check=False, timeout=120, cwd=cwd, **as_user,
        )  # fmt: skip
        return Completed(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def barman(self, *arguments: str) -> Completed:
        """Run Barman as its user."""
        done = self.home.run(*arguments)
        self.settle()
        return done


@pytest.fixture
def wal_link(pg_factory: ClusterFactory, barman_home: BarmanHome, sshd: Sshd) -> WalLink:
    """A Barman host that can be reached as `db`; add servers to its home, then `settle()`."""
    return WalLink(pg_factory.scratch(), barman_home, sshd)
