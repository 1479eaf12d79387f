"""Garbage where the catalog keeps what it knows: every command names it, none falls over it, nothing is lost by it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from barman.catalog.catalog import Catalog
from barman.catalog.identity import Identity
from barman.catalog.wal_file import WalFile
from tests.support.catalog_builder import add_backup, write
from tests.support.fix_postgres import wait_until
from tests.support.offline import OfflineHome
from tests.support.wal_files import SEGMENT_SIZE, SYSTEM_ID, drop, segment, segment_name

A, B = "20260101T000000", "20260102T000000"
SEGMENTS = [segment_name(number) for number in range(4, 9)]
NEXT = [segment_name(number) for number in range(9, 11)]
HISTORY = "00000002.history"

GARBAGE = {"empty": b"", "binary": bytes(range(256)) * 40, "deep and long": b"[" * 3_000_000}

Expected = tuple[str, int, str]
"""A command, its exit code, and what it says (nothing in particular: an empty string)."""

READING: tuple[Expected, ...] = (
    ("list-backups main", 0, B),
    ("-f json list-backups main", 0, B),
    (f"show-backup main {A}", 0, A),
    (f"list-files main {A}", 0, "pg_control"),
    ("status main", 0, "No. of available backups"),
    ("check main", 1, "cannot connect"),
    (f"check-backup main {A}", 0, ""),
    (f"check-backup main {B}", 0, ""),
    (f"keep --status main {A}", 0, "nokeep"),
    ("diagnose", 0, B),
    (f"get-wal main {SEGMENTS[0]} -o OUT", 0, "Sending WAL"),
    (f"get-wal main {HISTORY} -o OUT", 0, "Sending WAL"),
    (f"restore main {B} DEST", 0, "Copying the base backup"),
    (f"restore main {B} DEST --target-tli 2", 0, "Copying the base backup"),
    ("cron", 0, "Starting WAL archiving"),
    ("archive-wal main", 0, NEXT[1]),
    (f"delete main {B}", 0, "Deleted backup"),
    ("rebuild-xlogdb main", 0, "Done rebuilding"),
)
"""What all commands do on a sound catalog, in an order in which each can run; PostgreSQL is down."""

DAMAGED: dict[str, dict[str, tuple[int, str]]] = {
    "nothing": {},
    "backup.info": {
        "list-backups main": (0, f"WARNING: backup {A} of server 'main' cannot be read"),
        "-f json list-backups main": (0, f"backup {A} of server 'main' cannot be read"),
        f"show-backup main {A}": (1, f"ERROR: HOME/main/meta/{A}-backup.info"),
        f"list-files main {A}": (1, f"ERROR: HOME/main/meta/{A}-backup.info"),
        "status main": (0, f"{A}-backup.info"),
        "check main": (1, f"{A}-backup.info"),
        f"check-backup main {A}": (1, f"ERROR: HOME/main/meta/{A}-backup.info"),
        f"keep --status main {A}": (1, f"ERROR: HOME/main/meta/{A}-backup.info"),
        f"delete main {B}": (1, f"{A}-backup.info"),
    },
    "xlog.db": {"check main": (1, "run 'barman rebuild-xlogdb main'")},
    "identity.json": {
        "check main": (1, "systemid coherence: FAILED (HOME/main/identity.json"),
        "cron": (0, ""),
        "archive-wal main": (0, "HOME/main/identity.json"),
    },
    "history": {
        f"get-wal main {HISTORY} -o OUT": (4, f"HOME/main/wals/{HISTORY}"),
        f"restore main {B} DEST --target-tli 2": (1, "the history of timeline 2"),
    },
}
"""What is different when a file is garbage."""


class Scene(OfflineHome):
    """Two backups with their WAL, and a history."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        for backup_id, begin in ((A, 4), (B, 6)):
            add_backup(
                self.catalog, backup_id, begin=begin, end=begin + 1, tablespaces=(),
                xlog_segment_size=SEGMENT_SIZE, systemid=str(SYSTEM_ID),
            )  # fmt: skip
        for name in SEGMENTS:
            write(self.catalog.layout.wal_path(name), segment(name))
        history = b"1\t0/900000\tno recovery target specified\n"
        write(self.catalog.layout.wal_path(HISTORY), history)
        listed = [WalFile(name, SEGMENT_SIZE, 1767225600.0) for name in SEGMENTS]
        self.catalog.xlogdb.append([*listed, WalFile(HISTORY, len(history), 1767225600.0)])
        self.catalog.identity.ensure(Identity(str(SYSTEM_ID), "15"))


