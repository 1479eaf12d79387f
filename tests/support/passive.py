"""A primary and a passive node in two directories, in this process: catalogs are built, `ssh` is a script on this host.

What travels goes through real rsync. The script is the network between the nodes, and has its bad days.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from random import Random
from typing import Any

from barman.backup.manifest import write_manifest
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo
from barman.catalog.catalog import Catalog
from barman.catalog.layout import Layout
from barman.catalog.wal_file import WalFile
from barman.config.loader import load_settings
from barman.postgres.wal_name import WalSegment
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.sync.answer import answer
from barman.sync.backups import sync_backup
from barman.sync.run import sync_step
from barman.sync.state import read_position, save_primary
from barman.sync.wals import sync_wals
from tests.support.catalog_builder import SYSTEM_ID, add_backup, write
from tests.support.fix_homes import tree
from tests.support.fix_postgres import REPOSITORY
from tests.support.wal_builder import MB, segment_bytes

_NOWHERE = "host=/nonexistent"
_CUT = """
import os, select, sys
left = int(sys.argv[1])
while left > 0 and (piece := os.read(0, min(left, 65536))):
    left -= len(piece)
    while piece:
        # rsync does not block on its end of the socket, which is ours too.
        select.select([], [1], [])
        try:
            piece = piece[os.write(1, piece):]
        except BlockingIOError:
            pass
