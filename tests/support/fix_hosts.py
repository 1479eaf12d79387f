"""Two hosts as a page of docs/howto sets them up: one for Barman, one for PostgreSQL, each with a user of its own.

The configuration comes from the page, with its host names: both hosts are this machine, and what differs from two
real ones (ports, directories, where programs lie) is in the environment and in the configuration of ssh. Run by root
the users are `barman` and `postgres`; otherwise both are the user who runs the tests.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import places
from tests.support.fix_postgres import REPOSITORY, BarmanHome, Cluster, ClusterFactory, Completed
from tests.support.fix_sshd import USER as DATABASE_USER
from tests.support.fix_sshd import Sshd, SshdFactory

_RUNS_AS_ROOT = os.geteuid() == 0
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _barman_user() -> str:
    try:
        return pwd.getpwnam("barman").pw_name if _RUNS_AS_ROOT else DATABASE_USER
    except KeyError:
        return DATABASE_USER


BARMAN_USER = _barman_user()


class Page:
    """A page of docs/howto: what a DBA copies from it."""

    def __init__(self, name: str) -> None:
        self.text = (REPOSITORY / "docs/howto" / f"{name}.md").read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks of one language."""
        return [block for name, block in _BLOCK.findall(self.text) if name == language]

    def block(self, language: str) -> str:
        """The only block of its language."""
        (found,) = self.blocks(language)
        return str(found)

    def line(self, start: str) -> str:
        """The first line that starts with a text."""
        return next(line for line in self.text.splitlines() if line.startswith(start))

    def lines(self, pattern: str) -> list[str]:
        """The lines that match a pattern as a whole."""
        return [line for line in self.text.splitlines() if re.fullmatch(pattern, line)]


