"""What cron sees of a server's queues."""

import os
from pathlib import Path

import pytest

from barman.cron.observe import observe
from barman.report import MemoryReporter
from barman.wal.archiver import archive_wal
from tests.support.wal_files import drop, make_server, segment_name

A, B, C = (segment_name(number) for number in (0x20, 0x21, 0x22))


@pytest.mark.parametrize(
    ("streaming", "incoming", "expected"),
    [
        ((), (), 0),
        ((f"{A}.partial",), (), 0),
        ((A, f"{B}.partial"), (), 1),
        ((A,), (), 1),
        ((A, B), (C,), 3),
        ((), (C, ".x.1.tmp", "x.tmp", "odd"), 2),
    ],
)
def test_what_the_archiver_would_take_is_queued(
    tmp_path: Path, streaming: tuple[str, ...], incoming: tuple[str, ...], expected: int
) -> None:
    server = make_server(tmp_path, streaming_archiver="on", slot_name="x")
    for directory, names in ((server.catalog.layout.streaming_directory, streaming),
                             (server.catalog.layout.incoming_directory, incoming)):  # fmt: skip
        for name in names:
            drop(directory, name, b"x")
    assert observe(server.config, server.catalog).queued == expected


def test_a_segment_that_stays_in_streaming_is_queued_until_it_is_archived(tmp_path: Path) -> None:
    server = make_server(tmp_path, archiver="off", streaming_archiver="on", slot_name="x")
    drop(server.catalog.layout.streaming_directory, A)
    assert observe(server.config, server.catalog).queued == 1
    archive_wal(server, MemoryReporter())
    assert os.listdir(server.catalog.layout.streaming_directory) == [A]
    assert observe(server.config, server.catalog).queued == 0