os.kill(int(sys.argv[2]), 9)
"""


def segment_name(number: int, timeline: int = 1) -> str:
    """The name of a segment of 1 MB."""
    return WalSegment.numbered(number, timeline, MB).name


def segment(number: int, timeline: int = 1, *, system_id: str = SYSTEM_ID, fill: bytes = b"") -> bytes:
    """A sound segment of the cluster that all backups here are of."""
    return segment_bytes(segment_name(number, timeline), system_id=int(system_id), fill=fill)


class Nodes:
    """The server `main` on both nodes."""

    def __init__(self, directory: Path, **options: str) -> None:
        self.directory = directory
        self.door = directory / "door"
        self.open_door()
        self.primary = self._server("primary", {"archiver": "on", "conninfo": _NOWHERE, "streaming_conninfo": _NOWHERE})
        self.passive = self._server("passive", {"primary_ssh_command": str(self.door), **options})
        self.primary.catalog.ensure_directories()

    def configure(self, **options: str) -> None:
        """Give the passive node other options."""
        self.passive = self._server("passive", {"primary_ssh_command": str(self.door), **options})

    def configure_primary(self, **options: str) -> None:
        """Give the primary other options."""
        section = {"archiver": "on", "conninfo": _NOWHERE, "streaming_conninfo": _NOWHERE, **options}
        self.primary = self._server("primary", section)

    def _server(self, name: str, options: dict[str, str]) -> Server:
        home = self.directory / name
        home.mkdir(exist_ok=True)
        user = pwd.getpwuid(os.geteuid()).pw_name
        lines = ["[barman]", f"barman_home = {home}", f"barman_user = {user}", f"log_file = {home}/log", "[main]"]
        section = {"backup_method": "postgres", **options}
        path = home / "barman.conf"
        path.write_text("\n".join([*lines, *(f"{key} = {value}" for key, value in section.items())]) + "\n")
        return Server(load_settings(str(path), {}).servers["main"])

    # The way between the nodes

    def open_door(self, before: str = "", run: str = 'exec /bin/sh -c "$*"') -> None:
        """Let commands through; `before` and `run` are lines of shell that see the command in `$*`."""
        barman = f"{sys.executable} -m barman -c {self.directory}/primary/barman.conf"
        (self.directory / "bin").mkdir(exist_ok=True)
        program = self.directory / "bin" / "barman"
        program.write_text(f'#!/bin/sh\nexport PYTHONPATH={REPOSITORY}\nexec {barman} "$@"\n')
        program.chmod(0o755)
        lines = ("#!/bin/sh", 'while [ "$1" = -o ]; do shift 2; done', f"PATH={self.directory}/bin:$PATH")
        temporary = self.directory / "door.new"
        temporary.write_text("\n".join([*lines, before, run]) + "\n")
        temporary.chmod(0o755)
        temporary.replace(self.door)

    def cut_door(self, size: int, command: str = "rsync --server") -> None:
        """Let so many bytes of what a command says through; then the connection is gone."""
        program = self.directory / "bin" / "cut"
        program.write_text(_CUT)
        cut = f"{sys.executable} -I -S {program} {size} $$"
        self.open_door(run=f'case "$*" in *"{command}"*) /bin/sh -c "$*" | {cut};; *) exec /bin/sh -c "$*";; esac')

    # What the primary has

    @property
    def theirs(self) -> Layout:
        return self.primary.catalog.layout

    @property
    def ours(self) -> Layout:
        return self.passive.catalog.layout

    @property
    def catalog(self) -> Catalog:
        """The catalog of the passive node."""
        return self.passive.catalog

    def put_backup(self, backup_id: str, begin: int, *, manifest: bool = False, **changes: Any) -> BackupInfo:
        """A backup of the primary's with the WAL segment that it needs."""
        changes = {"tablespaces": (), "xlog_segment_size": MB, **changes}
        info = add_backup(self.primary.catalog, backup_id, begin=begin, **changes)
        data = self.theirs.data_directory(BackupId(backup_id))
        write(os.path.join(data, "base", "1", "1259"), Random(backup_id).randbytes(200_000))
        os.makedirs(os.path.join(data, "pg_notify"), exist_ok=True)
        if manifest:
            write_manifest(self.theirs, info)
        if not os.path.exists(self.theirs.wal_path(segment_name(begin))):
            self.put_wal(begin)
        return info

    def put_wal(self, *numbers: int, timeline: int = 1) -> None:
        for number in numbers:
            self.put_file(segment_name(number, timeline), segment(number, timeline))

    def put_file(self, name: str, content: bytes, *, compression: str | None = None, encryption: str | None = None,
                 time: float = 1_700_000_000.25) -> None:  # fmt: skip
        """Archive a file on the primary as it is."""
        path = self.theirs.wal_path(name)
        write(path, content)
        os.utime(path, (time, time))
        self.primary.catalog.xlogdb.append([WalFile(name, len(content), time, compression, encryption)])

    # What the passive node does

    def tell(self, last_wal: str | None = None, last_position: int | None = None) -> None:
        """Let the passive node know what the primary has."""
        save_primary(self.ours, "".join(answer(self.primary, last_wal, last_position)).encode())

    def sync_backup(self, backup_id: str) -> MemoryReporter:
        reporter = MemoryReporter()
        with self.passive:
            sync_backup(self.passive, BackupId(backup_id), reporter)
        return reporter

    def sync_wals(self) -> MemoryReporter:
        reporter = MemoryReporter()
        with self.passive:
            sync_wals(self.passive, reporter)
        return reporter

    def step(self) -> tuple[MemoryReporter, list[tuple[str, ...]]]:
        """cron's part, and what it started; nothing is started here."""
        reporter, started = MemoryReporter(), list[tuple[str, ...]]()

        def start(*arguments: str) -> None:
            started.append(arguments)

        with self.passive:
            sync_step(self.passive, reporter, start)
        return reporter, started

    # What it has then

    def record(self, backup_id: str) -> BackupInfo:
        return self.catalog.backups.read(backup_id)

    def files(self, layout: Layout, backup_id: str) -> dict[str, str]:
        """Every file of a backup but its record, with its digest."""
        found = tree(Path(layout.backup_directory_of(backup_id)))
        return {name: digest for name, digest in found.items() if name != "backup.info"}

    def archived(self) -> dict[str, bytes]:
        return {name: Path(self.ours.wal_path(name)).read_bytes() for name in self.catalog.wals.names()}

    def lines(self) -> list[WalFile]:
        return list(self.catalog.xlogdb.scan())

    def position(self) -> str | None:
        found = read_position(self.ours)
        return found.name if found is not None else None

    def refused(self) -> list[str]:
        """What lies in the errors directory."""
        return sorted(name for name in os.listdir(self.ours.errors_directory) if name[0] != ".")
