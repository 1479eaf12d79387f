"""Real PostgreSQL clusters and a real Barman home for tests.

Fixtures: `pg` (a running primary, once for each version), `pg_factory` (more clusters, standbys, restored directories),
`barman_home` (configuration file, directories and the command line). A conftest re-exports them.

Servers are found in the usual places and through BARMAN_TEST_PG_BINDIRS (directories separated by `:`). initdb runs
once for each version and segment size; tests get copies, and start in well under a second. PostgreSQL refuses to run
as root: then its files belong to the user postgres, and the process runs as that user. Every process that is started
here is ended here, by its pid.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg2
import psycopg2.extensions
import pytest

from tests.support import places
from tests.support.needs import skip_or_fail

REPOSITORY = Path(__file__).resolve().parents[2]
VERSIONS = ("15", "17", "18")
_RUNS_AS_ROOT = os.geteuid() == 0
_SERVER_USER = "postgres" if _RUNS_AS_ROOT else pwd.getpwuid(os.geteuid()).pw_name

_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "shared_buffers": "16MB",
    # Of a server that is killed nothing stays elsewhere.
    "dynamic_shared_memory_type": "mmap",
    "max_wal_size": "512MB",
    "autovacuum": "off",
    "log_line_prefix": "%m [%p] %a ",
    "log_replication_commands": "on",
    "timezone": "UTC",
}


@functools.cache
def find_bindirs() -> dict[str, str]:
    """Major version → directory of its programs."""
    found: dict[str, str] = {}
    configured = [item for item in os.environ.get("BARMAN_TEST_PG_BINDIRS", "").split(":") if item]
    for directory in [*configured, *(path for pattern in places.POSTGRESQL for path in sorted(glob.glob(pattern)))]:
        program = os.path.join(directory, "postgres")
        if os.access(program, os.X_OK) and os.access(os.path.join(directory, "initdb"), os.X_OK):
            match = re.search(r"\b(\d+)[.a-z]", _output([program, "--version"]))
            if match:
                found.setdefault(match.group(1), directory)
    return found


def require_version(version: str) -> str:
    """The directory of this version's programs; skips the test without it, fails in CI."""
    directory = find_bindirs().get(version)
    if directory is None:
        looked = ", ".join(places.POSTGRESQL)
        reason = f"PostgreSQL {version} is not installed (looked at BARMAN_TEST_PG_BINDIRS and {looked})"
        skip_or_fail(reason)
    return directory


