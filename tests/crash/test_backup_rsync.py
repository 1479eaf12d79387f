"""A backup with rsync killed at the changes it makes: what was there stays and restores, the dead run is seen.

rsync's own changes are its own: it dies with the backup that started it. Here the cluster is small and real.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from barman.backup.request import BackupRequest
from barman.backup.run import run_backup
from barman.config.loader import load_settings
from barman.report import MemoryReporter
from barman.server.server import Server
from tests.support.crash import count_changes, run_killed
from tests.support.fix_postgres import REPOSITORY, Cluster, ClusterFactory, newest_pg, pg_factory
from tests.support.invariants import Expectations, check_invariants

__all__ = ["newest_pg", "pg_factory"]

pytestmark = [pytest.mark.crash, pytest.mark.postgres]


class Scene:
    """A small cluster with a tablespace, and one good backup of it."""

    def __init__(self, place: Path, pg: Cluster, factory: ClusterFactory) -> None:
        self.home, self.pg, self.factory = place / "home", pg, factory
        incoming = place / "incoming"
        for directory, mode in ((place, 0o755), (incoming, 0o777), (self.home, 0o755)):
            directory.mkdir(exist_ok=True)
            directory.chmod(mode)
        command = f"cp %p {incoming}/.%f.tmp && mv {incoming}/.%f.tmp {incoming}/%f"
        pg.configure(archive_mode="on", archive_command=command)
        pg.restart()
        space = factory.scratch() / "space"
        space.mkdir()
        shutil.chown(space, pg.data.stat().st_uid)
        pg.sql(f"CREATE TABLESPACE far LOCATION '{space}'")
        pg.sql("CREATE TABLE far_away TABLESPACE far AS SELECT generate_series(1, 10) AS id")
        pg.create_ledger()
        pg.insert(3)
        pg.sql("CHECKPOINT")
        self.config = str(place / "barman.conf")
        user = pwd.getpwuid(os.geteuid()).pw_name
        Path(self.config).write_text(
            f"[barman]\nbarman_home = {self.home}\nbarman_user = {user}\n[main]\nbackup_method = local-rsync\n"
            f"archiver = on\nconninfo = {pg.conninfo}\nincoming_wals_directory = {incoming}\n"
        )
        self.back_up("off", wait=True)
        (self.good,) = self.server().catalog.snapshot().backups
        self.good_state, self.good_content = self.state_of_good(), self.state_of_good(content=True)

    def server(self) -> Server:
        return Server(load_settings(self.config, {}).servers["main"])

    def back_up(self, reuse: str, *, wait: bool = False) -> None:
        request = BackupRequest(reuse=reuse, manifest=True, wait=wait, wait_timeout=60, immediate_checkpoint=True)
        with self.server() as server:
            server.catalog.ensure_directories()
            run_backup(server, request, MemoryReporter())

    def forget_others(self) -> None:
        """Take away every backup but the good one."""
        layout = self.server().catalog.layout
        for name in os.listdir(layout.basebackups_directory):
            if name != self.good:
                shutil.rmtree(layout.backup_directory_of(name))
        for name in os.listdir(layout.meta_directory):
            if name[:1].isdigit() and not name.startswith(self.good):
                os.unlink(os.path.join(layout.meta_directory, name))

    def state_of_good(self, *, content: bool = False) -> str:
        """A digest of names, modes, sizes and times in the good backup; with `content` of its bytes too."""
        digest = hashlib.sha256()
        root = self.server().catalog.layout.backup_directory_of(self.good)
        for directory, _, names in sorted(os.walk(root)):
            for name in sorted(names):
                path = os.path.join(directory, name)
                status = os.lstat(path)
                digest.update(f"{path} {status.st_mode} {status.st_ino} {status.st_size} {status.st_mtime_ns}".encode())
                if content and not os.path.islink(path):
                    digest.update(Path(path).read_bytes())
        return digest.hexdigest()

    def assert_restores(self, backup_id: str) -> None:
        place = self.factory.scratch()
        moved = f"far:{self.factory.scratch()}/moved"
        argv = [sys.executable, "-m", "barman", "-c", self.config, "recover", "main", backup_id, f"{place}/data"]
        done = subprocess.run([*argv, "--tablespace", moved], check=False, capture_output=True, cwd=REPOSITORY)
        assert done.returncode == 0, done.stderr.decode()
        restored = self.factory.adopt(self.pg.version, place / "data")
        assert restored.ledger()[:3] == self.pg.ledger()[:3]
        assert restored.value("SELECT count(*) FROM far_away") == 10
        restored.stop()


@pytest.fixture
def scene(newest_pg: Cluster, pg_factory: ClusterFactory) -> Iterator[Scene]:
    memory = "/dev/shm"
    base = Path(tempfile.mkdtemp(prefix="barman-crash-", dir=memory if os.access(memory, os.W_OK) else None))
    yield Scene(base, newest_pg, pg_factory)
    shutil.rmtree(base, ignore_errors=True)


@pytest.mark.parametrize("reuse", ["off", "link"])
def test_a_backup_killed_anywhere_is_seen_and_harms_no_other(scene: Scene, reuse: str) -> None:
    changes = count_changes(lambda: scene.back_up(reuse), str(scene.home))
    assert changes > (60 if reuse == "off" else 900)
    seen = 0
    # Every change of the backup's own; a few of the many like ones: directories, links, and the WAL that is archived.
    own = [*range(1, 16), 25, *range(38, 61), *range(61, changes + 1, 6)]
    chosen = own if reuse == "off" else range(20, changes, changes // 8)
    for number, at in enumerate(chosen):
        scene.forget_others()
        if not run_killed(lambda: scene.back_up(reuse), str(scene.home), at).killed:
            continue
        catalog = scene.server().catalog
        assert scene.state_of_good() == scene.good_state
        check_invariants(catalog.layout, Expectations(settled=False, indexed=False, backups=[scene.good]))
        before = catalog.snapshot()
        assert not before.corrupt
        dead = [info.backup_id for info in before.backups.values() if not info.is_copy_done]
        seen += len(dead)
        if number % 14 and at < changes - 3:
            continue
        scene.back_up(reuse, wait=True)
        after = catalog.snapshot()
        newest = max(after.backups)
        assert after.backups[newest].status == "DONE"
        for backup_id in dead:
            assert after.backups[backup_id].status == "FAILED"
            assert "is gone)" in (after.backups[backup_id].error or "")
        assert scene.state_of_good() == scene.good_state
        check_invariants(catalog.layout, Expectations(indexed=False, backups=[scene.good, newest]))
    assert seen > (25 if reuse == "off" else 5)
    scene.back_up(reuse, wait=True)
    assert scene.state_of_good(content=True) == scene.good_content
    for backup_id in (scene.good, max(scene.server().catalog.snapshot().backups)):
        scene.assert_restores(backup_id)
