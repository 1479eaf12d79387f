"""A password is seen by PostgreSQL alone: not in any process list, log, output or diagnosis, whatever is run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster
from tests.support.offline import run_here

pytestmark = pytest.mark.postgres

SECRET = "kQ7zXv"
"""Part of every password here, in a place where no quoting changes it."""
PLAIN = f"it's {SECRET} \\ one"
QUOTED = f"'it\\'s {SECRET} \\\\ one'"
IN_URI = f"{SECRET}%%40%%2Ftwo"
"""As a URI and an INI file have it: `@/` after the secret."""

_WATCH = """
import os, sys, time
secret, own = sys.stdin.readline().strip().encode(), os.getpid()
found, programs = set(), set()
print("ready", flush=True)
os.set_blocking(0, False)
while True:
    time.sleep(0.003)
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read()
            except OSError:
                continue
            if secret in words:
                found.add(words.replace(b"\\0", b" ").decode(errors="replace"))
            programs.add(os.path.basename(words.split(b"\\0")[0]).decode(errors="replace"))
    try:
        if os.read(0, 1) == b"":
            break
    except BlockingIOError:
        pass
print(sorted(found))
print(" ".join(sorted(programs)))
"""


class Watcher:
    """Another process that reads the arguments of every process, over and over."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{SECRET}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> tuple[str, set[str]]:
        """What was seen: command lines with the secret, and the names of all programs."""
        out, _ = self._process.communicate(timeout=30)
        found, programs = out.splitlines()
        return found, set(programs.split())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    process = Watcher()
    yield process
    process.kill()


def demand_passwords(pg: Cluster) -> None:
    pg.sql("ALTER ROLE barman PASSWORD %s", (PLAIN,))
    pg.sql("ALTER ROLE streaming_barman PASSWORD %s", (f"{SECRET}@/two",))
    hba = pg.data / "pg_hba.conf"
    rules = "".join(
        f"local {database} {role} scram-sha-256\n"
        for database, role in (("all", "barman"), ("all", "streaming_barman"), ("replication", "streaming_barman"))
    )
    hba.write_text(rules + hba.read_text())
    pg.reload()


def test_a_password_appears_nowhere_whatever_is_run(
    newest_pg: Cluster, barman_home: BarmanHome, watcher: Watcher, tmp_path: Path
) -> None:
    pg, home = newest_pg, barman_home
    demand_passwords(pg)
    options = {"streaming_archiver": "on", "slot_name": "barman", "immediate_checkpoint": "true"}
    right = {
        "conninfo": f"{pg.conninfo} password={QUOTED}",
        "streaming_conninfo": f"postgresql://streaming_barman:{IN_URI}@/?host={pg.directory}&port={pg.port}",
    }
    home.add_server("main", pg, **{**options, **right})
    said: dict[str, str] = {}

    def run(words: str, rc: int, env: dict[str, str] | None = None) -> str:
        done = run_here(home.config_file, tmp_path, *words.split(), env=home.environment(env))
        said[f"{words} #{len(said)}"] = done.said
        assert done.rc == rc, f"{words}: {done}"
        return done.said

    # Everything works, so the passwords were used.
    for words in (
        "receive-wal --create-slot main", "cron", "show-servers main", "diagnose", "backup --wait main", "check main",
        "replication-status main", "-f json show-servers main", "-f json status main",
        "switch-wal --force --archive main", "list-files main latest",
        "verify-backup main latest", "list-processes main", f"restore main latest {tmp_path}/restored --get-wal",
        "terminate-process main receive-wal", "delete main latest",
    ):  # fmt: skip
        run(words, 0)
    shown = json.loads(home.run("-f", "json", "show-servers", "main").out)["main"]
    assert "password=*REDACTED*" in shown["conninfo"]
    assert ":*REDACTED*@" in shown["streaming_conninfo"]

    # From the environment.
    home.add_server("main", pg, **{**options, "streaming_conninfo": right["streaming_conninfo"]})
    run("switch-wal main", 0, {"PGPASSWORD": PLAIN})
    run("switch-wal main", 1, {"PGPASSWORD": f"{SECRET}wrong"})

    # Wrong ones.
    streaming = right["streaming_conninfo"].replace(IN_URI, f"{SECRET}wrong")
    home.add_server(
        "main",
        pg,
        **{**options, "conninfo": f"{pg.conninfo} password='{SECRET} wrong'", "streaming_conninfo": streaming},
    )
    assert "password authentication failed" in run("check main", 1)
    for words, rc in (
        ("backup main", 1), ("receive-wal main", 1), ("receive-wal --create-slot main", 1),
        ("cron", 0), ("status main", 0), ("diagnose", 0), ("-f json show-servers main", 0),
    ):  # fmt: skip
        run(words, rc)
    home.add_server("main", pg, **{**options, "conninfo": right["conninfo"], "streaming_conninfo": streaming})
    assert "password authentication failed" in run("backup main", 1)

    # And what is no connection string at all.
    home.add_server("main", pg, **{**options, **right, "conninfo": f"{pg.conninfo} password='{SECRET}"})
    for words, rc in (("check main", 1), ("backup main", 1), ("diagnose", 0), ("show-servers main", 0)):
        run(words, rc)

    found, programs = watcher.stop()
    assert found == "[]"
    assert programs >= {"pg_basebackup", "pg_receivewal"}
    leaks = [words for words, text in said.items() if SECRET in text]
    assert leaks == []
    assert SECRET not in home.log_text()
    assert "pg_basebackup" in home.log_text()
    for path in (*home.home.rglob("*"), *(tmp_path / "restored").rglob("*.conf")):
        if path.is_file() and "base" not in path.parts and "wals" not in path.parts:
            assert SECRET.encode() not in path.read_bytes(), path