class Cluster:
    """One PostgreSQL server with its data directory, socket directory and loopback port."""

    def __init__(self, version: str, directory: Path, data: Path, settings: Mapping[str, str]) -> None:
        self.version = version
        self.bindir = require_version(version)
        self.directory = directory
        self.data = data
        self.log = directory / "postgresql.log"
        self.settings = {**_SETTINGS, **settings}
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def major(self) -> int:
        return int(self.version)

    @property
    def conninfo(self) -> str:
        """For `conninfo`: the superuser `barman`."""
        return f"host={self.directory} port={self.port} user=barman dbname=postgres"

    @property
    def streaming_conninfo(self) -> str:
        """For `streaming_conninfo`: the replication role `streaming_barman`."""
        return f"host={self.directory} port={self.port} user=streaming_barman"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start the server and wait until it answers; a standby counts when it answers read-only queries."""
        assert not self.is_running
        for _ in range(3):
            self._launch()
            if not wait or self._wait_until_it_answers():
                return
            if "Address already in use" not in self.log_text():
                break
            self.port = _free_port()
        raise AssertionError(f"PostgreSQL {self.version} did not start:\n{self.log_text()[-4000:]}")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: smart, fast or immediate."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        number = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        process.send_signal(number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def reload(self) -> None:
        """Make the server read its configuration, and wait until it has."""
        before = self.value("SELECT pg_conf_load_time()")
        self.value("SELECT pg_reload_conf()")
        wait_until(lambda: self.value("SELECT pg_conf_load_time()") != before, "the configuration is loaded")

    def destroy(self) -> None:
        """The disaster: stop at once and lose the data directory, tablespaces included."""
        self.stop("immediate")
        links = self.data / "pg_tblspc"
        for link in links.iterdir() if links.is_dir() else ():
            shutil.rmtree(os.path.realpath(link), ignore_errors=True)
        shutil.rmtree(self.data)

    def promote(self) -> None:
        self.value("SELECT pg_promote()")
        wait_until(lambda: not self.value("SELECT pg_is_in_recovery()"), "the standby is promoted")

    def configure(self, **settings: str) -> None:
        """Set with ALTER SYSTEM; reload or restart makes it count."""
        for name, value in settings.items():
            self.sql(f"ALTER SYSTEM SET {name} TO '{value}'")

    def connect(self, user: str = "postgres", **parameters: Any) -> psycopg2.extensions.connection:
        connection: psycopg2.extensions.connection = psycopg2.connect(
            host=str(self.directory), port=self.port, user=user, dbname="postgres", connect_timeout=10, **parameters
        )
        connection.autocommit = True
        return connection

    def sql(self, statement: str, params: Sequence[Any] = (), *, user: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own and return its rows."""
        with contextlib.closing(self.connect(user)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, params or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, params: Sequence[Any] = ()) -> Any:
        rows = self.sql(statement, params)
        return rows[0][0] if rows else None

    def psql(self, script: str) -> str:
        """Feed a script to psql; its output, unaligned and without headers."""
        argv = [self.program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", str(self.directory), "-p", str(self.port)]
        return _output([*argv, "-U", "postgres", "postgres"], stdin=script)

    def program(self, name: str) -> str:
        return os.path.join(self.bindir, name)

    # The ledger: what a restored cluster is compared with.

    def create_ledger(self) -> None:
        self.sql(
            "CREATE TABLE IF NOT EXISTS ledger"
            " (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), note text NOT NULL)"
        )

    def insert(self, count: int = 1, note: str = "row") -> datetime:
        """Add rows in one transaction; return the server's time after the commit, fit for a recovery target."""
        self.sql("INSERT INTO ledger (note) SELECT %s FROM generate_series(1, %s)", (note, count))
        moment = self.value("SELECT clock_timestamp()")
        assert isinstance(moment, datetime)
        return moment

    def ledger(self) -> list[tuple[int, str]]:
        """All rows in order."""
        return [(int(number), str(note)) for number, note in self.sql("SELECT id, note FROM ledger ORDER BY id")]

    # WAL

    def switch_wal(self) -> str:
        """Close the current segment, whatever it holds, and return its name."""
        self.value("SELECT pg_logical_emit_message(false, 'test', 'something to switch')")
        name = self.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
        self.value("SELECT pg_switch_wal()")
        return str(name)

    def current_wal(self) -> str:
        return str(self.value("SELECT pg_walfile_name(pg_current_wal_lsn())"))

    def current_lsn(self) -> str:
        return str(self.value("SELECT pg_current_wal_lsn()"))

    @property
    def system_id(self) -> str:
        return str(self.value("SELECT system_identifier::text FROM pg_control_system()"))

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _launch(self) -> None:
        give_to_server(self.data)
        options = {
            **self.settings,
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
        }
        argv = [self.program("postgres"), "-D", str(self.data)]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                **_as_server_user(),
            )

    def _wait_until_it_answers(self) -> bool:
        assert self.process is not None
        limit = time.monotonic() + 60
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                self.connect().close()
            except psycopg2.Error:
                time.sleep(0.01)
            else:
                return True
        return False


class ClusterFactory:
    """Makes clusters and ends them all."""

    def __init__(self) -> None:
        self._clusters: list[Cluster] = []
        self._directories: list[Path] = []

    def create(
        self,
        version: str,
        *,
        settings: Mapping[str, str] | None = None,
        segment_mb: int = 16,
        start: bool = True,
        fresh: bool = False,
    ) -> Cluster:
        """A new cluster from the template; `fresh` runs initdb for a system identifier of its own."""
        directory = self._directory()
        if fresh:
            _initdb(version, directory / "data", segment_mb)
        else:
            _copy_tree(_template(version, segment_mb), directory / "data")
        return self._add(Cluster(version, directory, directory / "data", settings or {}), start)

    def standby_of(self, primary: Cluster, *, settings: Mapping[str, str] | None = None, slot: str = "") -> Cluster:
        """A streaming standby of a running primary."""
        directory = self._directory()
        argv = [primary.program("pg_basebackup"), "-D", str(directory / "data"), "-c", "fast", "-X", "stream", "-R"]
        _output([*argv, *(["-C", "-S", slot] if slot else []), "-d", f"{primary.streaming_conninfo} dbname=postgres"])
        return self._add(Cluster(primary.version, directory, directory / "data", settings or {}), True)

    def adopt(
        self, version: str, data: Path, *, settings: Mapping[str, str] | None = None, start: bool = True
    ) -> Cluster:
        """A cluster on an existing data directory, such as a restored one; it changes owner if need be."""
        _make_reachable(data)
        return self._add(Cluster(version, self._directory(), data, settings or {}), start)

    def close(self) -> None:
        for cluster in self._clusters:
            cluster.stop("immediate")
        for directory in self._directories:
            shutil.rmtree(directory, ignore_errors=True)

    def scratch(self) -> Path:
        """A directory that the server may write into: for tablespaces, say."""
        return self._directory()

    def _directory(self) -> Path:
        # Short, because a socket path has at most 107 bytes, and outside tmp_path, which other users cannot enter.
        directory = Path(places.make_short_directory("pg"))
        if _RUNS_AS_ROOT:
            shutil.chown(directory, _SERVER_USER)
        self._directories.append(directory)
        return directory

    def _add(self, cluster: Cluster, start: bool) -> Cluster:
        self._clusters.append(cluster)
        if start:
            cluster.start()
        return cluster


