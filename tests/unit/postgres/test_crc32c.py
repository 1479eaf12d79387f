"""CRC-32C against its published check value and against the definition, byte by byte."""

from __future__ import annotations

import random
import sys

import pytest

from barman.postgres.crc32c import Crc32c


def by_definition(data: bytes) -> str:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return (register ^ 0xFFFFFFFF).to_bytes(4, sys.byteorder).hex()


def checksum(*pieces: bytes) -> str:
    digest = Crc32c()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def test_the_check_value_of_the_catalogue_of_crcs_comes_out() -> None:
    assert checksum(b"123456789") == 0xE3069283.to_bytes(4, sys.byteorder).hex()
    assert checksum() == checksum(b"") == "00000000"


@pytest.mark.parametrize("size", [1, 31, 32, 33, 1000, 8192, 65535, 65536, 65537])
def test_every_length_and_every_cut_gives_what_the_definition_says(size: int) -> None:
    data = random.Random(size).randbytes(size)
    expected = by_definition(data)
    cut = random.Random(size + 1).randrange(size + 1)
    assert checksum(data) == checksum(data[:cut], data[cut:]) == expected
    assert checksum(bytes(size)) == by_definition(bytes(size))
