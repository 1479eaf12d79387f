"""CRC-32C, the checksum in backup manifests, for which Python has no function.

One byte after the other Python manages a few megabytes a second. Here the data are cut into lanes of equal length that
take their steps together: a step looks up one byte of every lane with `bytes.translate` and combines whole rows as
large integers. The checksums of the lanes are then joined pair by pair: a register behind which zeros follow is changed
by a linear map. Polynomial: Castagnoli, reflected, as in PostgreSQL's `pg_crc32c.h`.
"""

from __future__ import annotations

import sys
from functools import cache

_POLYNOMIAL = 0x82F63B78
_LONG_LANE, _SHORT_LANE = 128, 32
_LONG_DATA = 1 << 16
_ONES = 0xFFFFFFFF


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_entry(byte) for byte in range(256))


def _rows(images: tuple[int, ...]) -> tuple[bytes, ...]:
    """Return for each of the four bytes of a result its value by argument."""
    return tuple(bytes(image >> shift & 255 for image in images) for shift in (0, 8, 16, 24))


_STEP = _rows(_TABLE)


class Crc32c:
    """A checksum under way, in the manner of hashlib's."""

    def __init__(self) -> None:
        self._register = _ONES

    def update(self, data: bytes) -> None:
        """Take more data."""
        if data:
            self._register = _advance(self._register, len(data)) ^ _register_of(data)

    def hexdigest(self) -> str:
        """Return the checksum as manifests have it: its bytes in the order of the processor."""
        return (self._register ^ _ONES).to_bytes(4, sys.byteorder).hex()


def _register_of(data: bytes) -> int:
    """Return what a register that begins as 0 is after the data. Zeros before the data change nothing."""
    length = _LONG_LANE if len(data) >= _LONG_DATA else _SHORT_LANE
    lanes = -(-len(data) // length)
    data = data.rjust(lanes * length, b"\0")
    low = bytes(lanes)
    second = third = fourth = 0
    for column in range(length):
        # Byte `column` of every lane at once; the rows are the bytes of all registers, as one number each.
        index = (int.from_bytes(data[column::length], "big") ^ int.from_bytes(low, "big")).to_bytes(lanes, "big")
        first, other, last, top = (int.from_bytes(index.translate(row), "big") for row in _STEP)
        low = (first ^ second).to_bytes(lanes, "big")
        second, third, fourth = other ^ third, last ^ fourth, top
    planes = (low, *(number.to_bytes(lanes, "big") for number in (second, third, fourth)))
    return _joined(planes, length)


def _joined(planes: tuple[bytes, ...], length: int) -> int:
    """Return one register for the registers of lanes, of which each has `length` bytes."""
    while len(planes[0]) > 1:
        if len(planes[0]) % 2:
            planes = tuple(b"\0" + plane for plane in planes)
        left = [plane[0::2] for plane in planes]
        half = len(left[0])
        joined = [int.from_bytes(plane[1::2], "big") for plane in planes]
        for row, tables in zip(left, _zeros(length), strict=True):
            for number, table in enumerate(tables):
                joined[number] ^= int.from_bytes(row.translate(table), "big")
        planes = tuple(number.to_bytes(half, "big") for number in joined)
        length *= 2
    return int.from_bytes(bytes(plane[0] for plane in planes), "little")


def _advance(register: int, count: int) -> int:
    """Return what a register is after so many zero bytes."""
    length = 1
    while count:
        if count & 1:
            register = _applied(_columns(length), register)
        count >>= 1
        length *= 2
    return register


@cache
def _columns(length: int) -> tuple[int, ...]:
    """Return what each single bit of a register becomes after `length` zero bytes, a power of two."""
    if length == 1:
        return tuple(_TABLE[1 << bit & 255] ^ 1 << bit >> 8 for bit in range(32))
    half = _columns(length // 2)
    return tuple(_applied(half, image) for image in half)


def _applied(columns: tuple[int, ...], register: int) -> int:
    result = bit = 0
    while register:
        if register & 1:
            result ^= columns[bit]
        register >>= 1
        bit += 1
    return result


@cache
def _zeros(length: int) -> tuple[tuple[bytes, ...], ...]:
    """Return the same as tables: for each byte of a register, for each byte of the result."""
    columns = _columns(length)
    return tuple(_rows(tuple(_applied(columns, byte << shift) for byte in range(256))) for shift in (0, 8, 16, 24))
