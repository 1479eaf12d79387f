"""The errors directory: nothing is overwritten, nothing is lost, and the reason is kept."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from barman.errors import WalError
from barman.wal.quarantine import choose, drop, list_refused, reason_of, retry, set_aside
from barman.wal.source import Found, scan

NOW = datetime(2026, 11, 22, 10, 44, 38, tzinfo=timezone(timedelta(hours=2)))


def found(directory: Path, name: str, content: bytes = b"x") -> Found:
    (directory / name).write_bytes(content)
    return next(file for file in scan(str(directory)) if file.name == name)


def test_the_name_carries_the_time_in_utc_and_the_kind(tmp_path: Path) -> None:
    path = set_aside(found(tmp_path, "a"), str(tmp_path / "errors"), "unknown", "it is odd", NOW)
    assert os.path.basename(path) == "a.20261122T084438Z.unknown"
    assert Path(path).read_bytes() == b"x"
    assert reason_of(path) == "it is odd"
    assert not (tmp_path / "a").exists()


def test_a_second_file_of_the_same_second_gets_the_next_free_one(tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    paths = [set_aside(found(tmp_path, "a", data), str(errors), "duplicate", "", NOW) for data in (b"1", b"2", b"3")]
    assert [os.path.basename(path) for path in paths] == [
        f"a.20261122T0844{second}Z.duplicate" for second in (38, 39, 40)
    ]
    assert [Path(path).read_bytes() for path in paths] == [b"1", b"2", b"3"]
    assert len(set(paths)) == 3


def test_the_reason_is_hidden_from_those_who_count_files(tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    set_aside(found(tmp_path, "a"), str(errors), "unknown", "it is odd", NOW)
    assert [name for name in os.listdir(errors) if not name.startswith(".")] == ["a.20261122T084438Z.unknown"]
    assert reason_of(str(errors / "other")) is None


def test_a_directory_is_moved_whole_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "inside").write_bytes(b"kept")
    os.symlink("/etc/passwd", tmp_path / "l")
    directory, link = scan(str(tmp_path))
    assert Path(set_aside(directory, str(tmp_path / "e"), "unknown", "", NOW), "inside").read_bytes() == b"kept"
    assert os.readlink(set_aside(link, str(tmp_path / "e"), "unknown", "", NOW)) == "/etc/passwd"


def test_what_is_there_is_listed_with_the_name_it_came_with_and_the_reason(tmp_path: Path) -> None:
    errors = str(tmp_path / "errors")
    assert list_refused(errors) == []
    set_aside(found(tmp_path, "a.b"), errors, "unknown", "it is odd", NOW)
    (tmp_path / "errors" / "foreign").write_bytes(b"xx")
    ours, foreign = list_refused(errors)
    assert (ours.wal_name, ours.kind, ours.time, ours.size, ours.reason) == ("a.b", "unknown", NOW, 1, "it is odd")
    assert (foreign.wal_name, foreign.kind, foreign.time, foreign.size, foreign.reason) == ("foreign", "", None, 2, "")


def test_a_file_goes_back_into_the_queue_unless_another_one_waits_there(tmp_path: Path) -> None:
    errors, incoming = str(tmp_path / "errors"), tmp_path / "incoming"
    name = "000000010000000000000001"
    for content in (b"1", b"2"):
        set_aside(found(tmp_path, name, content), errors, "duplicate", "other content", NOW)
    first, second = choose(list_refused(errors), name)
    retry(first, str(incoming))
    assert (incoming / name).read_bytes() == b"1"
    with pytest.raises(WalError, match="waits already"):
        retry(second, str(incoming))
    assert [file.name for file in list_refused(errors)] == [second.name]
    assert len(os.listdir(errors)) == 2


def test_only_wal_files_go_back(tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    set_aside(found(tmp_path, "a"), str(errors), "unknown", "", NOW)
    (errors / "000000010000000000000001.20261122T084438Z.unknown").symlink_to("/etc/passwd")
    for file in list_refused(str(errors)):
        with pytest.raises(WalError, match="cannot be archived"):
            retry(file, str(tmp_path / "incoming"))


def test_files_and_directories_are_dropped_with_their_notes(tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    set_aside(found(tmp_path, "a"), str(errors), "unknown", "odd", NOW)
    (errors / "directory").mkdir()
    (errors / "directory" / "file").write_text("")
    for file in choose(list_refused(str(errors)), "all"):
        drop(file)
    assert os.listdir(errors) == []
    with pytest.raises(WalError, match="no file 'x'"):
        choose(list_refused(str(errors)), "x")
