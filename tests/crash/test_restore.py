"""restore killed at every change it makes: what can be started is complete, and the next run completes the rest."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, Tablespace
from barman.fs.durable import is_temporary
from barman.postgres.lsn import Lsn
from barman.report import MemoryReporter
from barman.restore.request import RestoreRequest
from barman.restore.run import restore
from barman.server.server import Server
from tests.support.crash import every_crash
from tests.support.wal_files import SEGMENT_SIZE, SYSTEM_ID, drop, make_server, segment, segment_name

pytestmark = pytest.mark.crash

BACKUP = BackupId("20260101T000000")
FILES = {
    "PG_VERSION": b"15\n",
    "backup_label": b"START WAL LOCATION: 0/2000028\n",
    "global/pg_control": b"control" * 1000,
    "base/1/1259": os.urandom(20_000),
    "base/1/PG_VERSION": b"15\n",
    "postgresql.conf": b"archive_command = 'cp %p /old/%f'\nwork_mem = 4MB\n",
    "postgresql.auto.conf": b"primary_conninfo = 'host=old'\n",
    "log/server.log": b"not restored\n",
    "pg_wal/left": b"not restored\n",
}
WALS = [segment_name(number) for number in (32, 33, 34)]


class Scene:
    """A repository with one backup that has a tablespace, and an empty place for the cluster."""

    def __init__(self, home: Path) -> None:
        self.home = home / "home"
        self.home.mkdir()
        self.places = home / "places"
        self.server = make_server(self.home)
        layout = self.server.catalog.layout
        data = Path(layout.data_directory(BACKUP))
        for name, content in FILES.items():
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes(content)
        (data / "pg_tblspc").mkdir()
        tablespace = data.parent / "17" / "PG_15_1"
        tablespace.mkdir(parents=True)
        (tablespace / "5").write_bytes(b"in the tablespace")
        for name in WALS:
            directory = Path(layout.hash_directory(name))
            directory.mkdir(parents=True, exist_ok=True)
            drop(str(directory), name, segment(name))
        self.server.catalog.backups.save(
            BackupInfo(
                BACKUP,
                "main",
                status="DONE",
                mode="postgres",
                version=150018,
                systemid=str(SYSTEM_ID),
                timeline=1,
                xlog_segment_size=SEGMENT_SIZE,
                begin_wal=WALS[0],
                begin_xlog=Lsn(32 * SEGMENT_SIZE + 40),
                end_wal=WALS[1],
                end_xlog=Lsn(33 * SEGMENT_SIZE + 256),
                end_time=datetime(2026, 1, 1, tzinfo=timezone.utc),
                tablespaces=(Tablespace("ts", 17, "/original"),),
            )
        )
        self.repository = snapshot(data.parent)

    @property
    def destination(self) -> Path:
        return self.places / "restored"

    def prepare(self) -> None:
        shutil.rmtree(self.places, ignore_errors=True)
        self.places.mkdir()

    def restore(self, **options: object) -> None:
        request = RestoreRequest(
            BACKUP,
            str(self.destination),
            tablespaces=(f"ts:{self.places}/ts",),
            **options,  # type: ignore[arg-type]  # any option
        )
        server = Server(self.server.config)
        restore(server, request, MemoryReporter(), server.catalog.layout.directories())

    def assert_complete(self) -> None:
        here = self.destination
        for name in ("PG_VERSION", "backup_label", "global/pg_control", "base/1/1259", "base/1/PG_VERSION"):
            assert (here / name).read_bytes() == FILES[name]
        assert (self.places / "ts" / "PG_15_1" / "5").read_bytes() == b"in the tablespace"
        assert os.readlink(here / "pg_tblspc" / "17") == str(self.places / "ts")
        assert (here / "recovery.signal").exists()
        assert "archive_command = false\n" in (here / "postgresql.conf").read_text()
        auto = (here / "postgresql.auto.conf").read_text()
        assert auto.count("#BARMAN#primary_conninfo") == 1
        assert auto.count("restore_command =") == 1
        assert (here / "postgresql.auto.conf.origin").read_bytes() == FILES["postgresql.auto.conf"]
        assert not (here / "log" / "server.log").exists()
        assert not (here / "pg_wal" / "left").exists()
        wal_directory = next(path for path in (here / "barman_wal", here / "pg_wal") if path.exists())
        for name in WALS:
            assert (wal_directory / name).read_bytes() == segment(name)


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("options", [{}, {"target_xid": "700"}], ids=["to the end", "to a target"])
def test_a_killed_restore_leaves_nothing_that_starts_and_is_repeated_to_its_end(
    tmp_path: Path, options: dict[str, str]
) -> None:
    scene = Scene(tmp_path)
    crashes = 0
    for _ in every_crash(lambda: scene.restore(**options), str(scene.places), scene.prepare):
        crashes += 1
        if (scene.destination / "global" / "pg_control").exists():
            scene.assert_complete()
            continue
        scene.restore(**options)
        scene.assert_complete()
        assert not (scene.destination / ".barman-restore.unfinished").exists()
        assert [path for path in scene.places.rglob("*") if is_temporary(path.name)] == []
    assert crashes > 30
    scene.assert_complete()
    assert snapshot(Path(scene.server.catalog.layout.backup_directory_of(BACKUP))) == scene.repository


def test_a_killed_delta_restore_leaves_the_old_cluster_or_nothing_that_starts(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    old = {
        "PG_VERSION": b"15\n",
        "postgresql.conf": b"old\n",
        "global/pg_control": SYSTEM_ID.to_bytes(8, sys.byteorder) + b"old",
        "base/1/1259": FILES["base/1/1259"][:-1] + b"!",
        "base/1/stale": b"stale",
        "base/2/stale": b"stale",
        "pg_wal/000000010000000000000099": b"stale",
        "mine": b"mine",
    }

    def prepare() -> None:
        scene.prepare()
        for name, content in old.items():
            (scene.destination / name).parent.mkdir(parents=True, exist_ok=True)
            (scene.destination / name).write_bytes(content)

    crashes = 0
    for _ in every_crash(lambda: scene.restore(delta=True), str(scene.places), prepare):
        crashes += 1
        control = scene.destination / "global" / "pg_control"
        if control.exists() and control.read_bytes() == old["global/pg_control"]:
            assert {name: (scene.destination / name).read_bytes() for name in old} == old
            continue
        if not control.exists():
            scene.restore(delta=True)
        scene.assert_complete()
        assert (scene.destination / "mine").read_bytes() == b"mine"
        assert not list(scene.destination.rglob("*stale*"))
        assert not (scene.destination / "pg_wal" / "000000010000000000000099").exists()
    assert crashes > 30
    assert snapshot(Path(scene.server.catalog.layout.backup_directory_of(BACKUP))) == scene.repository