def path_of(catalog: Catalog, what: str) -> str | None:
    layout = catalog.layout
    return {
        "backup.info": layout.backup_info(A),
        "xlog.db": layout.xlogdb,
        "identity.json": layout.identity,
        "history": layout.wal_path(HISTORY),
    }.get(what)


CASES = (
    ("nothing", "empty"),
    ("backup.info", "empty"),
    ("backup.info", "binary"),
    ("backup.info", "deep and long"),
    ("xlog.db", "binary"),
    ("xlog.db", "deep and long"),
    ("identity.json", "empty"),
    ("identity.json", "deep and long"),
    ("history", "binary"),
)


@pytest.mark.parametrize(("what", "kind"), CASES)
def test_garbage_is_named_and_brings_down_no_command(what: str, kind: str, tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    damaged = path_of(scene.catalog, what)
    if damaged:
        write(damaged, GARBAGE[kind])
    precious = [path for path in tmp_path.glob("main/**/*") if path.is_file() and "xlog.db" not in path.name]
    before = {path: path.read_bytes() for path in precious}
    for number, (command, sound_rc, sound_text) in enumerate(READING):
        rc, text = DAMAGED[what].get(command, (sound_rc, sound_text))
        if command in ("cron", "archive-wal main"):
            drop(scene.catalog.layout.incoming_directory, NEXT[command != "cron"])
        if command.startswith("delete"):
            assert {path: path.read_bytes() for path in precious} == before
        destination = tmp_path / f"restored{number}"
        words = command.replace("OUT", str(tmp_path)).replace("DEST", str(destination)).split()
        ran = scene.run(*words)
        told = f"{command}: exit {ran.rc}\n{ran.said[:2000]}"
        assert ran.rc == rc, told
        assert text.replace("HOME", str(tmp_path)) in ran.said, told
        assert "EXCEPTION" not in ran.said, told
        assert "Traceback" not in ran.said, told
        assert len(ran.err) < 2000, told
        if command.startswith("restore"):
            assert (destination / "global" / "pg_control").exists() == (rc == 0), told
        if command == "cron":
            wait_until(lambda: os.path.exists(scene.catalog.layout.wal_path(NEXT[0])), "cron's archive-wal is done")
            with scene.catalog.locks.archive_wal(wait=True):
                pass
    assert "Traceback" not in scene.log_file.read_text(errors="replace")
    if what != "backup.info":
        assert not os.path.exists(scene.catalog.layout.backup_info(B))
        assert {entry.name for entry in scene.catalog.xlogdb.scan()} >= {*NEXT, SEGMENTS[0]}


def test_a_shortcut_past_an_unreadable_record_is_told_and_never_deletes(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    write(scene.catalog.layout.backup_info(B), GARBAGE["binary"])
    doubt = f"the record of backup {B} cannot be read: 'latest' of server 'main' may not be {A}"
    for command in ("show-backup main latest", "list-files main latest", f"restore main latest {tmp_path}/restored"):
        ran = scene.run(*command.split())
        assert (ran.rc, doubt in ran.err) == (0, True), f"{command}: {ran.said[:2000]}"
    ran = scene.run("delete", "main", "latest")
    assert (ran.rc, f"ERROR: {doubt}" in ran.err) == (1, True), ran.said
    for word in ("oldest", A):
        ran = scene.run("show-backup", "main", word)
        assert (ran.rc, "cannot be read" in ran.err) == (0, False), ran.said
    assert Path(scene.catalog.layout.data_directory(A)).is_dir()
