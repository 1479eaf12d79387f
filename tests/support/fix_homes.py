"""Several backup homes on one machine, each as on a host of its own, which reach one another through a real sshd.

A home has its own HOME, configuration (`~/.barman.conf`), barman_home, locks and log, and a `barman` on its PATH, which
is ours or the released original; `use` exchanges the program and leaves the rest, as a take-over does. `home.ssh` is
what another home has in `primary_ssh_command`. All homes belong to the user who runs PostgreSQL, so that copies of its
files need no other rights.

What a command leaves in the background is known by its environment: everything that runs with the home's HOME belongs
to the home, on whichever end of a connection.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from barman.catalog.backup_id import BackupId
from barman.catalog.catalog import Catalog
from barman.catalog.identity import Identity
from barman.catalog.wal_file import WalFile
from barman.postgres.wal_name import WalSegment
from tests.support import places
from tests.support.catalog_builder import SYSTEM_ID, add_backup, make_catalog, write
from tests.support.fix_postgres import REPOSITORY, Cluster, ClusterFactory, Completed, wait_until
from tests.support.fix_sshd import USER, Sshd, SshdFactory
from tests.support.fix_upstream import find_upstream
from tests.support.wal_builder import MB, segment_bytes

_RUNS_AS_ROOT = os.geteuid() == 0
_LASTING = ("receive-wal", "pg_receivewal", "pg_receivexlog")
_MEMORY = "/dev/shm"
OURS, ORIGINAL = "ours", "original"


class Home:
    """One backup host."""

    def __init__(self, directory: Path, disk: Path, name: str, sshd: Sshd, program: str) -> None:
        self.name = name
        self.directory = directory / name
        self.disk = disk / f"{name}-disk"
        self.home = self.disk / "barman"
        self.bin = self.directory / "bin"
        self.config_file = self.directory / ".barman.conf"
        self.log_file = self.directory / "barman.log"
        for path in (self.directory, self.disk, self.home, self.bin):
            path.mkdir()
            _give(path)
        self.globals: dict[str, str] = {
            "barman_home": str(self.home),
            "barman_user": USER,
            "log_file": str(self.log_file),
            "log_level": "DEBUG",
        }
        self.servers: dict[str, dict[str, str]] = {}
        self._ssh_config = directory / "ssh_config"
        self._started: list[subprocess.Popen[str]] = []
        self._path = f"{self.bin}:{os.environ.get('PATH', os.defpath)}"
        self.behave("")
        self._open_door(sshd)
        self.use(program)
        self.write()

    # What it is made of

    @property
    def ssh(self) -> str:
        """What another home has in primary_ssh_command."""
        return f"ssh -F {self._ssh_config} {self.name}"

    def use(self, program: str) -> None:
        """Let `barman` be ours or the original from now on."""
        self.program = program
        if program == ORIGINAL:
            command = shlex.quote(find_upstream())
        else:
            command = f"env PYTHONPATH={REPOSITORY} {places.bytecode()} {shlex.quote(sys.executable)} -m barman"
        self.script("barman", f'exec {command} "$@"')

    def script(self, name: str, text: str) -> None:
        """Put a shell script on the PATH of this home."""
        _write_program(self.bin / name, text)

    def behave(self, text: str) -> None:
        """What the home's login shell does before each command that comes in by ssh; `exit 255` lets nobody in."""
        environment = f"export HOME={self.directory} PATH={shlex.quote(self._path)} LC_ALL=C.UTF-8"
        command = 'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'
        _write_program(self.directory / "login", f"{environment}\ncd {self.directory}\n{text}\n{command}")

    def add_server(self, name: str, pg: Cluster | None = None, **options: str) -> None:
        """Add or replace a server section; with a cluster, its connections and programs are filled in."""
        section = {"description": f"server {name} of {self.name}", "backup_method": "postgres"}
        if pg is not None:
            section.update(
                conninfo=pg.conninfo, streaming_conninfo=pg.streaming_conninfo, path_prefix=pg.bindir, archiver="on"
            )
        section.update(options)
        self.servers[name] = section
        self.write()

    def follow(self, primary: Home, name: str, **options: str) -> None:
        """Make a server a passive node of the one with the same name in another home."""
        self.add_server(name, None, primary_ssh_command=primary.ssh, **options)

    def write(self) -> None:
        """Write the configuration."""
        lines = ["[barman]", *(f"{key} = {value}" for key, value in self.globals.items())]
        for name, section in self.servers.items():
            lines += ["", f"[{name}]", *(f"{key} = {value}" for key, value in section.items())]
        self.config_file.write_text("\n".join(lines) + "\n")
        _give(self.config_file)

    def _open_door(self, sshd: Sshd) -> None:
        """A key of its own tells sshd which home is meant."""
        identity = self.directory / "id_ed25519"
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(identity)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        _give(identity)
        key = identity.with_suffix(".pub").read_text()
        with open(sshd.authorized_keys, "a", encoding="utf-8") as file:
            file.write(f'command="{self.directory}/login" {key}')
        settings = {
            "HostName": "127.0.0.1",
            "Port": str(sshd.port),
            "User": USER,
            "IdentityFile": str(identity),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": str(sshd.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
        }
        with open(self._ssh_config, "a", encoding="utf-8") as file:
            file.write(f"Host {self.name}\n" + "".join(f"    {key} {value}\n" for key, value in settings.items()))

    # What runs on it

    def run(self, *arguments: str, timeout: float = 120) -> Completed:
        """Run `barman ARGUMENTS` to its end."""
        done = subprocess.run(
            [self.bin / "barman", *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout,
            check=False, **self._popen(),
        )  # fmt: skip
        return Completed(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `barman ARGUMENTS` in the background; the fixture ends it."""
        process = subprocess.Popen(
            [self.bin / "barman", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **self._popen(),
        )  # fmt: skip
        self._started.append(process)
        return process

    def cron(self, *, times: int = 1) -> Completed:
        """Run cron, and wait for what it started, so many times; the last run is returned."""
        for _ in range(times):
            done = self.run("cron")
            self.wait_idle()
        return done

    def catch_up(self, primary: Home, server: str) -> int:
        """Run cron until everything of the primary is here, complete; return how often."""
        for runs in range(1, 8):
            self.cron().ok()
            if self.backups(server) == primary.backups(server) and self.wals(server) == primary.wals(server):
                return runs
        raise AssertionError(f"{self.name} has only {self.backups(server)}\n{self.log_text()[-4000:]}")

    def processes(self, word: str = "") -> list[int]:
        """Pids of what runs in this home and has a word in its command line; receivers are not counted."""
        mark = f"HOME={self.directory}".encode()
        return [pid for pid, line in _running(mark) if word in line and not any(item in line for item in _LASTING)]

    def wait_idle(self, seconds: float = 90) -> None:
        """Wait until nothing runs in this home any more."""
        wait_until(
            lambda: not self.processes(), f"home {self.name} has nothing to do\n{self.log_text()[-3000:]}", seconds
        )

    def _popen(self) -> dict[str, Any]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "BARMAN", "SSH_"))}
        environment.pop("PYTHONPATH", None)
        environment.update(HOME=str(self.directory), PATH=self._path, LC_ALL="C.UTF-8", USER=USER, LOGNAME=USER)
        found: dict[str, Any] = {"env": environment, "cwd": str(self.directory)}
        if _RUNS_AS_ROOT:
            entry = pwd.getpwnam(USER)
            found.update(user=entry.pw_uid, group=entry.pw_gid, extra_groups=[])
        return found

    def close(self) -> None:
        """End whatever still runs here."""
        mark = f"HOME={self.directory}".encode()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid, _ in _running(mark):
                _signal(pid, number)
            for process in self._started:
                process.communicate()
            try:
                wait_until(lambda: not list(_running(mark)), f"home {self.name} has ended", 10)
            except AssertionError:
                continue
            break

    # What it holds

    def path(self, server: str, *parts: str) -> Path:
        """A path inside a server's directory."""
        return self.home.joinpath(server, *parts)

    def catalog(self, server: str) -> Catalog:
        """The catalog of a server, made if need be; `give` belongs after what is written through it."""
        return make_catalog(str(self.home), server)

    def put_wal(self, server: str, *numbers: int, timeline: int = 1) -> list[str]:
        """Archive sound segments of 1 MB by their numbers, in this order; return their names."""
        names = [WalSegment.numbered(number, timeline, MB).name for number in numbers]
        self.put_wal_files(server, {name: segment_bytes(name, system_id=int(SYSTEM_ID)) for name in names})
        return names

    def put_wal_files(self, server: str, files: Mapping[str, bytes]) -> None:
        """Archive files of any kind under their names."""
        catalog = self.catalog(server)
        for name, content in files.items():
            path = catalog.layout.wal_path(name)
            write(path, content)
            catalog.xlogdb.append([WalFile(name, len(content), os.stat(path).st_mtime)])
        self.give()

    def put_incoming(self, server: str, number: int) -> None:
        """Let a sound segment of 1 MB arrive, as archive_command does."""
        name = WalSegment.numbered(number, 1, MB).name
        write(str(self.path(server, "incoming", name)), segment_bytes(name, system_id=int(SYSTEM_ID)))
        self.give()

    def put_backup(
        self, server: str, backup_id: str, begin: int, *, files: int = 2, size: int = 20_000, **changes: Any
    ) -> None:
        """A backup that nobody could start, with `files` of `size` bytes; segment `begin` is all the WAL it needs."""
        catalog = self.catalog(server)
        info = add_backup(catalog, backup_id, **{"begin": begin, "xlog_segment_size": MB, "tablespaces": (), **changes})
        random = Random(f"{backup_id}{info.systemid}")
        for number in range(files):
            path = os.path.join(catalog.layout.data_directory(BackupId(backup_id)), "base", "1", str(1259 + number))
            write(path, random.randbytes(size))
        if catalog.identity.read() is None:
            catalog.identity.write(Identity(str(info.systemid), "15"))
        if not os.path.exists(catalog.layout.wal_path(str(info.begin_wal))):
            self.put_wal(server, begin)
        self.give()

    def give(self) -> None:
        """Make everything in the home the property of its user."""
        if _RUNS_AS_ROOT:
            entry = pwd.getpwnam(USER)
            for directory, _, names in os.walk(self.home):
                for path in (directory, *(os.path.join(directory, name) for name in names)):
                    os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)

    def backups(self, server: str) -> dict[str, str]:
        """Id → status, as the records have it."""
        return {backup: record.get("status", "") for backup, record in self.records(server).items()}

    def records(self, server: str) -> dict[str, dict[str, str]]:
        """Id → the lines of its record, values as written."""
        found = {}
        for path in sorted(self.path(server, "meta").glob("*-backup.info")):
            lines = (line.partition("=") for line in path.read_text().splitlines() if line)
            found[path.name.removesuffix("-backup.info")] = {key: value for key, _, value in lines}
        return found

    def indexed(self, server: str) -> list[list[str]]:
        """The lines of the WAL index, in columns."""
        path = self.path(server, "wals", f"{server}-xlog.db")
        return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []

    def wals(self, server: str) -> dict[str, str]:
        """Every archived file below `wals`, by its path, with its digest; indexes and notes of the tools left out."""
        return {
            name: digest for name, digest in tree(self.path(server, "wals")).items() if name[0] in "0123456789ABCDEF"
        }

    def base(self, server: str, backup: str) -> dict[str, str]:
        """Every file of a backup with its digest; what never travels is left out: the record, links to tablespaces."""
        found = tree(self.path(server, "base", backup))
        return {name: said for name, said in found.items() if name != "backup.info" and "pg_tblspc" not in name}

    def log_text(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""


class Homes:
    """Makes homes and ends them all."""

    def __init__(self, servers: SshdFactory) -> None:
        self.sshd = servers.create()
        # Outside tmp_path, which other users cannot enter.
        self.directory = _make_directory("/tmp")
        # Thousands of files are made durable, for every home again; that they are is tested elsewhere.
        self._disk = _make_directory(_MEMORY) if _has_room(_MEMORY) else self.directory
        self._homes: list[Home] = []

    def create(self, name: str, program: str = OURS) -> Home:
        """A home whose `barman` is ours or the original."""
        home = Home(self.directory, self._disk, name, self.sshd, program)
        self._homes.append(home)
        return home

    def close(self) -> None:
        """End everything, and remove it."""
        for home in self._homes:
            home.close()
        for directory in (self.directory, self._disk):
            shutil.rmtree(directory, ignore_errors=True)


class ActiveServer:
    """The server `pg` of a home, with a PostgreSQL that archives segments of 1 MB, a tablespace and a ledger."""

    def __init__(self, home: Home, factory: ClusterFactory, version: str, **settings: str) -> None:
        self.home = home
        self._factory = factory
        self.incoming = home.path("pg", "incoming")
        self.incoming.mkdir(parents=True)
        home.give()
        arrival = f"{self.incoming}/.%f.tmp"
        archiving = {"archive_mode": "on", "archive_command": f"cp %p {arrival} && mv {arrival} {self.incoming}/%f"}
        self.pg = factory.create(version, segment_mb=1, settings={**archiving, **settings})
        place = factory.scratch() / "space"
        place.mkdir()
        _give(place)
        self.pg.sql(f"CREATE TABLESPACE space LOCATION '{place}'")
        self.pg.sql("CREATE TABLE elsewhere TABLESPACE space AS SELECT generate_series(1, 1000) AS n")
        self.pg.create_ledger()

    def configure(self, program: str = OURS, **options: str) -> None:
        """Who is `barman` here from now on, and with which options."""
        self.home.use(program)
        self.home.add_server("pg", self.pg, immediate_checkpoint="true", **options)

    def back_up(self, *arguments: str) -> str:
        """Add to the ledger, take a backup, and return its id."""
        self.pg.insert(2, "before a backup")
        known = self.home.backups("pg")
        self.home.run("backup", "pg", "--wait", *arguments).ok()
        (added,) = self.home.backups("pg").keys() - known.keys()
        assert self.home.backups("pg")[added] == "DONE"
        return added

    def archive(self, note: str = "row") -> str:
        """Add to the ledger, and archive the segment."""
        self.pg.insert(1, note)
        name = self.pg.switch_wal()
        wait_until((self.incoming / name).exists, f"{name} arrives")
        self.home.run("archive-wal", "pg").ok()
        return name

    def recovered(self, home: Home, backup: str) -> list[tuple[int, str]]:
        """Restore a backup in a home, to the last row, start it, look into the tablespace, and return its ledger."""
        destination, place = home.disk / "restored", home.disk / "space"
        home.run("restore", "pg", backup, str(destination), "--tablespace", f"space:{place}").ok()
        cluster = self._factory.adopt(self.pg.version, destination)
        wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
        assert cluster.value("SELECT sum(n) FROM elsewhere") == 500500
        rows = cluster.ledger()
        cluster.stop("immediate")
        return rows


def tree(root: Path) -> dict[str, str]:
    """Everything below a directory by its path: SHA-256 of a file, `-> TARGET` of a link, `/` of an empty directory."""
    found: dict[str, str] = {}
    for directory, directories, names in os.walk(root):
        for name in [*names, *(name for name in directories if os.path.islink(os.path.join(directory, name)))]:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, root)] = f"-> {os.readlink(path)}" if os.path.islink(path) else _digest(path)
        if not names and not directories:
            found[os.path.relpath(directory, root)] = "/"
    return found


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _running(mark: bytes) -> Iterator[tuple[int, str]]:
    """Pid and command line of every process with this variable in its environment."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            environment = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
            line = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in environment and line:
            yield int(entry), line


def _make_directory(place: str) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="bhomes-", dir=place))
    directory.chmod(0o755)
    return directory


def _has_room(place: str) -> bool:
    return os.access(place, os.W_OK | os.X_OK) and shutil.disk_usage(place).free > 2 << 30


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _write_program(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(f"#!/bin/sh\n{text}\n")
    temporary.chmod(0o755)
    temporary.replace(path)


def _give(path: Path) -> None:
    if _RUNS_AS_ROOT:
        shutil.chown(path, USER, pwd.getpwnam(USER).pw_gid)


@pytest.fixture
def homes(sshd_factory: SshdFactory) -> Iterator[Homes]:
    """Makes backup homes that end with the test."""
    made = Homes(sshd_factory)
    yield made
    made.close()
