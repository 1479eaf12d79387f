"""The released original, run as a program: the other side of every compatibility test."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import places
from tests.support.needs import skip_or_fail


def own_environment(**variables: str) -> dict[str, str]:
    """The environment of the original: without our checkout on its module path, or it would run our code."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **variables}


def find_upstream() -> str:
    """The original's program: BARMAN_TEST_UPSTREAM, or the usual place. Skips the test when there is none."""
    path = os.environ.get("BARMAN_TEST_UPSTREAM", places.UPSTREAM)
    found = shutil.which(path)
    if found is None:
        skip_or_fail(f"the original barman is not installed: no program {path} (set BARMAN_TEST_UPSTREAM)")
    return found


@dataclass(frozen=True)
class Ran:
    """What a run left: the exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The standard output, parsed."""
        return json.loads(self.out)


class Upstream:
    """Runs the original on one configuration file."""

    def __init__(self, program: str, config_file: str) -> None:
        self.program = program
        self.config_file = config_file

    def run(self, *args: str, check: bool = True, stdin: bytes | None = None) -> Ran:
        """Run a command; with `check` an exit code other than 0 fails the test with the output."""
        done = subprocess.run(
            [self.program, "-c", self.config_file, *args],
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
            env=own_environment(HOME=os.path.dirname(self.config_file)),
        )
        ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
        if check and ran.code != 0:
            pytest.fail(f"barman {' '.join(args)} of the original: exit {ran.code}\n{ran.out}{ran.err}")
        return ran

    def json(self, *args: str) -> Any:
        """Run a command with JSON output and return the document."""
        return self.run("-f", "json", *args).json


def write_config(home: str, servers: dict[str, dict[str, str]], **options: str) -> str:
    """A configuration file below `home` which both programs read; returns its path.

    The user is the one who runs the tests, so that neither program tries to become another.
    """
    import pwd

    user = pwd.getpwuid(os.geteuid()).pw_name
    lines = ["[barman]", f"barman_home = {home}", f"barman_user = {user}", f"log_file = {home}/barman.log"]
    lines += [f"{key} = {value}" for key, value in options.items()]
    for name, settings in servers.items():
        lines += ["", f"[{name}]", *(f"{key} = {value}" for key, value in settings.items())]
    path = os.path.join(home, "barman.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path


INACTIVE_SERVER = {
    "description": "A catalog without a server",
    "active": "false",
    "backup_method": "postgres",
    "conninfo": "host=/nowhere user=barman dbname=postgres",
    "streaming_conninfo": "host=/nowhere user=barman",
    "streaming_archiver": "on",
    "slot_name": "barman",
}
"""Commands that read the catalog work on it; PostgreSQL is never asked."""


@pytest.fixture(name="upstream_program", scope="session")
def fixture_upstream_program() -> str:
    """The path of the original's program."""
    return find_upstream()
