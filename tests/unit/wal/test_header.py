"""The first page header of a segment."""

import io
import os
import shutil
import subprocess
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.errors import InvalidWalName
from barman.postgres.lsn import Lsn
from barman.wal.header import LONG_HEADER_SIZE, MAGICS, PageHeader, judge
from tests.support.fix_postgres import require_version
from tests.support.wal_builder import MB, PAGE_MAGIC, SYSTEM_ID, long_header

NAME = "0000000100000002000000FE"


def test_a_sound_segment_is_what_its_name_says() -> None:
    verdict = judge(io.BytesIO(long_header(NAME)), NAME, 16 * MB, str(SYSTEM_ID))
    assert verdict.ok
    assert verdict.header == PageHeader(0xD110, 2, 1, Lsn.parse("2/FE000000"), SYSTEM_ID, 16 * MB, 8192)
    assert verdict.header.version == "15"


@pytest.mark.parametrize("version", PAGE_MAGIC)
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_version_is_read_in_either_byte_order(version: float, order: str) -> None:
    data = long_header(NAME, version=version, byte_order=order)
    verdict = judge(io.BytesIO(data), NAME, 16 * MB, SYSTEM_ID)
    assert verdict.ok
    assert verdict.header is not None
    assert verdict.header.version == str(version)


@given(
    st.sampled_from([1 << bits for bits in range(20, 31)]),
    st.integers(1, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFF),
)
def test_every_segment_size_and_position_is_understood(size: int, timeline: int, log: int, seg: int) -> None:
    name = f"{timeline:08X}{log:08X}{seg % ((1 << 32) // size):08X}"
    assert judge(io.BytesIO(long_header(name, segment_size=size)), name, size, SYSTEM_ID).ok


def test_a_segment_of_another_cluster_size_or_place_is_told_with_all_reasons() -> None:
    data = long_header("0000000300000002000000FF", segment_size=MB, system_id=5)
    reasons = "\n".join(judge(io.BytesIO(data), NAME, 16 * MB, SYSTEM_ID).reasons)
    for word in ("system identifier 5", f"segment size is {MB}", "timeline 3", "position 2/FF00000"):
        assert word in reasons


def test_the_first_segment_of_a_timeline_begins_with_pages_of_its_parent() -> None:
    name = "0000000500000002000000FE"
    assert judge(io.BytesIO(long_header(name, timeline=4)), name).ok
    assert not judge(io.BytesIO(long_header(name, timeline=6)), name).ok
    assert not judge(io.BytesIO(long_header(name, timeline=0)), name).ok


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "only 0 bytes"),
        (long_header(NAME)[:39], "only 39 bytes"),
        (bytes(8192), "zeros"),
        (b"\x1f\x8b\x08" + bytes(100), "magic (1f8b)"),
        (long_header(NAME)[:2] + b"\x00\x00" + long_header(NAME)[4:], "no long header"),
        (long_header(NAME)[:2] + b"\x02\xff" + long_header(NAME)[4:], "no long header"),
        (long_header(NAME)[:32] + b"\x00\x00\x00\x03" + long_header(NAME)[36:], "damaged"),
        (long_header(NAME)[:36] + b"\x01\x00\x00\x00", "damaged"),
    ],
)
def test_what_is_no_segment_is_told_why(data: bytes, reason: str) -> None:
    verdict = judge(io.BytesIO(data), NAME)
    assert not verdict.ok
    assert reason in verdict.reasons[0]


def test_a_later_version_is_accepted_when_all_else_agrees() -> None:
    data = (max(MAGICS) + 3).to_bytes(2, "little") + long_header(NAME)[2:]
    verdict = judge(io.BytesIO(data), NAME, 16 * MB, SYSTEM_ID)
    assert verdict.ok
    assert verdict.header is not None
    assert verdict.header.version is None


@given(st.binary(min_size=LONG_HEADER_SIZE, max_size=64))
def test_arbitrary_bytes_are_judged_without_an_error(data: bytes) -> None:
    assert not judge(io.BytesIO(data), NAME, 16 * MB, SYSTEM_ID).ok


def test_only_names_of_segments_are_judged() -> None:
    with pytest.raises(InvalidWalName):
        judge(io.BytesIO(b""), "00000001.history")


@pytest.mark.postgres
@pytest.mark.parametrize(("version", "megabytes"), [(15, 16), (17, 1), (18, 64)])
def test_segments_written_by_postgresql_are_sound(version: int, megabytes: int) -> None:
    directory = require_version(str(version))
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(home, "postgres")
            as_user = ["runuser", "-u", "postgres", "--"]

        def call(program: str, *arguments: str) -> str:
            command = [*as_user, os.path.join(directory, program), "-D", home, *arguments]
            return subprocess.run(command, check=True, capture_output=True, cwd="/", text=True).stdout

        call("initdb", "-A", "trust", "-N", f"--wal-segsize={megabytes}")
        facts = dict(line.split(":", 1) for line in call("pg_controldata").splitlines())
        system_id = facts["Database system identifier"].strip()
        name = facts["Latest checkpoint's REDO WAL file"].strip()
        with open(os.path.join(home, "pg_wal", name), "rb") as stream:
            verdict = judge(stream, name, megabytes * MB, system_id)
        assert verdict.ok, verdict.reasons
        assert verdict.header is not None
        assert verdict.header.version == str(version)
        # What PostgreSQL keeps for later use has the header of its former life: it is not what its name says.
        for later in sorted(os.listdir(os.path.join(home, "pg_wal"))):
            if len(later) == 24 and later > name:
                with open(os.path.join(home, "pg_wal", later), "rb") as stream:
                    assert not judge(stream, later, megabytes * MB, system_id).ok
