"""What the queues give, and what they keep."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from barman.errors import WalError
from barman.wal.incoming import IncomingSource
from barman.wal.source import Batch, is_hidden, scan
from barman.wal.streaming import StreamingSource
from tests.support.wal_files import segment_name

A, B, C, D = (segment_name(number) for number in range(1, 5))


def place(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).write_bytes(b"x")


def names(batch: Batch) -> list[str]:
    return [file.name for file in batch.files]


def streaming(directory: Path, *archived: str) -> StreamingSource:
    return StreamingSource(str(directory), lambda name: name in archived)


def test_incoming_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    place(tmp_path, C, A, "00000002.history", f"{A}.00000028.backup", f"{B}.partial")
    batch = IncomingSource(str(tmp_path)).batch(0)
    assert names(batch) == [A, f"{A}.00000028.backup", f"{B}.partial", C, "00000002.history"]
    assert batch.foreign == ()
    assert not batch.is_cut


def test_hidden_files_and_temporaries_are_invisible(tmp_path: Path) -> None:
    place(tmp_path, f".{A}.123.tmp", f"{A}.tmp", ".nfs0001", "notes.tmp")
    assert IncomingSource(str(tmp_path)).batch(0) == Batch()
    assert is_hidden(".x")
    assert not is_hidden(A)


def test_what_is_no_wal_file_is_foreign(tmp_path: Path) -> None:
    place(tmp_path, f"{A}.zst", "README", B)
    (tmp_path / C).mkdir()
    os.symlink(tmp_path / B, tmp_path / D)
    batch = IncomingSource(str(tmp_path)).batch(0)
    assert names(batch) == [B]
    assert sorted(file.name for file in batch.foreign) == sorted([f"{A}.zst", "README", C, D])


def test_a_limit_counts_only_files_that_can_be_archived(tmp_path: Path) -> None:
    place(tmp_path, "000.tmp", "00000000", "0000000", A, B, C)
    batch = IncomingSource(str(tmp_path)).batch(2)
    assert names(batch) == [A, B]
    assert batch.waiting == 3
    assert batch.is_cut


def test_a_missing_queue_is_empty_and_an_unreadable_one_is_an_error(tmp_path: Path) -> None:
    assert scan(str(tmp_path / "none")) == []
    place(tmp_path, "file")
    with pytest.raises(WalError, match="cannot read WAL queue"):
        scan(str(tmp_path / "file"))


def test_the_newest_partial_file_stays_and_earlier_ones_come_after_the_complete_files(tmp_path: Path) -> None:
    place(tmp_path, f"{A}.partial", B, f"{C}.partial", f"{D}.partial", A)
    batch = streaming(tmp_path).batch(0)
    assert names(batch) == [A, B, f"{A}.partial", f"{C}.partial"]
    assert not any(file.keep for file in batch.files)


def test_with_a_partial_file_every_complete_one_is_archived(tmp_path: Path) -> None:
    place(tmp_path, A, f"{B}.partial")
    assert names(streaming(tmp_path).batch(0)) == [A]


def test_without_a_partial_file_the_newest_segment_is_archived_but_stays(tmp_path: Path) -> None:
    place(tmp_path, A, B, "00000002.history")
    batch = streaming(tmp_path).batch(0)
    assert {file.name: file.keep for file in batch.files} == {A: False, B: True, "00000002.history": False}


def test_the_segment_that_stays_is_taken_once(tmp_path: Path) -> None:
    place(tmp_path, A, B)
    assert names(streaming(tmp_path, B).batch(0)) == [A]
    place(tmp_path, C)
    batch = streaming(tmp_path, A, B).batch(0)
    assert {file.name: file.keep for file in batch.files} == {A: False, B: False, C: True}


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_batch_of_n_archives_n_streamed_files(limit: int, tmp_path: Path) -> None:
    place(tmp_path, A, B, C, f"{D}.partial", "0.tmp")
    batch = streaming(tmp_path).batch(limit)
    assert names(batch) == [A, B, C][:limit]
    assert batch.is_cut == (limit < 3)


def test_odd_files_in_streaming_are_foreign(tmp_path: Path) -> None:
    place(tmp_path, f"{A}.gz", f"{A}.partial", "junk")
    assert [file.name for file in streaming(tmp_path).batch(0).foreign] == [f"{A}.gz", "junk"]