@dataclass(frozen=True)
class Completed:
    """A command line that has ended."""

    rc: int
    out: str
    err: str

    def ok(self) -> Completed:
        """Itself, after asserting that it ended well."""
        assert self.rc == 0, f"exit {self.rc}\nstdout: {self.out}\nstderr: {self.err}"
        return self


class BarmanHome:
    """A configuration, its directories, and the command line run on them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir()
        self.config_file = directory / "barman.conf"
        self.log_file = directory / "barman.log"
        self.globals: dict[str, str] = {
            "barman_home": str(self.home),
            "barman_user": pwd.getpwuid(os.geteuid()).pw_name,
            "log_file": str(self.log_file),
            "log_level": "DEBUG",
        }
        self.servers: dict[str, dict[str, str]] = {}
        self._started: list[subprocess.Popen[str]] = []
        self.write()

    def add_server(self, name: str, pg: Cluster | None = None, **options: str) -> None:
        """Add or replace a server section; with a cluster, its connections and programs are filled in."""
        section: dict[str, str] = {"description": f"test server {name}", "backup_method": "postgres"}
        if pg is not None:
            section.update(
                conninfo=pg.conninfo, streaming_conninfo=pg.streaming_conninfo, path_prefix=pg.bindir, archiver="off"
            )
        section.update(options)
        self.servers[name] = section
        self.write()

    def write(self) -> None:
        lines = ["[barman]", *(f"{key} = {value}" for key, value in self.globals.items())]
        for name, section in self.servers.items():
            lines += ["", f"[{name}]", *(f"{key} = {value}" for key, value in section.items())]
        self.config_file.write_text("\n".join(lines) + "\n")

    def path(self, server: str, *parts: str) -> Path:
        """A path inside a server's directory."""
        return self.home.joinpath(server, *parts)

    def accept_wal(self, server: str) -> str:
        """Let the server's user drop WAL into incoming/, and return an archive_command that does it atomically."""
        incoming = self.path(server, "incoming")
        incoming.mkdir(parents=True, exist_ok=True)
        incoming.chmod(0o777)
        _make_reachable(incoming)
        return f"cp %p {incoming}/.%f.tmp && mv {incoming}/.%f.tmp {incoming}/%f"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "BARMAN"))}
        environment.update(PYTHONPATH=str(REPOSITORY), HOME=str(self.directory), LC_ALL="C.UTF-8")
        environment.update(extra or {})
        return environment

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "barman", "-c", str(self.config_file), *arguments]

    def run(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> Completed:
        """Run `barman ARGUMENTS` to its end."""
        done = subprocess.run(
            self.argv(*arguments),
            input=stdin,
            capture_output=True,
            env=self.environment(env),
            timeout=timeout,
            check=False,
        )
        return Completed(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `barman ARGUMENTS` in the background; the fixture ends it."""
        process = subprocess.Popen(
            self.argv(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(env),
            text=True,
        )
        self._started.append(process)
        return process

    def lock_holder(self, server: str, task: str) -> int | None:
        """The pid in a held lock file, None if nobody holds it."""
        return _holder(self.home / f".{server}-{task}.lock")

    def log_text(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def close(self) -> None:
        """End what was started here: foreground runs, and detached ones by the pid in the locks they hold."""
        for process in self._started:
            _end(process.pid, process)
        for path in self.home.glob(".*.lock"):
            pid = _holder(path)
            if pid:
                _end(pid, None)


def wait_until(condition: _Condition, what: str, seconds: float = 30.0) -> None:
    """Poll until a condition holds; fail naming it."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError(f"not within {seconds:g} seconds: {what}")
        time.sleep(0.02)


class _Condition(Protocol):
    def __call__(self) -> object: ...


def give_to_server(path: Path) -> None:
    """Make a tree, tablespaces included, the property of the user who runs PostgreSQL; nothing to do unless root."""
    if not _RUNS_AS_ROOT:
        return
    entry = pwd.getpwnam(_SERVER_USER)
    roots = [path, *(Path(os.path.realpath(link)) for link in (path / "pg_tblspc").glob("*"))]
    if (path / "pg_wal").is_symlink():
        roots.append(Path(os.path.realpath(path / "pg_wal")))
    for root in roots:
        if root.stat().st_uid == entry.pw_uid and root == path and (path / "PG_VERSION").stat().st_uid == entry.pw_uid:
            continue
        for directory, _, files in os.walk(root):
            os.chown(directory, entry.pw_uid, entry.pw_gid)
            for name in files:
                os.chown(os.path.join(directory, name), entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def _make_reachable(path: Path) -> None:
    """Let other users pass through the parents, as far as they are ours."""
    for parent in path.parents:
        status = parent.stat()
        if status.st_uid == os.geteuid() and not status.st_mode & 0o001:
            parent.chmod(status.st_mode & 0o7777 | 0o011)


def _template(version: str, segment_mb: int) -> Path:
    """The data directory that clusters of this version are copied from, made once and shared by all test runs."""
    build = _output([os.path.join(require_version(version), "postgres"), "--version"]).strip()
    key = re.sub(r"[^A-Za-z0-9.]+", "-", f"{build}-{segment_mb}-3")
    root = Path(places.templates()) / f"barman-test-templates-{os.geteuid()}"
    root.mkdir(mode=0o711, exist_ok=True)
    if _RUNS_AS_ROOT:
        shutil.chown(root, _SERVER_USER)
    with open(root / f"{key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / key).exists():
            scratch = root / f"{key}.new"
            shutil.rmtree(scratch, ignore_errors=True)
            _initdb(version, scratch, segment_mb)
            scratch.rename(root / key)
    return root / key


def _initdb(version: str, data: Path, segment_mb: int) -> None:
    bindir = require_version(version)
    argv = [os.path.join(bindir, "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    _output([*argv, "--locale=C", "--no-sync", f"--wal-segsize={segment_mb}"], as_server=True)
    roles = "CREATE ROLE barman SUPERUSER LOGIN;\nCREATE ROLE streaming_barman REPLICATION LOGIN;\n"
    _output(
        [os.path.join(bindir, "postgres"), "--single", "-D", str(data), "-F", "postgres"], stdin=roles, as_server=True
    )


def _copy_tree(source: Path, destination: Path) -> None:
    _output(["cp", "-a", "--reflink=auto", str(source), str(destination)])


def _output(argv: Sequence[str], *, stdin: str = "", as_server: bool = False) -> str:
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        argv,
        input=stdin.encode(),
        capture_output=True,
        check=False,
        cwd="/",
        **(_as_server_user() if as_server else {}),
    )
    assert done.returncode == 0, f"{argv} failed:\n{done.stdout.decode()}\n{done.stderr.decode()}"
    return done.stdout.decode()


def _as_server_user() -> dict[str, Any]:
    """Arguments of Popen: run as the server's user, and end when the test process is killed."""
    arguments: dict[str, Any] = {"preexec_fn": _end_with_parent}
    if _RUNS_AS_ROOT:
        entry = pwd.getpwnam(_SERVER_USER)
        arguments.update(user=entry.pw_uid, group=entry.pw_gid, extra_groups=[])
    return arguments


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _holder(path: Path) -> int | None:
    try:
        with open(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                text = file.read().strip()
                return int(text) if text else None
    except (OSError, ValueError):
        pass
    return None


def _end(pid: int, process: subprocess.Popen[str] | None) -> None:
    """SIGTERM, then SIGKILL."""

    def gone() -> bool:
        if process is not None:
            return process.poll() is not None
        return not os.path.exists(f"/proc/{pid}") and not _signal(pid, 0)

    if not gone():
        _signal(pid, signal.SIGTERM)
        with contextlib.suppress(AssertionError):
            wait_until(gone, "the process ended", 10)
        if not gone():
            _signal(pid, signal.SIGKILL)
    if process is not None:
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def pg_factory() -> Iterator[ClusterFactory]:
    """Makes clusters that end with the test."""
    factory = ClusterFactory()
    yield factory
    factory.close()


@pytest.fixture(params=VERSIONS, ids=[f"pg{version}" for version in VERSIONS])
def pg(request: pytest.FixtureRequest, pg_factory: ClusterFactory) -> Cluster:
    """A running primary; the test runs once for each version."""
    version = str(request.param)
    require_version(version)
    return pg_factory.create(version)


@pytest.fixture
def newest_pg(pg_factory: ClusterFactory) -> Cluster:
    """A running primary of the newest installed version, for what does not depend on it."""
    installed = [version for version in VERSIONS if version in find_bindirs()]
    return pg_factory.create(installed[-1] if installed else VERSIONS[-1])


@pytest.fixture
def barman_home(tmp_path: Path) -> Iterator[BarmanHome]:
    """A Barman home without servers."""
    home = BarmanHome(tmp_path)
    yield home
    home.close()
