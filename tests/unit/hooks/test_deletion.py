"""Scripts around deletions: what they are told, and that one which forbids leaves everything as it was (P15)."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from barman.backup.delete import delete_backup, resume_deletions
from barman.backup.expire import apply_retention
from barman.catalog.backup_id import BackupId
from barman.errors import BackupError, HookAborted
from barman.hooks.hooks import Hooks
from barman.process import is_alive
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.wal.removal import remove_unneeded_wals
from tests.support.catalog_builder import add_backup
from tests.support.listener import Listener
from tests.unit.backup.support import SEGMENT, archive_segments, archived, make_server, segment

BACKUP = ("BACKUP_DIR", "BACKUP_INFO_PATH", "PREVIOUS_ID", "NEXT_ID", "STATUS", "ERROR")
WAL = ("SEGMENT", "FILE", "SIZE", "TIMESTAMP", "COMPRESSION", "ERROR")
A, B, C = (BackupId(f"2026010{day}T000000") for day in (1, 2, 3))


def add(server: Server, backup_id: str, begin: int, **changes: object) -> None:
    values = {"begin": begin, "end": begin, "xlog_segment_size": SEGMENT, "tablespaces": (), **changes}
    add_backup(server.catalog, backup_id, **values)


def scene(home: Path, **options: str) -> Server:
    """A full backup A with its incremental B, and a full backup C, with the WAL from before A on."""
    home.mkdir(exist_ok=True)
    server = make_server(str(home), **options)
    archive_segments(server.catalog, 1, 6)
    add(server, A, 2, children_backup_ids=(B,))
    add(server, B, 3, parent_backup_id=A)
    add(server, C, 5)
    return server


def tree(home: Path) -> dict[str, bytes]:
    """Every file that is not a lock, with its content."""
    files = (path for path in home.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(home)): path.read_bytes() for path in files if "wal-index" not in path.name}


@pytest.fixture
def listener(tmp_path: Path) -> Listener:
    return Listener(tmp_path / "listener")


def test_scripts_hear_of_every_backup_and_every_wal_file_before_the_first_change(
    tmp_path: Path, listener: Listener
) -> None:
    server = scene(tmp_path / "home", **listener.options())
    delete_backup(server, A, MemoryReporter())
    calls = listener.calls()
    told = [(call["PHASE"], call["HOOK"], call.get("BACKUP_ID") or call.get("SEGMENT")) for call in calls]
    before = [(backup, kind) for backup in (B, A) for kind in ("delete_script", "delete_retry_script")]
    wal = [segment(number) for number in (1, 2, 3, 4)]
    expected = [("pre", kind, backup) for backup, kind in before]
    expected += [("pre", f"wal_delete_{kind}", name) for name in wal for kind in ("script", "retry_script")]
    expected += [("post", f"wal_delete_{kind}", name) for name in wal for kind in ("retry_script", "script")]
    expected += [("post", f"delete_{kind}", backup) for backup in (B, A) for kind in ("retry_script", "script")]
    # The WAL goes with the first backup of the tree that goes.
    assert sorted(told) == sorted(expected)
    assert told[:12] == expected[:12]
    assert told[-2:] == expected[-2:]
    assert archived(server.catalog) == [segment(5), segment(6)]


def test_scripts_after_a_deletion_are_told_what_those_before_it_were(tmp_path: Path, listener: Listener) -> None:
    server = scene(tmp_path / "home", **listener.options("pre_delete_script", "post_delete_script"))
    delete_backup(server, B, MemoryReporter())
    before, after = listener.calls()
    layout = server.catalog.layout
    assert before.pop("PHASE") == "pre"
    assert after.pop("PHASE") == "post"
    assert before == after
    told = {
        name: before[name] for name in ("BACKUP_DIR", "BACKUP_INFO_PATH", "PREVIOUS_ID", "NEXT_ID", "STATUS", "ERROR")
    }
    assert told == {
        "BACKUP_DIR": layout.backup_directory_of(B),
        "BACKUP_INFO_PATH": layout.backup_info(B),
        "PREVIOUS_ID": A,
        "NEXT_ID": C,
        "STATUS": "DONE",
        "ERROR": "",
    }


def test_scripts_are_told_where_a_wal_file_was_and_how_it_was_stored(tmp_path: Path, listener: Listener) -> None:
    server = scene(tmp_path / "home", **listener.options("post_wal_delete_script"))
    path = server.catalog.layout.wal_path(segment(1))
    os.utime(path, (1700000000.25, 1700000000.25))
    size = os.path.getsize(path)
    delete_backup(server, A, MemoryReporter())
    call = listener.calls()[0]
    assert {name: call[name] for name in WAL} == {
        "SEGMENT": segment(1),
        "FILE": path,
        "SIZE": str(size),
        "TIMESTAMP": "1700000000.25",
        "COMPRESSION": "gzip",
        "ERROR": "",
    }


def forbid(point: str, name: str = "") -> dict[str, str]:
    """Options of a script that forbids one backup or WAL file, or all of them."""
    variable = "BARMAN_SEGMENT" if point == "wal_delete" else "BARMAN_BACKUP_ID"
    command = f'test "${variable}" != {name} || exit 63' if name else "exit 63"
    return {f"pre_{point}_retry_script": command}


VETOES = [forbid("delete"), forbid("delete", A), forbid("wal_delete"), forbid("wal_delete", segment(4))]


@pytest.mark.parametrize("veto", VETOES, ids=["delete", "delete of the root", "wal_delete", "the last WAL"])
def test_a_vetoed_deletion_leaves_everything_as_it_was(
    tmp_path: Path, listener: Listener, veto: dict[str, str]
) -> None:
    home = tmp_path / "home"
    server = scene(home, **veto, **listener.options("post_delete_script", "post_wal_delete_script"))
    before = tree(home)
    with pytest.raises(HookAborted, match="exit code: 63"):
        delete_backup(server, A, MemoryReporter())
    assert tree(home) == before
    # Nor does a later run carry it out.
    assert resume_deletions(server, MemoryReporter()) == []
    assert tree(home) == before
    assert listener.calls() == []


def test_retention_leaves_what_a_script_vetoes_and_goes_on_with_the_rest(tmp_path: Path) -> None:
    home = tmp_path / "home"
    server = scene(home, retention_policy="REDUNDANCY 1", **forbid("delete", B))
    add(server, BackupId("20260102T120000"), 4)
    reporter = MemoryReporter()
    assert apply_retention(server, reporter) == ["20260102T120000"]
    assert list(server.catalog.snapshot().backups) == [A, B, C]
    assert server.catalog.backups.find_deleting() == (frozenset(), frozenset())
    assert not reporter.failed
    abort = "Abort 'pre_delete_retry_script' retry hook script"
    assert [text for text in reporter.texts("warning") if f"Backup {A} is obsolete and stays: {abort}" in text]


def test_a_keep_that_comes_while_scripts_run_is_respected(tmp_path: Path) -> None:
    layout = scene(tmp_path / "home").catalog.layout
    server = make_server(str(tmp_path / "home"), pre_delete_script=f"printf full >{layout.keep(C)}")
    assert server.catalog.keep.get(C) is None
    with pytest.raises(BackupError, match="is kept since a moment ago"):
        delete_backup(server, C, MemoryReporter())
    assert server.catalog.keep.get(C) == "full"
    assert server.catalog.snapshot().backups[C].status == "DONE"


def test_a_script_that_forbids_a_wal_file_outside_a_deletion_keeps_it_and_what_follows(tmp_path: Path) -> None:
    server = scene(tmp_path / "home", **forbid("wal_delete", segment(2)))
    archive_segments(server.catalog, 7, 9)
    reporter = MemoryReporter()
    view = server.catalog.snapshot()
    removed = remove_unneeded_wals(server.catalog, view, [A, B], reporter, Hooks(server, reporter))
    assert removed == [segment(1)]
    assert archived(server.catalog) == [segment(number) for number in range(2, 10)]
    assert f"WAL from {segment(2)} on is kept: Abort" in reporter.texts("warning")[0]


def killed_by_its_script(server: Server) -> None:
    pid = os.fork()
    if pid == 0:
        delete_backup(server, A, MemoryReporter())
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize("option", ["pre_delete_script", "pre_wal_delete_retry_script"])
def test_a_deletion_killed_while_scripts_are_asked_leaves_everything_as_it_was(tmp_path: Path, option: str) -> None:
    home = tmp_path / "home"
    server = scene(home, **{option: "kill -9 $PPID"})
    before = tree(home)
    killed_by_its_script(server)
    assert resume_deletions(server, MemoryReporter()) == []
    assert tree(home) == before


def test_a_deletion_killed_between_two_backups_is_finished_and_its_scripts_hear_of_it(
    tmp_path: Path, listener: Listener
) -> None:
    options = listener.options("pre_delete_script", "post_wal_delete_script", "post_delete_script")
    server = scene(tmp_path / "home", **{**options, "post_delete_script": "kill -9 $PPID"})
    killed_by_its_script(server)
    assert listener.heard() == ["pre_delete_script"] * 2 + ["post_wal_delete_script"] * 4
    assert list(server.catalog.snapshot().backups) == [A, C]
    server = make_server(str(tmp_path / "home"), **options)
    assert resume_deletions(server, MemoryReporter()) == [A]
    (call,) = listener.calls()
    assert (call["HOOK"], call["PHASE"], call["BACKUP_ID"], call["STATUS"]) == ("delete_script", "post", A, "FAILED")
    assert list(server.catalog.snapshot().backups) == [C]


def test_cron_that_is_told_to_end_takes_a_script_of_its_threads_along(tmp_path: Path) -> None:
    home = tmp_path / "home"
    note = tmp_path / "note"
    server = scene(
        home,
        retention_policy="REDUNDANCY 1",
        pre_delete_retry_script=f"echo $$ >{note}.new; mv {note}.new {note}; sleep 600; true",
    )
    main = home / "barman.conf"
    # Two servers, so that each is served by a thread.
    main.write_text(main.read_text() + "[other]\nconninfo = host=/nowhere\nbackup_method = postgres\narchiver = on\n")
    user = pwd.getpwuid(os.geteuid()).pw_name
    main.write_text(main.read_text().replace("[barman]", f"[barman]\nbarman_user = {user}\nlog_file = {home}/log"))
    before = set(server.catalog.snapshot().backups)
    cron = subprocess.Popen([sys.executable, "-m", "barman", "-c", str(main), "-q", "cron"])
    try:
        limit = time.monotonic() + 60
        while not note.exists() and time.monotonic() < limit:
            time.sleep(0.02)
        cron.terminate()
        assert cron.wait(30) == 1
    finally:
        cron.kill()
    script = int(note.read_text())
    while is_alive(script) and time.monotonic() < limit:
        time.sleep(0.02)
    assert not is_alive(script)
    assert set(server.catalog.snapshot().backups) == before
    assert server.catalog.backups.find_deleting() == (frozenset(), frozenset())
