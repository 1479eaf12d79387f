"""Programs that a client talks to over pipes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from barman.pipes import converse


def test_a_program_that_said_enough_is_left_alone_and_not_waited_for(tmp_path: Path) -> None:
    said = b""

    def hear(data: bytes) -> None:
        nonlocal said
        said += data

    ended = converse(
        ["sh", "-c", "echo odd >&2; echo $$; exec sleep 300"], on_output=hear, is_enough=lambda: said.endswith(b"\n")
    )
    assert (ended.status, ended.error_text) == (0, "odd")
    os.kill(int(said), signal.SIGKILL)  # it was there still
    assert os.waitstatus_to_exitcode(os.waitpid(int(said), 0)[1]) == -signal.SIGKILL


def test_the_end_of_a_program_counts_as_long_as_nothing_is_enough() -> None:
    heard: list[bytes] = []

    def feed() -> Iterator[bytes]:
        yield b"word\n"

    ended = converse(
        ["sh", "-c", "cat; exit 7"], feed=feed(), on_output=heard.append, is_enough=lambda: b"other" in heard
    )
    assert ended.status == 7
    assert b"".join(heard) == b"word\n"
