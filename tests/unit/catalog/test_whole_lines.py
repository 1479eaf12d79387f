"""Whole lines from pieces."""

from hypothesis import given
from hypothesis import strategies as st

from barman.catalog.whole_lines import GARBAGE, LONGEST, whole_lines

LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"") + b"\n"))


@given(LINES, st.binary(max_size=9), st.integers(1, 50))
def test_every_whole_line_comes_once_and_positions_are_those_of_the_text(
    lines: list[bytes], torn: bytes, size: int
) -> None:
    torn = torn.replace(b"\n", b"")
    text = b"".join(lines) + torn
    got = list(whole_lines(text[start : start + size] for start in range(0, len(text), size)))
    assert b"".join(part for part, _ in got) == b"".join(lines)
    assert all(text[end - len(part) : end] == part for part, end in got)


def test_a_line_that_is_too_long_is_garbage_at_its_end() -> None:
    text = b"first\n" + b"x" * (3 * LONGEST) + b"\nlast\n" + b"y" * (2 * LONGEST)
    got = list(whole_lines(text[start : start + 1000] for start in range(0, len(text), 1000)))
    assert b"".join(part for part, _ in got) == b"first\n" + GARBAGE + b"last\n"
    part, end = got[-1]
    assert text[:end].endswith(b"\nlast\n")
    assert part.endswith(b"last\n")
