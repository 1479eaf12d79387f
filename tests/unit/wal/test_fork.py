"""Where pg_receivewal goes on, which decides whether the server has been there."""

from __future__ import annotations

import pytest

from barman.wal.fork import newest_received

SIZE = 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("names", "newest", "position"),
    [
        (["000000010000000000000003"], "000000010000000000000003", "0/4000000"),
        (["000000010000000000000003.partial"], "000000010000000000000003", "0/3000000"),
        # By segment first, then timeline, then complete before partial; other files say nothing.
        (["000000010000000000000005", "000000020000000000000004.partial"], "000000010000000000000005", "0/6000000"),
        (["000000010000000000000004", "000000020000000000000004.partial"], "000000020000000000000004", "0/4000000"),
        (["000000010000000000000004.partial", "000000010000000000000004"], "000000010000000000000004", "0/5000000"),
        (["0000000100000000000000FF", "00000003.history", ".x.tmp"], "0000000100000000000000FF", "1/0"),
    ],
)
def test_the_receiver_goes_on_after_the_newest_file(names: list[str], newest: str, position: str) -> None:
    found = newest_received(names, SIZE)
    assert found is not None
    assert (found[0].name, str(found[1])) == (newest, position)


def test_an_empty_directory_says_nothing() -> None:
    assert newest_received(["00000002.history"], SIZE) is None
