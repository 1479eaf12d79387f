"""The command line on a catalog without a PostgreSQL, in forked children of this process.

The children have everything imported already, so that a hundred runs take seconds.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import pkgutil
import pwd
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import barman
from barman.catalog.catalog import Catalog
from tests.support.catalog_builder import make_layout

_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ran:
    """What a run left: the exit code and both streams."""

    rc: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


def run_here(config_file: Path, scratch: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
    """Run `barman ARGUMENTS` in a forked child; what it writes goes through files in a scratch directory."""
    import_everything()
    streams = [scratch / "stdout", scratch / "stderr"]
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            gc.freeze()  # a collection would copy all that the parent has
            for number, path in enumerate(streams, 1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
            sys.stdin = open(os.devnull)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)
            if env is not None:
                os.environ.clear()
                os.environ.update(env)
            from barman.cli.main import run

            try:
                code = run(["-c", str(config_file), *arguments])
            except SystemExit as end:
                code = int(end.code or 0)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    out, err = (path.read_bytes().decode(errors="replace") for path in streams)
    return Ran(os.waitstatus_to_exitcode(status), out, err)


class OfflineHome:
    """A Barman home with the server `main`, whose PostgreSQL is down."""

    def __init__(self, directory: Path, **options: str) -> None:
        self.directory = directory
        self.config_file = directory / "barman.conf"
        self.log_file = directory / "barman.log"
        user = pwd.getpwuid(os.geteuid()).pw_name
        general = {"barman_home": str(directory), "barman_user": user, "log_file": str(self.log_file)}
        nowhere = "host=/nonexistent"
        server = {"backup_method": "postgres", "archiver": "on", "conninfo": nowhere, "streaming_conninfo": nowhere}
        lines = ["[barman]", *_lines({**general, "log_level": "DEBUG"}), "[main]", *_lines({**server, **options})]
        self.config_file.write_text("\n".join([*lines, ""]))
        self.catalog = Catalog(make_layout(str(directory)))
        self.catalog.ensure_directories()

    def run(self, *arguments: str) -> Ran:
        """Run `barman ARGUMENTS` in a child."""
        return run_here(self.config_file, self.directory, *arguments)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `barman ARGUMENTS` as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "barman", "-c", str(self.config_file), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
            text=True,
        )


def _lines(options: dict[str, str]) -> list[str]:
    return [f"{name} = {value}" for name, value in options.items()]


@functools.cache
def import_everything() -> None:
    """What the children would each import again."""
    for package in ("cli", "backup", "restore", "check", "status", "wal", "cron", "output"):
        for module in pkgutil.walk_packages([os.path.join(barman.__path__[0], package)], f"barman.{package}."):
            if module.name != "barman.wal.tether":
                importlib.import_module(module.name)
    importlib.import_module("psycopg2")
