"""A WAL archive in a temporary directory: layout, lock and files, without a server or a configuration."""

import os
from dataclasses import dataclass

from barman.catalog.layout import Layout
from barman.catalog.wal_store import WalStore
from barman.catalog.xlogdb import XlogDb
from barman.fs.lock import FileLock


def make_layout(home: str, server: str = "main") -> Layout:
    base = os.path.join(home, server)
    layout = Layout(
        server_name=server,
        barman_home=home,
        backup_directory=base,
        basebackups_directory=os.path.join(base, "base"),
        wals_directory=os.path.join(base, "wals"),
        incoming_directory=os.path.join(base, "incoming"),
        streaming_directory=os.path.join(base, "streaming"),
        errors_directory=os.path.join(base, "errors"),
        xlogdb_directory=os.path.join(base, "wals"),
        lock_directory=home,
    )
    for directory in layout.directories():
        os.makedirs(directory, exist_ok=True)
    return layout


@dataclass(frozen=True)
class Locks:
    """The one lock that the index needs."""

    layout: Layout

    def xlogdb(self) -> FileLock:
        return FileLock(self.layout.lock("xlogdb"), wait=True)


class Archive:
    """The WAL part of a catalog; `put` places a file into the directory, and nothing into the index."""

    def __init__(self, home: str, server: str = "main"):
        self.layout = make_layout(home, server)
        self.locks = Locks(self.layout)
        self.xlogdb = XlogDb(self.layout, self.locks)
        self.wals = WalStore(self.layout)

    def put(self, name: str, content: bytes = b"wal", mtime: float = 1700000000.25) -> str:
        path = self.layout.wal_path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        os.utime(path, (mtime, mtime))
        return path

    def write_index(self, text: bytes) -> None:
        with open(self.layout.xlogdb, "wb") as file:
            file.write(text)

    def index_text(self) -> bytes:
        with open(self.layout.xlogdb, "rb") as file:
            return file.read()


def segment_name(number: int, timeline: int = 1) -> str:
    """The name of a 16 MB segment by its number."""
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"
