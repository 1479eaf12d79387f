"""Catalogs of many shapes without a PostgreSQL: one home that both programs read.

Records are in the exact text of the original, WAL files are sparse, and every date lies well in the past.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

from barman.catalog.catalog import Catalog
from barman.catalog.wal_file import WalFile
from barman.postgres.wal_name import WalSegment
from tests.support.catalog_builder import SEGMENT_SIZE, UPSTREAM_RECORD, add_upstream_backup, make_catalog, write
from tests.support.fix_upstream import INACTIVE_SERVER, write_config

BACKUPS = [f"2026110{day}T000000" for day in (1, 2, 3, 4, 6, 7)]
"""Of the server `main`: two with rsync, a failed one, full, incremental, compressed and encrypted."""

FIRST, SECOND, FAILED, THIRD = (f"2026100{day}T000000" for day in (1, 2, 3, 4))
"""Of the server `kept`: kept in full, obsolete, failed, kept alone."""

STARTED, EMPTY = "20261108T000000", "20261109T000000"
"""Of the server `unfinished`."""

TORN, SOUND = "20261101T000000", "20261102T000000"
"""Of the server `torn`: a record without a byte, and a good one."""


def segment(number: int, timeline: int = 1) -> str:
    """The name of a segment."""
    return WalSegment.numbered(number, timeline, SEGMENT_SIZE).name


def archive(catalog: Catalog, *numbers: int, timeline: int = 1, started: float = 1793000000.0) -> None:
    """Archive segments of full size, as sparse files, an hour apart."""
    files = []
    for number in numbers:
        name = segment(number, timeline)
        path = catalog.layout.wal_path(name)
        write(path, b"")
        os.truncate(path, SEGMENT_SIZE)
        files.append(_dated(path, WalFile(name, SEGMENT_SIZE, started + 3600.0 * number)))
    _append(catalog, files)


def archive_gzip(catalog: Catalog, *numbers: int, started: float = 1793000000.0) -> None:
    """Archive segments that were compressed."""
    files = []
    for number in numbers:
        name = segment(number)
        content = gzip.compress(name.encode() * 4096 + bytes(SEGMENT_SIZE - len(name) * 4096), 1, mtime=0)
        path = catalog.layout.wal_path(name)
        write(path, content)
        files.append(_dated(path, WalFile(name, len(content), started + 3600.0 * number, "gzip")))
    _append(catalog, files)


def _dated(path: str, file: WalFile) -> WalFile:
    os.utime(path, (file.time, file.time))
    return file


def _append(catalog: Catalog, files: list[WalFile]) -> None:
    with open(catalog.layout.xlogdb, "ab") as index:
        index.write(b"".join(file.line() for file in files))


def backup(
    catalog: Catalog, backup_id: str, begin: int, end: int | None = None, *, legacy: bool = False, **keys: str
) -> None:
    """Add a backup as the original leaves it; `keys` replace values of its record."""
    end = begin if end is None else end
    timeline = int(keys.get("timeline", "1"))
    moment = f"{backup_id[:4]}-{backup_id[4:6]}-{backup_id[6:8]} 00:00"
    position = {
        "begin_wal": segment(begin, timeline),
        "begin_xlog": f"0/{begin:X}000028",
        "end_wal": segment(end, timeline),
        "end_xlog": f"0/{end:X}000100",
        "begin_time": f"{moment}:10.500000+00:00",
        "end_time": f"{moment}:12.250000+02:00",
        "backup_name": "None",
        "mode": "postgres",
        "size": "24014536",
        "deduplicated_size": "12007268",
    }
    layout = catalog.layout
    add_upstream_backup(layout, backup_id, text=UPSTREAM_RECORD, legacy=legacy, **{**position, **keys})
    path = Path(layout.legacy_backup_info(backup_id) if legacy else layout.backup_info(backup_id))
    path.write_text(path.read_text(encoding="utf-8").replace("backup_name=None\n", ""), encoding="utf-8")


def _main(home: str) -> None:
    """One backup of each kind on two timelines."""
    catalog = make_catalog(home)
    archive(catalog, *range(2, 19))
    label = f"{segment(8)}.00000028.backup"
    write(catalog.layout.wal_path(label), "START WAL LOCATION: 0/8000028\n")
    _append(catalog, [WalFile(label, 30, 1793028800.0), WalFile("00000002.history", 40, 1793080000.0)])
    write(catalog.layout.history(2), "1\t0/F000000\tno recovery target specified\n")
    archive(catalog, 15, 16, timeline=2, started=1793090000.0)
    _sort_index(catalog)
    rsync, rsync_again, failed, full, incremental, waiting = BACKUPS
    backup(catalog, rsync, 4, 5, mode="rsync-concurrent", backup_name="first-b", tablespaces="None")
    backup(catalog, rsync_again, 8, mode="rsync-concurrent", copy_stats="None", cluster_size="None")
    backup(catalog, failed, 9, status="FAILED", error="failure copying files (x)")
    backup(catalog, full, 12, 13, children_backup_ids=incremental, systemid="None")
    sizes = {"size": "300", "deduplicated_size": "300"}
    backup(catalog, incremental, 14, parent_backup_id=full, summarize_wal="on", **sizes)
    backup(catalog, waiting, 16, 18, status="WAITING_FOR_WALS", compression="gzip", encryption="gpg")


def _kept(home: str) -> None:
    """Annotations and a retention policy; compressed WAL."""
    catalog = make_catalog(home, "kept")
    archive_gzip(catalog, *range(4, 12))
    backup(catalog, FIRST, 4)
    backup(catalog, SECOND, 6)
    backup(catalog, FAILED, 8, status="FAILED", error="failure copying files (x)")
    backup(catalog, THIRD, 9, 10)
    catalog.keep.set(FIRST, "full")
    catalog.keep.set(THIRD, "standalone")


def _unfinished(home: str) -> None:
    catalog = make_catalog(home, "unfinished")
    nothing = dict.fromkeys(("end_wal", "end_xlog", "end_time", "end_offset", "size", "deduplicated_size"), "None")
    backup(catalog, STARTED, 16, status="STARTED", **nothing)
    backup(catalog, EMPTY, 16, status="EMPTY", begin_wal="None", begin_xlog="None", **nothing)


def _torn(home: str) -> None:
    catalog = make_catalog(home, "torn")
    archive(catalog, *range(4, 9))
    backup(catalog, TORN, 4)
    backup(catalog, SOUND, 6)
    write(catalog.layout.backup_info(TORN), b"")


def _legacy(home: str) -> None:
    """Records where they stood before 3.13.2."""
    catalog = make_catalog(home, "legacy")
    archive(catalog, *range(4, 9))
    backup(catalog, FIRST, 4, legacy=True)
    backup(catalog, SECOND, 6, legacy=True, mode="rsync-concurrent")


def _passive(home: str) -> None:
    """A passive node with two backups, whose primary answered a moment ago."""
    catalog = make_catalog(home, "passive")
    archive_gzip(catalog, *range(4, 9))
    backup(catalog, FIRST, 4, mode="passive", tablespaces="None")
    backup(catalog, SECOND, 6, mode="passive", systemid="None", tablespaces="None")
    write(catalog.layout.sync_wals_info, f"{segment(8)}\t560")
    answer = {
        "last_position": 560,
        "last_name": segment(8),
        "backups": {},
        "wals": [],
        "version": "3.19.1",
        "config": {},
    }
    write(catalog.layout.primary_info, json.dumps(answer, indent=4))


def _sort_index(catalog: Catalog) -> None:
    """Put the lines into the order in which the files were archived."""
    path = Path(catalog.layout.xlogdb)
    path.write_bytes(b"".join(sorted(path.read_bytes().splitlines(keepends=True))))


def build_torn_home(home: str) -> str:
    """A home with one server, whose record cannot be read: the original falls over it, `diagnose` included."""
    _torn(home)
    return write_config(home, {"torn": INACTIVE_SERVER})


def build_home(home: str) -> str:
    """Build all the others; return the path of the configuration file."""
    for build in (_main, _kept, _unfinished, _legacy, _passive):
        build(home)
    make_catalog(home, "empty")
    active = {**INACTIVE_SERVER, "active": "true"}
    policy = {"retention_policy": "RECOVERY WINDOW OF 3 WEEKS", "minimum_redundancy": "1"}
    down = {**active, "description": "", "conninfo": active["conninfo"] + " password=sekrit"}
    servers = {
        "main": {**INACTIVE_SERVER, **policy},
        "kept": {**active, "compression": "gzip", "retention_policy": "REDUNDANCY 1", "minimum_redundancy": "3"},
        "unfinished": INACTIVE_SERVER,
        "legacy": {**INACTIVE_SERVER, "description": "Records of an older release"},
        "empty": INACTIVE_SERVER,
        "passive": {
            "description": "A copy",
            "primary_ssh_command": "/bin/true primary",
            "compression": "gzip",
            **policy,
        },
        "down": down,
        "broken": {"archiver": "on", "backup_method": "postgres", "description": "No way in"},
    }
    return write_config(home, servers)
