"""The clients' small knowledge of segments agrees with the whole one."""

from __future__ import annotations

import pytest

from barman.clients.segment import is_plain_segment, is_segment_size, read_header, start_position
from barman.postgres import wal_name
from tests.support.wal_builder import SYSTEM_ID, long_header

NAMES = ["000000010000000000000001", "0000000A000000FF000000FE", "000000010000000000000000"]


@pytest.mark.parametrize("size", [1 << 20, 1 << 24, 1 << 30])
@pytest.mark.parametrize("order", "<>")
def test_headers_are_read_in_both_byte_orders(size: int, order: str) -> None:
    for name in NAMES:
        if int(name[16:], 16) < wal_name.segments_per_log(size):
            head = long_header(name, segment_size=size, byte_order=order)
            start = wal_name.WalSegment.parse(name).start(size).value
            assert read_header(head) == (SYSTEM_ID, size, start)
            assert start_position(name, size) == start


def test_other_bytes_are_no_header() -> None:
    assert read_header(b"") is None
    assert read_header(bytes(40)) is None
    assert read_header(b"\x1f\x8b" + b"x" * 60) is None


def test_names_and_sizes_are_judged_alike() -> None:
    for text in [
        *NAMES,
        "x",
        "",
        NAMES[0] + "0",
        NAMES[0].lower(),
        "00000001.history",
        NAMES[0] + ".partial",
        "é" * 24,
    ]:
        assert is_plain_segment(text) == wal_name.is_segment_name(text)
    for size in (0, 1, 1 << 19, 1 << 20, (1 << 20) + 1, 3 << 20, 1 << 30, 1 << 31):
        assert is_segment_size(size) == wal_name.is_segment_size(size)
