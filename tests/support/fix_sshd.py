"""A real sshd for tests: unprivileged, on a loopback port, with keys and a client configuration of its own.

Fixtures: `sshd` (running) and `sshd_factory` (more of them, with their bad days: banner noise, slow shells, refused
keys, changed host keys, sessions and servers that end in the middle). Run by root it serves the user
`postgres`, as on a database host, or the one it is created for; otherwise the user who runs the tests. Every process
is ended by its pid.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import places
from tests.support.fix_postgres import wait_until
from tests.support.needs import need_program

_RUNS_AS_ROOT = os.geteuid() == 0
USER = "postgres" if _RUNS_AS_ROOT else pwd.getpwuid(os.geteuid()).pw_name


class Sshd:
    """One sshd. `command` is an ssh_command that leads to it, `ssh -F CONFIG db`."""

    def __init__(self, directory: Path, user: str = USER) -> None:
        self.directory = directory
        self.port = _free_port()
        self.user = user
        self.client_config = directory / "ssh_config"
        self.known_hosts = directory / "known_hosts"
        self.identity = directory / "id_ed25519"
        self.authorized_keys = directory / "authorized_keys"
        self.log = directory / "sshd.log"
        self.settings: dict[str, str] = {}
        self.client_settings: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        _make_key(self.identity)
        self.new_host_key()
        self.trust()
        self.authorize()
        self.write_client_config()

    @property
    def command(self) -> str:
        """What a configuration has in ssh_command."""
        return f"ssh -F {shlex.quote(str(self.client_config))} db"

    @property
    def pid(self) -> int:
        """The process that listens."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start sshd and wait until it greets."""
        config = self.directory / "sshd_config"
        options = {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "HostKey": str(self.directory / "host_key"),
            "AuthorizedKeysFile": str(self.authorized_keys),
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "LogLevel": "VERBOSE",
            "MaxStartups": "100",
            "PrintMotd": "no",
            **self.settings,
        }
        config.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [need_program("sshd"), "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                **_as_user(self.user),
            )
        wait_until(self._greets, f"sshd answers on port {self.port}\n{self.log}", 20)

    def stop(self) -> None:
        """End the listener and every session."""
        if self._process is not None:
            self.cut()
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def restart(self) -> None:
        """Start again with changed settings."""
        self.stop()
        self.start()

    def cut(self) -> int:
        """Kill the processes that serve sessions, not what they started; return how many."""
        sessions = [pid for pid in _descendants(self.pid) if _name(pid).startswith("sshd")]
        for pid in sessions:
            _signal(pid, signal.SIGKILL)
        return len(sessions)

    def sessions(self) -> int:
        """How many processes serve sessions."""
        return sum(_name(pid).startswith("sshd") for pid in _descendants(self.pid))

    def suspend(self) -> None:
        """Stop listener and sessions without ending them: the network accepts, nobody answers."""
        for pid in [self.pid, *_descendants(self.pid)]:
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        for pid in [self.pid, *_descendants(self.pid)]:
            _signal(pid, signal.SIGCONT)

    def behave(self, script: str) -> None:
        """Run every command through a shell script, as start-up files do: `eval "$SSH_ORIGINAL_COMMAND"` is its end."""
        path = self.directory / "behave"
        path.write_text(f'#!/bin/sh\n{script}\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
        path.chmod(0o755)
        self.settings["ForceCommand"] = str(path)

    def new_host_key(self, kind: str = "ed25519") -> None:
        """Give the host another key; a running sshd has to be restarted."""
        for path in (self.directory / "host_key", self.directory / "host_key.pub"):
            path.unlink(missing_ok=True)
        _make_key(self.directory / "host_key", kind)
        if _RUNS_AS_ROOT:
            shutil.chown(self.directory / "host_key", self.user)

    @property
    def host_key(self) -> str:
        """Type and key, as a known_hosts file has them."""
        return " ".join((self.directory / "host_key.pub").read_text().split()[:2])

    def trust(self, text: str | None = None) -> None:
        """Write known_hosts: this host's key, or the given text."""
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {self.host_key}\n" if text is None else text)

    def authorize(self, keys: str | None = None) -> None:
        """Write authorized_keys: the client's key, or the given text."""
        self.authorized_keys.write_text((self.directory / "id_ed25519.pub").read_text() if keys is None else keys)
        self.authorized_keys.chmod(0o644)

    def write_client_config(self, **settings: str) -> None:
        """Write the configuration of the client, with changed or added settings."""
        self.client_settings.update(settings)
        options = {
            "HostName": "127.0.0.1",
            "Port": str(self.port),
            "User": self.user,
            "IdentityFile": str(self.identity),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            **self.client_settings,
        }
        self.client_config.write_text("Host db\n" + "".join(f"    {name} {value}\n" for name, value in options.items()))

    def connections(self) -> int:
        """How many connections were accepted since the log began."""
        return self.log.read_text(errors="replace").count("Accepted publickey")

    def _greets(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False


class SshdFactory:
    """Makes servers and ends them all."""

    def __init__(self) -> None:
        self._servers: list[Sshd] = []

    def create(self, *, start: bool = True, user: str = USER, **settings: str) -> Sshd:
        """A server of one user, who is another one only when root runs the tests; `settings` go into sshd_config."""
        for program in ("sshd", "ssh", "ssh-keygen"):
            need_program(program)
        # Short, and outside tmp_path, which other users cannot enter.
        directory = Path(places.make_short_directory("ssh"))
        server = Sshd(directory, user)
        server.settings.update(settings)
        self._servers.append(server)
        if start:
            server.start()
        return server

    def close(self) -> None:
        """End everything."""
        for server in self._servers:
            if server._process is not None:
                server.resume()
            server.stop()
            shutil.rmtree(server.directory, ignore_errors=True)


def _make_key(path: Path, kind: str = "ed25519") -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "test", "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


def _as_user(user: str) -> dict[str, Any]:
    if not _RUNS_AS_ROOT:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found: list[int] = []
    pending = [pid]
    while pending:
        for child in children.get(pending.pop(), []):
            found.append(child)
            pending.append(child)
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


@pytest.fixture
def sshd_factory() -> Iterator[SshdFactory]:
    """Makes servers that end with the test."""
    factory = SshdFactory()
    yield factory
    factory.close()


@pytest.fixture
def sshd(sshd_factory: SshdFactory) -> Sshd:
    """A running server that accepts the client's key."""
    return sshd_factory.create()
