"""Lines of `xlog.db`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.catalog.wal_file import WalFile, parse_line

SEGMENT = "000000010000000000000004"


def test_a_line_has_five_columns_and_times_as_python_floats() -> None:
    file = WalFile(SEGMENT, 16777216, 1795324206.4770923, "gzip")
    assert file.line() == b"000000010000000000000004\t16777216\t1795324206.4770923\tgzip\tNone\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"000000010000000000000004\t3\t1700000000.5\n", WalFile(SEGMENT, 3, 1700000000.5)),
        (b"000000010000000000000004\t3\t1700000000.5\tpigz\n", WalFile(SEGMENT, 3, 1700000000.5, "pigz")),
        (b"000000010000000000000004  3 1700000000 gzip  gpg", WalFile(SEGMENT, 3, 1700000000.0, "gzip", "gpg")),
        (b"00000002.history\t42\t1.0\tNone\tNone\n", WalFile("00000002.history", 42, 1.0)),
    ],
)
def test_lines_of_all_ages_are_read(line: bytes, expected: WalFile) -> None:
    assert parse_line(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"",
        b"000000010000000000000004\t3\n",
        b"000000010000000000000004\t3\t1.0\tNone\tNone\tmore\n",
        b"../../etc/passwd\t3\t1.0\tNone\tNone\n",
        b"000000010000000000000004\t-3\t1.0\tNone\tNone\n",
        b"000000010000000000000004\t3\tnan\tNone\tNone\n",
        b"000000010000000000000004\t3\tyesterday\tNone\tNone\n",
        b"000000010000000000000004\t" + b"9" * 5000 + b"\t1.0\tNone\tNone\n",
        b"\xff\xfe\t3\t1.0\tNone\tNone\n",
    ],
)
def test_anything_else_is_no_line(line: bytes) -> None:
    assert parse_line(line) is None


names = st.one_of(
    st.from_regex(r"[0-9A-F]{24}", fullmatch=True),
    st.from_regex(r"[0-9A-F]{24}\.partial", fullmatch=True),
    st.from_regex(r"[0-9A-F]{24}\.[0-9A-F]{8}\.backup", fullmatch=True),
    st.from_regex(r"[0-9A-F]{8}\.history", fullmatch=True),
)
files = st.builds(
    WalFile,
    names,
    st.integers(0, 1 << 30),
    st.floats(0, 4e9),
    st.sampled_from([None, "gzip", "zstd", "custom"]),
    st.sampled_from([None, "gpg"]),
)


@given(files)
def test_what_is_written_is_read_back(file: WalFile) -> None:
    assert parse_line(file.line()) == file
