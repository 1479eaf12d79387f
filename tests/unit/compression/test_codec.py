"""Every format round-trips, is readable by its own tool, and fails clearly when damaged."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest

from barman.compression.codec import (
    FORMATS,
    CodecError,
    CustomFilters,
    decoded,
    detect,
    detect_file,
    find_codec,
    head_size,
    same_content,
)
from tests.support.needs import need_program

IN_PROCESS = ["bzip2", "gzip", "lz4", "pybzip2", "pygzip", "snappy", "xz", "zstd"]


@pytest.fixture(name="plain")
def _plain(tmp_path: Path) -> Path:
    numbers = random.Random(7)
    path = tmp_path / "plain"
    path.write_bytes(b"".join(numbers.choice([b"\0" * 97, b"page ", numbers.randbytes(31)]) for _ in range(40_000)))
    return path


def encode(name: str, plain: Path, level: int | str | None = "low", custom: CustomFilters | None = None) -> Path:
    target = plain.with_name(f"stored.{name}")
    with open(target, "wb") as file:
        find_codec(name, level=level, custom=custom).encode_file(str(plain), file)
    return target


def decode(path: Path, custom: CustomFilters | None = None) -> bytes:
    with decoded(str(path), custom) as stream:
        return stream.read()


@pytest.mark.parametrize("name", IN_PROCESS)
def test_a_file_comes_back_as_it_was(name: str, plain: Path) -> None:
    stored = encode(name, plain)
    assert stored.stat().st_size < plain.stat().st_size
    assert decode(stored) == plain.read_bytes()


@pytest.mark.parametrize("name", IN_PROCESS)
def test_an_empty_file_comes_back_empty(name: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    stored = encode(name, plain)
    assert detect_file(str(stored)) is not None
    assert decode(stored) == b""


@pytest.mark.parametrize("name", IN_PROCESS)
def test_every_place_where_a_file_can_be_cut_is_noticed(name: str, plain: Path) -> None:
    stored = encode(name, plain)
    whole = stored.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, head_size() + 3):
        stored.write_bytes(whole[:length])
        with pytest.raises(CodecError, match=r"cannot decompress '.*stored"):
            decode(stored)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd", "lz4", "snappy"])
def test_a_flipped_byte_is_noticed(name: str, plain: Path) -> None:
    stored = encode(name, plain)
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 0x55
    stored.write_bytes(data)
    with pytest.raises(CodecError, match="cannot decompress"):
        decode(stored)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd", "lz4"])
def test_concatenated_streams_are_read_to_the_end(name: str, plain: Path) -> None:
    stored = encode(name, plain)
    stored.write_bytes(stored.read_bytes() * 2)
    assert decode(stored) == plain.read_bytes() * 2


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd", "lz4"])
def test_garbage_after_the_end_is_an_error(name: str, plain: Path) -> None:
    stored = encode(name, plain)
    stored.write_bytes(stored.read_bytes() + b"garbage behind the end")
    with pytest.raises(CodecError, match="cannot decompress"):
        decode(stored)


@pytest.mark.parametrize(
    ("name", "program"),
    [("gzip", "gzip"), ("bzip2", "bzip2"), ("xz", "xz"), ("zstd", "zstd"), ("lz4", "lz4"), ("pigz", "gzip")],
)
@pytest.mark.parametrize("level", ["low", "medium", "high"])
def test_the_formats_own_program_reads_it(name: str, program: str, level: str, plain: Path) -> None:
    for needed in {program, name} & {"pigz", program}:
        need_program(needed)
    stored = encode(name, plain, level)
    out = subprocess.run([program, "-dc"], input=stored.read_bytes(), stdout=subprocess.PIPE, check=True)
    assert out.stdout == plain.read_bytes()


@pytest.mark.parametrize("level", range(1, 10))
def test_the_standard_library_reads_every_gzip_level(level: int, plain: Path) -> None:
    assert gzip.decompress(encode("gzip", plain, level).read_bytes()) == plain.read_bytes()


def test_gzip_keeps_about_the_ratio_of_the_level_that_was_asked_for(plain: Path) -> None:
    for level, tolerance in ((1, 1.1), (6, 1.1), (9, 1.05)):
        ours = encode("gzip", plain, level).stat().st_size
        assert ours <= len(zlib.compress(plain.read_bytes(), level)) * tolerance


def test_level_words_and_numbers_become_the_engines_levels() -> None:
    words = {name: [FORMATS[name].level(word) for word in ("low", "medium", "high")] for name in FORMATS}
    assert words["gzip"] == words["pygzip"] == words["pigz"] == [1, 6, 9]
    assert words["bzip2"] == words["pybzip2"] == [1, 5, 9]
    assert words["xz"] == [1, 3, 5]
    assert words["zstd"] == [1, 4, 9]
    assert words["lz4"] == [0, 6, 10]
    assert FORMATS["gzip"].level(0) == 1
    assert FORMATS["gzip"].level(99) == 9
    assert FORMATS["zstd"].level(-40) == -22
    assert FORMATS["zstd"].level("-5") == -5
    assert FORMATS["zstd"].level(None) == 4
    assert FORMATS["lz4"].level(17) == 16
    with pytest.raises(CodecError, match="invalid compression level 'best'"):
        FORMATS["zstd"].level("best")


def test_names_that_share_a_magic_are_detected_as_the_alphabetically_first(plain: Path) -> None:
    assert detect_file(str(encode("pygzip", plain))) == "gzip"
    assert detect_file(str(encode("pybzip2", plain))) == "bzip2"
    assert detect_file(str(encode("zstd", plain))) == "zstd"
    assert detect(b"\x10\xd1\x05\0") is None
    assert detect(b"") is None


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(CodecError, match="unknown compression 'rar'") as caught:
        find_codec("rar")
    assert "zstd" in caught.value.hint


def test_a_missing_library_names_the_extra_to_install() -> None:
    program = (
        "import sys; sys.modules['zstandard'] = None\n"
        "from barman.compression.codec import find_codec, CodecError\n"
        "try: find_codec('zstd')\n"
        "except CodecError as error: print(error.message, '|', error.hint)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "zstd compression needs the Python module 'zstandard'" in out
    assert "pip install 'barman[zstd]'" in out


def test_gzip_works_without_any_faster_library(plain: Path) -> None:
    program = (
        "import sys\n"
        "for name in ('isal', 'zlib_ng'): sys.modules[name] = None\n"
        "from barman.compression.codec import find_codec, decoded\n"
        "with open(sys.argv[2], 'wb') as out: find_codec('gzip').encode_file(sys.argv[1], out)\n"
        "with decoded(sys.argv[2]) as stream: assert stream.read() == open(sys.argv[1], 'rb').read()\n"
    )
    subprocess.run([sys.executable, "-c", program, str(plain), str(plain) + ".out"], check=True)


def test_custom_filters_run_from_file_to_file(plain: Path) -> None:
    assert CustomFilters.from_options("cat", None, None) == CustomFilters("cat", None, None)
    real = CustomFilters.from_options("(printf 'MYZ1'; gzip -1 -c)", "tail -c +5 | gzip -dc", "0x4d595a31")
    stored = encode("custom", plain, custom=real)
    assert stored.read_bytes()[:4] == b"MYZ1"
    assert detect_file(str(stored), real) == "custom"
    assert detect_file(str(stored)) is None
    assert decode(stored, real) == plain.read_bytes()


def test_a_failing_custom_filter_says_what_the_program_said(plain: Path) -> None:
    filters = CustomFilters("echo no space in attic >&2; false", "false", b"XX")
    with pytest.raises(CodecError, match="no space in attic"):
        encode("custom", plain, custom=filters)
    with pytest.raises(CodecError, match="custom_compression_filter"):
        encode("custom", plain, custom=CustomFilters())


def test_a_custom_magic_that_is_not_hexadecimal_is_refused() -> None:
    with pytest.raises(CodecError, match="invalid custom_compression_magic '0xgz'"):
        CustomFilters.from_options("cat", "cat", "0xgz")


def test_paths_with_shell_characters_are_only_paths(tmp_path: Path) -> None:
    plain = tmp_path / "a b;touch $HOME'\""
    plain.write_bytes(b"content")
    assert decode(encode("custom", plain, custom=CustomFilters("tac", "tac", b"content"))) == b"content"


def test_contents_are_compared_whatever_their_compression(plain: Path) -> None:
    first, second = encode("gzip", plain), encode("zstd", plain)
    assert same_content(str(first), str(plain))
    assert same_content(str(first), str(second))
    other = plain.with_name("other")
    data = bytearray(plain.read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)
    os.utime(other, (plain.stat().st_atime, plain.stat().st_mtime))
    assert not same_content(str(first), str(other))
    assert not same_content(str(plain), str(other))
    other.write_bytes(bytes(data[:-1]))
    assert not same_content(str(plain), str(other))


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd", "lz4"])
def test_a_compression_bomb_does_not_eat_the_memory(name: str, tmp_path: Path) -> None:
    plain = tmp_path / "zeros"
    with open(plain, "wb") as file:
        file.truncate(120 << 20)
    stored = encode(name, plain, "low")
    find_codec(name)
    tracemalloc.start()
    total = 0
    with decoded(str(stored)) as stream:
        while piece := stream.read(1 << 20):
            total += len(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 120 << 20
    assert peak < 80 << 20


def test_the_registry_imports_no_engine() -> None:
    program = "import sys, barman.compression.codec; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"zstandard", "lz4", "cramjam", "isal", "bz2", "lzma", "subprocess", "dataclasses"} & set(modules)
