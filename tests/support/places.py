"""Where scripts/test puts what it installs (the same places as in scripts/common.sh), and where tests write."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile

_MEMORY = "/dev/shm"
_ROOM = 8 << 30
"""More than four tests at once, each with some clusters of 40 MB and their backups, ever had at a time."""

_OURS = re.compile(r"b[a-z]+-(\d+)-")


def write_into_memory() -> None:
    """Let all temporary directories lie in a file system in memory, if there is one that has room and runs programs.

    A run writes more than 20 GB, most of it synced: on a disk it waits for that disk.
    """
    on_disk = tempfile.gettempdir()
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return
    facts = os.statvfs(_MEMORY)
    if facts.f_flag & os.ST_NOEXEC or min(facts.f_bavail * facts.f_frsize, _available_memory()) < _ROOM:
        return
    os.environ.update(TMPDIR=_MEMORY, BARMAN_TEST_TEMPLATES=on_disk)
    tempfile.tempdir = None


def _available_memory() -> int:
    with contextlib.suppress(OSError, AttributeError), open("/proc/meminfo", encoding="ascii") as file:
        found = re.search(r"^MemAvailable: +(\d+) kB", file.read(), re.MULTILINE)
        return int(found.group(1)) << 10 if found else 0
    return 0


def templates() -> str:
    """Where the data directories lie that clusters are copied from: they stay, so not in memory."""
    return os.environ.get("BARMAN_TEST_TEMPLATES") or tempfile.gettempdir()


def make_short_directory(kind: str) -> str:
    """Make a temporary directory with a short path, that other users may enter: the path of a socket has 107 bytes.

    It is named after this process, so that a later run removes it if this one is killed (`sweep`).
    """
    parent = tempfile.gettempdir()
    directory = tempfile.mkdtemp(prefix=f"b{kind}-{os.getpid()}-", dir=parent if len(parent) < 20 else "/tmp")
    os.chmod(directory, 0o755)
    return directory


def keep_bytecode() -> None:
    """Let the programs that tests start keep what they compile: it takes as long as most of them run otherwise."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", os.path.join(cache(), "bytecode"))


def bytecode() -> str:
    """The same for a program that starts with an environment of its own, as the words of `env`; it only reads there."""
    return f"PYTHONDONTWRITEBYTECODE=1 PYTHONPYCACHEPREFIX={shlex.quote(os.environ.get('PYTHONPYCACHEPREFIX', ''))}"


def sweep() -> None:
    """Remove what runs that were killed left behind."""
    if not os.path.isdir("/proc/self"):
        return
    for parent in {tempfile.gettempdir(), "/tmp"}:
        for entry in os.scandir(parent):
            match = _OURS.match(entry.name)
            if match and entry.is_dir(follow_symlinks=False) and not os.path.exists(f"/proc/{match.group(1)}"):
                shutil.rmtree(entry.path, ignore_errors=True)


def cache() -> str:
    """The directory of virtual environments and of PostgreSQL from PyPI."""
    configured = os.environ.get("BARMAN_CACHE")
    if configured:
        return configured
    if os.geteuid() == 0:
        return "/var/tmp/barman-development"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "barman-development")


POSTGRESQL = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    os.path.join(cache(), "postgresql-*", "*", "pginstall", "bin"),
)
"""Patterns of directories with the programs of one PostgreSQL version."""

UPSTREAM = os.path.join(cache(), "upstream-3.19.1", "bin", "barman")
"""The released original, in an environment of its own."""

EXPORTER = os.path.join(cache(), "exporter-1.0.10", "bin", "barman-exporter")
"""An exporter for Prometheus that was written for the original, in an environment of its own."""
