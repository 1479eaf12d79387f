"""Builds catalogs in a temporary directory: through our own stores, or in the exact text of the original."""

import os
from datetime import datetime, timedelta, timezone
from typing import Any

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, BackupStatus, Tablespace
from barman.catalog.catalog import Catalog
from barman.catalog.layout import Layout
from barman.postgres.lsn import Lsn
from barman.postgres.wal_name import WalSegment
from barman.values import replace

SEGMENT_SIZE = 16 * 1024 * 1024
SYSTEM_ID = "7454545454545454545"

UPSTREAM_RECORD = """\
backup_label='START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\\nCHECKPOINT LOCATION: 0/4000060\\n\
BACKUP METHOD: streamed\\nBACKUP FROM: primary\\nSTART TIME: 2026-11-22 05:10:04 UTC\\n\
LABEL: Barman backup main 20261122T051004\\nSTART TIMELINE: 1\\n'
backup_name=mybk
begin_offset=40
begin_time=2026-11-22 05:10:04.436093+00:00
begin_wal=000000010000000000000004
begin_xlog=0/4000028
children_backup_ids=None
cluster_size=24014537
compression=None
config_file=/var/lib/postgresql/15/main/postgresql.conf
copy_stats={'total_time': 2.003041, 'number_of_workers': 2, 'analysis_time_per_item': {'tsa': 0.531296, \
'pgdata': 0.540956}, 'copy_time_per_item': {'tsa': 0.2, 'pgdata': 0.4}, 'serialized_copy_time_per_item': {'tsa': 0.2, \
'pgdata': 0.4}, 'analysis_time': 1.0, 'copy_time': 0.6, 'serialized_copy_time': 0.6}
data_checksums=on
deduplicated_size=24014000
encryption=None
end_offset=256
end_time=2026-11-22 05:10:06.111111+00:00
end_wal=000000010000000000000004
end_xlog=0/4000100
error=None
hba_file=/var/lib/postgresql/15/main/pg_hba.conf
ident_file=/var/lib/postgresql/15/main/pg_ident.conf
included_files=['/var/lib/postgresql/15/main/postgresql.auto.conf']
mode=rsync-concurrent
parent_backup_id=None
pgdata=/var/lib/postgresql/15/main
server_name=main
size=24014537
status=DONE
summarize_wal=None
systemid=7454545454545454545
tablespaces=[('tsa', 16390, '/var/lib/postgresql/15/tsa')]
timeline=1
version=150018
xlog_segment_size=16777216
"""
"""A record as the original writes it, byte for byte."""


def make_layout(home: str, server: str = "main") -> Layout:
    """The default directories of a server below a home."""
    directory = os.path.join(home, server)
    wals = os.path.join(directory, "wals")
    return Layout(
        server_name=server,
        barman_home=home,
        backup_directory=directory,
        basebackups_directory=os.path.join(directory, "base"),
        wals_directory=wals,
        incoming_directory=os.path.join(directory, "incoming"),
        streaming_directory=os.path.join(directory, "streaming"),
        errors_directory=os.path.join(directory, "errors"),
        xlogdb_directory=wals,
        lock_directory=home,
    )


def make_catalog(home: str, server: str = "main") -> Catalog:
    """An empty catalog with all its directories."""
    catalog = Catalog(make_layout(home, server))
    catalog.ensure_directories()
    return catalog


def make_info(backup_id: str, **changes: Any) -> BackupInfo:
    """A plausible DONE record of a full backup; `begin` and `end` may be given as segment numbers of timeline 1."""
    begin, end = changes.pop("begin", 4), changes.pop("end", None)
    end = begin if end is None else end
    timeline = changes.get("timeline", 1)
    started = datetime.strptime(backup_id, "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)
    size = changes.get("xlog_segment_size", SEGMENT_SIZE)
    info = BackupInfo(
        backup_id=BackupId(backup_id),
        server_name="main",
        status=BackupStatus.DONE,
        mode="postgres",
        systemid=SYSTEM_ID,
        version=150018,
        pgdata="/var/lib/postgresql/15/main",
        config_file="/var/lib/postgresql/15/main/postgresql.conf",
        hba_file="/var/lib/postgresql/15/main/pg_hba.conf",
        ident_file="/var/lib/postgresql/15/main/pg_ident.conf",
        timeline=timeline,
        begin_time=started,
        begin_wal=WalSegment.numbered(begin, timeline, size).name,
        begin_xlog=Lsn(begin * size + 40),
        begin_offset=40,
        end_time=started + timedelta(seconds=2),
        end_wal=WalSegment.numbered(end, timeline, size).name,
        end_xlog=Lsn(end * size + 256),
        end_offset=256,
        size=4096,
        deduplicated_size=4096,
        cluster_size=8192,
        data_checksums="on",
        copy_stats={"copy_time": 1.5, "total_time": 2.0},
        backup_label="START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\nSTART TIMELINE: 1\n",
        tablespaces=(Tablespace("tsa", 16390, "/srv/tsa"),),
    )
    return replace(info, **changes)


def add_backup(catalog: Catalog, backup_id: str, **changes: Any) -> BackupInfo:
    """Save a record of `make_info` together with a small data directory."""
    info = make_info(backup_id, **{"server_name": catalog.layout.server_name, **changes})
    add_data(catalog.layout, backup_id)
    for tablespace in info.tablespaces:
        os.makedirs(catalog.layout.tablespace_directory(backup_id, tablespace.oid), exist_ok=True)
    catalog.backups.save(info)
    return info


def add_chain(catalog: Catalog, *backup_ids: str, **changes: Any) -> list[BackupInfo]:
    """A full backup and one incremental upon another, linked both ways."""
    infos: list[BackupInfo] = []
    for position, backup_id in enumerate(backup_ids):
        parent = backup_ids[position - 1] if position else None
        children = backup_ids[position + 1 : position + 2]
        links = {"parent_backup_id": parent, "children_backup_ids": tuple(children)}
        infos.append(add_backup(catalog, backup_id, version=170010, summarize_wal="on", **links, **changes))
    return infos


def add_data(layout: Layout, backup_id: str, files: int = 2) -> None:
    """A data directory that looks like one, as far as the catalog can tell."""
    data = os.path.join(layout.backup_directory_of(backup_id), "data")
    os.makedirs(os.path.join(data, "global"), exist_ok=True)
    write(os.path.join(data, "PG_VERSION"), "15\n")
    for number in range(files):
        write(os.path.join(data, "global", str(1260 + number)), "x" * 1024)
    write(os.path.join(data, "global", "pg_control"), "")


def add_upstream_backup(
    layout: Layout, backup_id: str, *, legacy: bool = False, text: str | None = None, **keys: str
) -> str:
    """A backup as the original leaves it; `keys` replace values in the text of the record. Returns that text."""
    record = UPSTREAM_RECORD if text is None else text
    values = {"server_name": layout.server_name, **keys}
    lines = [line.partition("=") for line in record.splitlines()]
    record = "".join(f"{key}={values.get(key, value)}\n" for key, _, value in lines)
    add_data(layout, backup_id)
    path = layout.legacy_backup_info(backup_id) if legacy else layout.backup_info(backup_id)
    write(path, record)
    return record


def write(path: str, content: str | bytes) -> None:
    """Create or replace a file, with its directory."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def read(path: str) -> str:
    """The text of a file."""
    with open(path, encoding="utf-8") as file:
        return file.read()
