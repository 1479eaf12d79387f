"""Files of block-level incremental backups: `INCREMENTAL.NAME` holds those blocks of NAME that have changed.

Header, in the byte order of the server: a magic number, how many blocks follow, the length in blocks that the relation
had at the least, and the number of each block. Source: `basebackup_incremental.h`, and `reconstruct.c` of
pg_combinebackup, which computes the length of the result in the same way.
"""

from __future__ import annotations

import os
import struct
from array import array

from barman.errors import CorruptRecord

PREFIX = "INCREMENTAL."
BLOCK_SIZE = 8192
"""What PostgreSQL is built with unless told otherwise; sizes of results are estimates where it was."""

_MAGIC = 0xD3AE1F0D
_HEADER = struct.Struct("=III")
# pg_combinebackup looks for such files nowhere else.
_RELATION_DIRECTORIES = ("base", "global", "pg_tblspc")


def whole_name(path: str) -> str | None:
    """Return the path of the file that an incremental one becomes; None for every other file.

    `path` is relative to a data directory, tablespaces at `pg_tblspc/OID`.
    """
    directory, _, name = path.rpartition("/")
    if not name.startswith(PREFIX) or directory.partition("/")[0] not in _RELATION_DIRECTORIES:
        return None
    return f"{directory}/{name.removeprefix(PREFIX)}"


def incremental_name(path: str) -> str:
    """Return the path of the incremental file that becomes `path`."""
    directory, slash, name = path.rpartition("/")
    return f"{directory}{slash}{PREFIX}{name}"


def read_whole_size(path: str) -> int:
    """Return the bytes that the reconstructed file will have. Raises CorruptRecord, OSError."""
    with open(path, "rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise CorruptRecord(f"'{path}' is too short for an incremental file")
        magic, count, blocks = _HEADER.unpack(header)
        # What is asked for below is in the file: a damaged count costs no memory.
        if magic != _MAGIC or _HEADER.size + count * (4 + BLOCK_SIZE) > os.fstat(file.fileno()).st_size:
            raise CorruptRecord(f"'{path}' is damaged: it is no incremental file of PostgreSQL")
        numbers = array("I", file.read(count * 4))
    return int(max(blocks, max(numbers, default=-1) + 1)) * BLOCK_SIZE
