"""Scripts around archive-wal: one file at a time, told of every decision; one that forbids keeps the queue."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from barman.cron.run import Cron
from barman.errors import BarmanError
from barman.process import is_alive
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.wal.archiver import archive_wal
from tests.support.listener import Listener
from tests.support.wal_files import drop, make_server, segment, segment_name

A, B, C = (segment_name(number) for number in (0x20, 0x21, 0x22))
WAL = ("SEGMENT", "FILE", "SIZE", "TIMESTAMP", "COMPRESSION", "ERROR")


@pytest.fixture
def listener(tmp_path: Path) -> Listener:
    return Listener(tmp_path / "listener")


def place(tmp_path: Path, **options: str) -> tuple[Server, str]:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    server = make_server(home, **options)
    return server, server.catalog.layout.incoming_directory


def test_scripts_are_told_of_the_file_as_it_arrives_and_as_it_is_archived(tmp_path: Path, listener: Listener) -> None:
    server, incoming = place(tmp_path, compression="gzip", **listener.options())
    data = drop(incoming, A)
    os.utime(os.path.join(incoming, A), (1700000000.5, 1700000000.5))
    archive_wal(server, MemoryReporter())
    calls = listener.calls()
    assert [f"{call['PHASE']}_{call['HOOK']}" for call in calls] == [
        "pre_archive_script",
        "pre_archive_retry_script",
        "post_archive_retry_script",
        "post_archive_script",
    ]
    path = server.catalog.layout.wal_path(A)
    arrived = (A, os.path.join(incoming, A), str(len(data)), "1700000000.5", "", "")
    stored = (A, path, str(os.path.getsize(path)), "1700000000.5", "gzip", "")
    assert [tuple(call[name] for name in WAL) for call in calls] == [arrived, arrived, stored, stored]


def test_a_file_that_arrives_compressed_is_told_as_such(tmp_path: Path, listener: Listener) -> None:
    server, incoming = place(tmp_path, **listener.options("pre_archive_script"))
    drop(incoming, A, gzip.compress(segment(A)))
    archive_wal(server, MemoryReporter())
    assert [call["COMPRESSION"] for call in listener.calls()] == ["gzip"]


def test_scripts_are_told_why_a_file_was_not_archived(tmp_path: Path, listener: Listener) -> None:
    server, incoming = place(tmp_path, **listener.options("post_archive_script", "post_archive_retry_script"))
    drop(incoming, A)
    archive_wal(server, MemoryReporter())
    listener.calls()
    drop(incoming, A)
    archive_wal(server, MemoryReporter())
    drop(incoming, A, bytearray(segment(A))[:-1] + b"x")
    drop(incoming, B, b"junk")
    archive_wal(server, MemoryReporter())
    errors = [(call["SEGMENT"], call["ERROR"]) for call in listener.calls()]
    assert errors[::2] == errors[1::2]
    identical, other, junk = errors[::2]
    assert identical[0] == other[0] == A
    details = f"WalFileInfo(compression=None, encryption=None, name='{A}', size={len(segment(A))}, time="
    assert identical[1].startswith(f"MatchingDuplicateWalFile:{details}")
    assert other[1].startswith(f"DuplicateWalFile:{details}")
    assert junk[0] == B
    assert "too few" in junk[1]


def test_a_script_that_forbids_a_file_keeps_it_and_all_later_ones_queued(tmp_path: Path, listener: Listener) -> None:
    veto = f'test "$BARMAN_SEGMENT" != {B} || exit 63'
    server, incoming = place(
        tmp_path, pre_archive_retry_script=veto, **listener.options("pre_archive_script", "post_archive_script")
    )
    for name in (A, B, C):
        drop(incoming, name)
    reporter = MemoryReporter()
    archive_wal(server, reporter)
    assert [file.name for file in server.catalog.xlogdb.scan()] == [A]
    assert sorted(os.listdir(incoming)) == [B, C]
    assert not reporter.failed
    assert reporter.texts("warning") == [
        f"WAL of server main from file archival stays in its queue: Abort 'pre_archive_retry_script' retry hook script "
        f"({veto}, exit code: 63)"
    ]
    calls = [(call["PHASE"], call["SEGMENT"], call["ERROR"].partition(" (")[0]) for call in listener.calls()]
    aborted = "Abort 'pre_archive_retry_script' retry hook script"
    assert calls == [("pre", A, ""), ("post", A, ""), ("pre", B, ""), ("post", B, aborted)]

    # The next run asks again, and goes on where this one ended.
    server, _ = place(tmp_path)
    archive_wal(server, MemoryReporter())
    assert [file.name for file in server.catalog.xlogdb.scan()] == [A, B, C]


def test_scripts_hear_of_a_file_that_cannot_be_compressed(tmp_path: Path, listener: Listener) -> None:
    server, incoming = place(
        tmp_path,
        compression="custom",
        custom_compression_filter="echo broken >&2; false",
        custom_decompression_filter="cat",
        custom_compression_magic="0x4242",
        **listener.options("post_archive_script"),
    )
    drop(incoming, A)
    with pytest.raises(BarmanError):
        archive_wal(server, MemoryReporter())
    (call,) = listener.calls()
    assert call["SEGMENT"] == A
    assert call["FILE"] == server.catalog.layout.wal_path(A)
    assert "broken" in call["ERROR"]
    assert os.listdir(incoming) == [A]


def test_a_file_is_durable_and_its_source_gone_before_scripts_hear_that_it_is_archived(tmp_path: Path) -> None:
    note = tmp_path / "note"
    script = f'test ! -e {tmp_path}/home/main/incoming/$BARMAN_SEGMENT; echo $? $(grep -c "^$BARMAN_SEGMENT" '
    script += f'{tmp_path}/home/main/wals/main-xlog.db) $(wc -c <"$BARMAN_FILE") >{note}'
    server, incoming = place(tmp_path, post_archive_script=script)
    data = drop(incoming, A)
    archive_wal(server, MemoryReporter())
    assert note.read_text() == f"0 1 {len(data)}\n"


def test_cron_leaves_scripts_of_one_server_to_a_process_of_its_own(tmp_path: Path) -> None:
    note = tmp_path / "note"
    server, incoming = place(tmp_path, post_archive_script=f"sleep 0.5; echo $PPID >{note}.new; mv {note}.new {note}")
    drop(incoming, A)
    reporter = MemoryReporter()
    Cron(str(tmp_path / "home" / "barman.conf")).run([server.config], reporter)
    limit = time.monotonic() + 60
    while not note.exists() and time.monotonic() < limit:
        time.sleep(0.02)
    archiver = int(note.read_text())
    assert archiver != os.getpid()
    while is_alive(archiver) and time.monotonic() < limit:
        time.sleep(0.02)
    assert [file.name for file in server.catalog.xlogdb.scan()] == [A]
