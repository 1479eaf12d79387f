"""A real server with a real catalog in a temporary directory, and WAL in its archive; no PostgreSQL."""

import gzip
import os
import struct

from barman.catalog.catalog import Catalog
from barman.catalog.wal_file import WalFile
from barman.config.loader import load_settings
from barman.postgres.wal_name import WalSegment
from barman.server.server import Server

SEGMENT = 1024 * 1024
SYSTEM_ID = 7454545454545454545
_PG15_MAGIC, _LONG_HEADER = 0xD110, 0x0002


def make_server(home: str, **options: str) -> Server:
    """A server `main` from a configuration file; its directories exist."""
    path = os.path.join(home, "barman.conf")
    section = {"conninfo": "host=/nowhere", "backup_method": "postgres", "archiver": "on", **options}
    lines = [f"[barman]\nbarman_home = {home}\n[main]\n", *(f"{key} = {value}\n" for key, value in section.items())]
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(lines)
    config = load_settings(path, {}).servers["main"]
    assert not config.msg_list
    server = Server(config)
    server.catalog.ensure_directories()
    return server


def segment(number: int, timeline: int = 1) -> str:
    """The name of a 1 MB segment."""
    return WalSegment.numbered(number, timeline, SEGMENT).name


def segment_content(number: int, timeline: int = 1) -> bytes:
    """A sound segment without records: its first page has the header that PostgreSQL 15 writes."""
    facts = (_PG15_MAGIC, _LONG_HEADER, timeline, number * SEGMENT, 0, SYSTEM_ID, SEGMENT, 8192)
    return struct.pack("<HHIQI4xQII", *facts).ljust(SEGMENT, b"\0")


def put(catalog: Catalog, name: str, content: bytes) -> str:
    """Place a file into the archive, and its line into the index."""
    path = catalog.layout.wal_path(name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    catalog.xlogdb.append([WalFile(name, len(content), 1700000000.0, None, None)])
    return path


def archive_segments(catalog: Catalog, first: int, last: int, timeline: int = 1, *, plain: bool = False) -> list[str]:
    """Archive sound segments, compressed unless `plain`."""
    names = []
    for number in range(first, last + 1):
        content = segment_content(number, timeline)
        put(catalog, segment(number, timeline), content if plain else gzip.compress(content, 1))
        names.append(segment(number, timeline))
    return names


def archived(catalog: Catalog) -> list[str]:
    """What the archive holds, by directory and by index: both must agree."""
    names = catalog.wals.list_names()
    assert sorted(wal.name for wal in catalog.xlogdb.scan()) == sorted(names)
    return names
