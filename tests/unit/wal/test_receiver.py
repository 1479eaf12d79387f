"""The receiver's status directory, and what it tells about itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from barman.catalog.layout import Layout
from barman.clock import Deadline
from barman.config.loader import load_settings
from barman.config.server_config import ServerConfig
from barman.errors import LockBusy, WalError
from barman.process import Child
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.wal.receiver import describe_overrides, end_orphan, receiver_lock, repair_partial
from barman.wal.receiver_state import (
    ReceiverState,
    fingerprint,
    orphan,
    read_state,
    remove_state,
    start_time,
    write_state,
)

MB = 1024 * 1024
FIRST, SECOND = "000000010000000000000001.partial", "000000010000000000000002.partial"


def _config(tmp_path: Path, **options: str) -> ServerConfig:
    lines = "\n".join(f"{key} = {value}" for key, value in options.items())
    path = tmp_path / "barman.conf"
    path.write_text(
        f"[barman]\nbarman_home = {tmp_path}\nbarman_user = x\n\n"
        f"[main]\nconninfo = host=db user=barman\nstreaming_archiver = on\n{lines}\n"
    )
    return load_settings(str(path), {}).servers["main"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = _config(tmp_path).layout()
    os.makedirs(layout.meta_directory)
    return layout


@pytest.mark.parametrize("size", [0, MB])
def test_a_partial_of_a_good_size_is_left_alone(tmp_path: Path, size: int) -> None:
    (tmp_path / SECOND).write_bytes(b"x" * size)
    repair_partial(str(tmp_path), MB, MemoryReporter())
    assert (tmp_path / SECOND).stat().st_size == size


def test_only_the_newest_partial_of_an_odd_size_is_emptied(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(b"x" * 100)
    (tmp_path / SECOND).write_bytes(b"x" * 200)
    (tmp_path / "nonsense.partial").write_bytes(b"x")
    reporter = MemoryReporter()
    repair_partial(str(tmp_path), MB, reporter)
    assert [(tmp_path / name).stat().st_size for name in (FIRST, SECOND)] == [100, 0]
    assert reporter.texts() == [
        f"Truncating partial file {tmp_path / SECOND} that has wrong size 200 while {MB} was expected."
    ]


def test_a_missing_directory_needs_no_repair(tmp_path: Path) -> None:
    repair_partial(str(tmp_path / "missing"), MB, MemoryReporter())


def test_the_state_is_read_as_it_was_written(layout: Layout) -> None:
    state = ReceiverState(1, 2, "3", "4", True)
    write_state(layout, state)
    assert read_state(layout) == state
    assert os.stat(layout.receiver_state).st_mode & 0o777 == 0o600
    remove_state(layout)
    assert read_state(layout) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"receiver": 1}', '{"receiver": "x"}'])
def test_a_damaged_state_is_no_state(layout: Layout, content: str) -> None:
    Path(layout.receiver_state).write_text(content)
    assert read_state(layout) is None
    assert orphan(layout) is None


def test_every_option_that_decides_how_wal_is_received_changes_the_fingerprint(tmp_path: Path) -> None:
    plain = fingerprint(_config(tmp_path))
    changes = [
        {"slot_name": "barman"},
        {"streaming_conninfo": "host=other"},
        {"wal_streaming_conninfo": "host=other"},
        {"streaming_archiver_name": "another"},
        {"streaming_wals_directory": "/elsewhere"},
        {"path_prefix": "/opt/bin"},
    ]
    assert len({plain, *(fingerprint(_config(tmp_path, **change)) for change in changes)}) == len(changes) + 1
    assert fingerprint(_config(tmp_path, description="text", retention_policy="REDUNDANCY 3")) == plain


def test_a_program_left_behind_is_ended(tmp_path: Path, layout: Layout) -> None:
    with Child(["sleep", "100"]) as program, Server(_config(tmp_path)) as server:
        write_state(layout, ReceiverState(1, program.pid, start_time(program.pid), "", False))
        assert orphan(layout) == program.pid
        reporter = MemoryReporter()
        assert end_orphan(server, reporter)
        assert program.wait(Deadline(5)) < 0
        assert f"pg_receivewal({program.pid})" in reporter.texts("warning")[0]
    assert read_state(layout) is None


def test_another_process_that_got_the_same_pid_is_left_alone(tmp_path: Path, layout: Layout) -> None:
    with Child(["sleep", "100"]) as stranger, Server(_config(tmp_path)) as server:
        write_state(layout, ReceiverState(1, stranger.pid, "12345", "", False))
        assert not end_orphan(server, MemoryReporter())
        assert stranger.poll() is None


def test_a_held_lock_is_refused_in_the_words_of_the_caller(tmp_path: Path) -> None:
    with Server(_config(tmp_path)) as server, receiver_lock(server, "busy"):
        with pytest.raises(WalError, match="busy"), receiver_lock(server, "busy"):
            pass
        with pytest.raises(LockBusy):
            server.catalog.locks.receive_wal().acquire()
    with Server(_config(tmp_path)) as server, receiver_lock(server, "busy"):
        pass


def test_overrides_are_described_without_passwords(tmp_path: Path) -> None:
    assert describe_overrides(_config(tmp_path)) is None
    text = describe_overrides(_config(tmp_path, wal_streaming_conninfo="host=b password=s3cr3t", wal_conninfo="host=c"))
    assert text is not None
    assert text.startswith("Configuration overrides applied: 'streaming_conninfo' overridden with 'host=b ")
    assert text.endswith(" and 'conninfo' overridden with 'host=c'")
    assert "s3cr3t" not in text