class TwoHosts:
    """A Barman host and a database host, as a page sets them up step by step."""

    def __init__(self, page: Page, cluster: Cluster, clusters: ClusterFactory, servers: SshdFactory) -> None:
        self.page = page
        self.pg = cluster
        self.directory = clusters.scratch()
        self.barman_host = servers.create(user=BARMAN_USER, start=False)
        self.database_host = servers.create(start=False)
        self.bin = self.directory / "bin"
        self._barman = BarmanHome(self.directory)
        self.home = self._barman.home
        self.config_file = self._barman.config_file
        for directory in (self.bin, self.directory / "barman.d"):
            directory.mkdir()
        _give(self.home, BARMAN_USER)
        self._write_programs()
        for server in (self.barman_host, self.database_host):
            server.settings["SetEnv"] = f"PATH={self.bin}:{os.defpath}"
            server.start()
        for line in page.lines("command=.* ssh-ed25519 .*"):
            key = (self.barman_host.directory / "id_ed25519.pub").read_text()
            self.barman_host.authorize(self.adapted(line).partition("ssh-ed25519 ")[0] + key)

    def _write_programs(self) -> None:
        """What users find on PATH: Barman, which is told where the database is, the clients, ssh with both hosts."""
        python = shlex.quote(shutil.which(sys.executable) or sys.executable)
        environment = (
            f"PYTHONPATH={REPOSITORY} {places.bytecode()} LC_ALL=C.UTF-8 PATH={self.bin}:{self.pg.bindir}:$PATH"
            f" PGHOSTADDR=127.0.0.1 PGPORT={self.pg.port} PGPASSFILE={self.directory}/pgpass"
        )
        modules = {
            "barman": f"barman -c {self.config_file}",
            "barman-ssh-gateway": f"barman.cli.gateway -c {self.config_file}",
            "barman-wal-archive": "barman.clients.wal_archive",
            "barman-wal-restore": "barman.clients.wal_restore",
        }
        for name, words in modules.items():
            self._script(name, f'env {environment} {python} -m {words} "$@"')
        self._script("ssh", f'{shutil.which("ssh")} -F {self.directory}/ssh_config "$@"')
        # The key that leads to a host belongs to the user of the other one.
        _give(self.database_host.identity, BARMAN_USER)
        _give(self.barman_host.identity, DATABASE_USER)
        hosts = (("pg.example.com", self.database_host), ("backup.example.com", self.barman_host))
        text = "".join(_client_lines(name, server) for name, server in hosts)
        (self.directory / "ssh_config").write_text(text)

    def _script(self, name: str, command: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\nexec {command}\n")
        (self.bin / name).chmod(0o755)

    def adapted(self, text: str) -> str:
        """Lines of the page as they have to be on this machine."""
        changes = {
            "/var/lib/barman": str(self.home),
            "/opt/barman/bin": str(self.bin),
            "postgres@pg.example.com": f"{DATABASE_USER}@pg.example.com",
            "barman@backup.example.com": f"{BARMAN_USER}@backup.example.com",
            "barman-wal-archive ": f"barman-wal-archive -U {BARMAN_USER} ",
            "archive_command = '": f"archive_command = 'PATH={self.bin}:$PATH ",
            "192.0.2.10": "127.0.0.1",
            "hostssl": "host",
            ":5432:": f":{self.pg.port}:",
            "…": "secret",
        }
        for old, new in changes.items():
            text = text.replace(old, new)
        return text

    def create_roles(self) -> None:
        """The roles of the page, with no right that it does not give, behind passwords."""
        self.pg.psql("DROP ROLE barman; DROP ROLE streaming_barman;" + self.adapted(self.page.block("sql")))
        access = self.page.lines(r"hostssl .*")
        hba = "\n".join(["local all all trust", *(self.adapted(line) for line in access)])
        (self.pg.data / "pg_hba.conf").write_text(f"{hba}\n")
        self.pg.reload()
        passwords = self.directory / "pgpass"
        passwords.write_text("".join(f"{self.adapted(line)}\n" for line in self.page.lines(r"pg\.example\.com:.*")))
        passwords.chmod(0o600)
        _give(passwords, BARMAN_USER)

    def configure_barman(self) -> None:
        """The configuration of the README, and the page's section in a file of its own."""
        lines = (
            "[barman]",
            f"barman_home = {self.home}",
            f"barman_user = {BARMAN_USER}",
            f"log_file = {self.home}/barman.log",
            f"configuration_files_directory = {self.directory}/barman.d",
        )
        self.config_file.write_text("".join(f"{line}\n" for line in lines))
        (self.directory / "barman.d" / "pg.conf").write_text(self.adapted(self.page.block("ini")))

    def configure_postgresql(self, *, archive_command: str = "") -> None:
        """The settings of the page, with another archive_command of the page if one is given; then a restart."""
        settings = self.page.blocks("conf")[0] + archive_command
        with open(self.pg.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(self.adapted(settings))
        self.pg.restart()

    def run(self, *argv: str, user: str = BARMAN_USER) -> Completed:
        """Run a command of the page as its user does."""
        entry = pwd.getpwnam(user)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "BARMAN", "SSH_"))}
        environment.update(HOME=str(self.home), PATH=f"{self.bin}:{os.environ['PATH']}", USER=user, LOGNAME=user)
        identity: dict[str, Any] = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            cwd="/",
            timeout=120,
            check=False,
            **(identity if _RUNS_AS_ROOT else {}),
        )
        return Completed(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def barman(self, *arguments: str) -> Completed:
        """Run `barman ARGUMENTS` as its user."""
        return self.run("barman", *arguments)

    def close(self) -> None:
        """End what Barman left in the background."""
        self._barman.close()

    def files(self, directory: str) -> Sequence[str]:
        """What lies in a directory of the server, hidden files left out."""
        return sorted(path.name for path in (self.home / "pg" / directory).iterdir() if path.name[0] != ".")


def _client_lines(name: str, server: Sshd) -> str:
    settings = {
        "HostName": "127.0.0.1",
        "HostKeyAlias": name,
        "Port": str(server.port),
        "IdentityFile": str(server.identity),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": str(server.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
    }
    server.trust(f"{name} {server.host_key}\n")
    return f"Host {name}\n" + "".join(f"    {key} {value}\n" for key, value in settings.items())


def _give(path: Path, user: str) -> None:
    if _RUNS_AS_ROOT:
        shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
