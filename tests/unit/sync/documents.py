"""Answers of sync-info for tests: ours, made by the code under test, and what the original sends, spelled out."""

import json
from pathlib import Path
from typing import Any

from barman.config.loader import load_settings
from barman.server.server import Server
from barman.sync.protocol import SyncInfo, parse
from tests.support.offline import OfflineHome

A, B, C, D, E = (f"2026110{day}T000000" for day in range(1, 6))

RECORD: dict[str, Any] = {
    "backup_label": "'START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\\nSTART TIMELINE: 1\\n'",
    "begin_offset": 40,
    "begin_time": "Sun Nov  1 00:00:00 2026",
    "begin_wal": "000000010000000000000004",
    "begin_xlog": "0/4000028",
    "children_backup_ids": None,
    "cluster_size": 24014537,
    "compression": None,
    "config_file": "/etc/postgresql/postgresql.conf",
    "copy_stats": {"copy_time": 1.5, "total_time": 2.0},
    "data_checksums": "on",
    "deduplicated_size": 4096,
    "encryption": None,
    "end_offset": 256,
    "end_time": "Sun Nov  1 00:00:02 2026",
    "end_wal": "000000010000000000000004",
    "end_xlog": "0/4000100",
    "error": None,
    "hba_file": "/etc/postgresql/pg_hba.conf",
    "ident_file": "/etc/postgresql/pg_ident.conf",
    "included_files": ["/etc/postgresql/it's.conf"],
    "mode": "postgres",
    "parent_backup_id": None,
    "pgdata": "/var/lib/postgresql/15/main",
    "server_name": "main",
    "size": 4096,
    "status": "DONE",
    "summarize_wal": None,
    "systemid": "7454545454545454545",
    "tablespaces": [["tsa", 16390, "/srv/a 'b'"]],
    "timeline": 1,
    "version": 150018,
    "xlog_segment_size": 16777216,
    "backup_id": A,
    "begin_time_iso": "2026-11-01T00:00:00.500000+00:00",
    "end_time_iso": "2026-11-01T00:00:02+00:00",
}
"""One backup as the original sends it."""

CONFIG = {
    "backup_directory": "/srv/barman/main",
    "basebackups_directory": "/srv/barman/main/base",
    "wals_directory": "/srv/barman/main/wals",
    "compression": None,
    "primary_ssh_command": None,
    "name": "main",
}


def segment(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number >> 8:08X}{number & 255:08X}"


def wal(name: str, size: int = 16777216, **changes: Any) -> dict[str, Any]:
    return {"compression": None, "encryption": None, "name": name, "size": size, "time": 1793014400.25, **changes}


def record(backup_id: str, **changes: Any) -> dict[str, Any]:
    return {**RECORD, "backup_id": backup_id, **changes}


def document(*backups: dict[str, Any], wals: list[Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The document of the original."""
    listed = [wal(segment(number)) for number in (4, 5)] if wals is None else wals
    found = {
        "last_position": 0,
        "last_name": listed[-1]["name"] if listed else "",
        "backups": {item["backup_id"]: item for item in backups},
        "wals": listed,
        "version": "3.19.1",
        "config": CONFIG,
    }
    return {**found, **changes}


def encode(found: object) -> bytes:
    return json.dumps(found, indent=4).encode()


def info(*backups: dict[str, Any], **changes: Any) -> SyncInfo:
    """What is read from such a document."""
    return parse(encode(document(*backups, **changes)), "main")


def open_server(home: OfflineHome) -> Server:
    return Server(load_settings(str(home.config_file), {}).servers["main"])


def make_home(directory: Path, **options: str) -> OfflineHome:
    directory.mkdir(exist_ok=True)
    return OfflineHome(directory, **options)
