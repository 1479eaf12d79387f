"""Sound WAL segments of 1 MB without a PostgreSQL, and a server whose queues they wait in."""

from __future__ import annotations

import os
import random
import struct
import time
from pathlib import Path

from barman.config.loader import load_settings
from barman.postgres.wal_name import WalSegment
from barman.server.server import Server

SEGMENT_SIZE = 1 << 20
SYSTEM_ID = 7454545454545454545
PAGE_SIZE = 8192
PG15_MAGIC = 0xD110

HISTORY = b"1\t0/3000000\tno recovery target specified\n"
LABEL = b"START WAL LOCATION: 0/2000028 (file 000000010000000000000020)\nSTOP WAL LOCATION: 0/2000100\n"


def segment_name(number: int, timeline: int = 1) -> str:
    return WalSegment.numbered(number, timeline, SEGMENT_SIZE).name


def segment(name: str, *, seed: int = 0, system_id: int = SYSTEM_ID, size: int = SEGMENT_SIZE) -> bytes:
    """The content of a segment: a valid long page header, then pages that compress somewhat."""
    parsed = WalSegment.parse(name[:24])
    start = parsed.start(size).value
    first = struct.pack("<HHIQI4xQII", PG15_MAGIC, 2, parsed.timeline, start, 0, system_id, size, PAGE_SIZE)
    body = random.Random(f"{name[:24]}{seed}").randbytes(997) * (size // 997 + 1)
    return first + body[: size - len(first)]


def make_server(home: Path, **options: str) -> Server:
    """A server named `main` with `archiver` on; every directory exists."""
    lines = ["[barman]", f"barman_home = {home}", "barman_user = root", f"log_file = {home}/log", "", "[main]"]
    settings = {"archiver": "on", "backup_method": "postgres", **options}
    settings.update(conninfo="host=/nonexistent", streaming_conninfo="host=/nonexistent")
    if settings.get("compression") == "none":
        del settings["compression"]
    path = home / "barman.conf"
    path.write_text("\n".join([*lines, *(f"{key} = {value}" for key, value in settings.items())]) + "\n")
    server = Server(load_settings(str(path), {}).servers["main"])
    server.catalog.ensure_directories()
    return server


def drop(directory: str, name: str, content: bytes | None = None, *, age: float = 3600.0) -> bytes:
    """Place a file into a queue as if it had been written `age` seconds ago; answer its content."""
    data = segment(name) if content is None else content
    path = os.path.join(directory, name)
    with open(path, "wb") as file:
        file.write(data)
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return data
