"""Incremental files: what they become, and how large."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from barman.errors import CorruptRecord
from barman.postgres.incremental_file import incremental_name, read_whole_size, whole_name


def write(path: Path, magic: int, truncation: int, blocks: tuple[int, ...], data: bytes | None = None) -> str:
    header = struct.pack(f"=III{len(blocks)}I", magic, len(blocks), truncation, *blocks)
    path.write_bytes(header + (bytes(8192) * len(blocks) if data is None else data))
    return str(path)


@pytest.mark.parametrize(
    ("path", "whole"),
    [
        ("base/5/INCREMENTAL.16384.1", "base/5/16384.1"),
        ("global/INCREMENTAL.1262", "global/1262"),
        ("pg_tblspc/16400/PG_17_202406281/5/INCREMENTAL.1", "pg_tblspc/16400/PG_17_202406281/5/1"),
        ("base/5/16384", None),
        # What somebody else called so is a file like any other.
        ("INCREMENTAL.notes", None),
        ("mine/INCREMENTAL.notes", None),
    ],
)
def test_only_files_of_relations_are_incremental(path: str, whole: str | None) -> None:
    assert whole_name(path) == whole
    assert whole is None or incremental_name(whole) == path


@pytest.mark.parametrize(("truncation", "blocks", "pages"), [(7, (), 7), (7, (3, 5), 7), (7, (3, 9), 10), (0, (0,), 1)])
def test_the_result_reaches_to_the_last_block_that_is_kept_or_new(
    tmp_path: Path, truncation: int, blocks: tuple[int, ...], pages: int
) -> None:
    assert read_whole_size(write(tmp_path / "f", 0xD3AE1F0D, truncation, blocks)) == pages * 8192


def test_a_damaged_file_is_told_and_costs_no_memory(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"\x0d\x1f")
    (tmp_path / "greedy").write_bytes(struct.pack("=III", 0xD3AE1F0D, 0xFFFFFFFF, 0))
    for path in (tmp_path / "short", tmp_path / "greedy", Path(write(tmp_path / "other", 1, 0, (1,)))):
        with pytest.raises(CorruptRecord, match=f"'{path}' is "):
            read_whole_size(str(path))
