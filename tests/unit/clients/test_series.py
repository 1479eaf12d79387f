"""The stream of `barman get-wal --following`, as a client reads it."""

from __future__ import annotations

import pytest

from barman.clients.series import BrokenSeries, SeriesReader

NAMES = ["000000010000000000000001", "000000010000000000000002"]
CONTENT = {NAMES[0]: b"first\nbarman-wal end\n" * 100, NAMES[1]: b"\0" * 3000}
STREAM = b"".join(
    b"barman-wal %s %d\n%sbarman-wal end\n" % (name.encode(), len(content), content)
    for name, content in CONTENT.items()
)


class Listener:
    def __init__(self) -> None:
        self.whole: dict[str, bytes] = {}
        self.begun: list[str] = []
        self._content = b""
        self.reader = SeriesReader(self._begin, self._write, self._end)

    def _begin(self, name: str) -> None:
        self.begun.append(name)
        self._content = b""

    def _write(self, data: bytes) -> None:
        self._content += data

    def _end(self) -> None:
        self.whole[self.begun[-1]] = self._content


@pytest.mark.parametrize("step", [1, 7, 511, 100_000])
def test_segments_are_told_apart_however_the_stream_is_cut_into_pieces(step: int) -> None:
    listener = Listener()
    stream = b"Welcome to this host\n" + b"x" * 1000 + b"\n" + STREAM + b"bye\n"
    for start in range(0, len(stream), step):
        listener.reader.feed(stream[start : start + step])
    assert listener.whole == CONTENT
    assert listener.begun == NAMES


def test_a_segment_whose_end_has_not_come_does_not_count() -> None:
    first = len(STREAM) - 3000 - len(f"barman-wal {NAMES[1]} 3000\n") - len("barman-wal end\n")
    for length in [*range(0, 60), *range(first - 20, first + 60), len(STREAM) - 16, len(STREAM) - 1]:
        listener = Listener()
        listener.reader.feed(STREAM[:length])
        assert list(listener.whole) == NAMES[: int(length >= first)]


@pytest.mark.parametrize(
    "stream",
    [
        b"barman-wal ../../etc/passwd 5\n", b"barman-wal 000000010000000000000001.partial 5\n",
        b"barman-wal 000000010000000000000001\n", b"barman-wal 000000010000000000000001 -1\n",
        b"barman-wal 000000010000000000000001 0\n", b"barman-wal 000000010000000000000001 9999999999\n",
        b"barman-wal 000000010000000000000001 99999999999999\n", b"barman-wal 000000010000000000000001 5 6\n",
        b"barman-wal 000000010000000000000001 3\nabcd\n", b"barman-wal 000000010000000000000001 3\nabc" + b"d" * 300,
        b"barman-wal end\n",
    ],
)  # fmt: skip
def test_what_is_no_series_is_refused(stream: bytes) -> None:
    listener = Listener()
    with pytest.raises(BrokenSeries):
        listener.reader.feed(stream)
    assert listener.whole == {}
