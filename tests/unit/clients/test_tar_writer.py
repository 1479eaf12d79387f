"""The stream of barman-wal-archive, read by others."""

from __future__ import annotations

import io
import tarfile

import pytest

from barman.clients.tar_writer import END, checksum_member, file_header, padding
from barman.wal.tar_stream import TarReader

NAME = "00000001000000000000000A.00000028.backup"


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 100000])
def test_tarfile_and_our_server_read_it(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    stream = file_header(NAME, size, 1700000000.25) + data + padding(size)
    stream += checksum_member("sha256", "ab" * 32, NAME) + END
    with tarfile.open(fileobj=io.BytesIO(stream), mode="r|") as tar:
        first = tar.next()
        assert first is not None
        assert (first.name, first.size, first.mtime) == (NAME, size, 1700000000.25)
        content = tar.extractfile(first)
        assert content is not None
        assert content.read() == data
        second = tar.next()
        assert second is not None
        assert second.name == "SHA256SUMS"
    reader = TarReader(io.BytesIO(stream))
    seen = [(member.name, member.confirm, b"".join(reader.content())) for member in reader.members()]
    assert seen == [(NAME, True, data), ("SHA256SUMS", False, f"{'ab' * 32} *{NAME}\n".encode())]


def test_times_of_every_length_make_sound_records() -> None:
    for moment in (0.0, 9.5, 99.0, 1e9, 9999999999.999):
        reader = TarReader(io.BytesIO(file_header("x", 0, moment) + END))
        assert [member.mtime for member in reader.members()] == [pytest.approx(moment)]
