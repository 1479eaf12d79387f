"""Which lock files may go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from barman.clock import timestamp
from barman.config.loader import load_settings
from barman.config.server_config import ServerConfig
from barman.cron.lock_files import REST_SECONDS, remove_unused_lock_files
from barman.fs.lock import FileLock

GONE, KNOWN = "20261101T000000", "20261102T000000"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "main" / "meta").mkdir(parents=True)
    (home / "main" / "meta" / f"{KNOWN}-backup.info").write_text("status=DONE\n")
    (tmp_path / "barman.conf").write_text(
        f"[barman]\nbarman_home = {home}\nbarman_user = root\n\n"
        "[main]\nconninfo = host=nowhere\narchiver = on\n\n[main-two]\nconninfo = host=nowhere\narchiver = on\n"
    )
    return home


def _configs(home: Path) -> list[ServerConfig]:
    return list(load_settings(str(home.parent / "barman.conf"), {}).servers.values())


def _lock_file(home: Path, name: str, *, age: float = 2 * REST_SECONDS) -> Path:
    path = home / name
    path.write_text("1\n")
    os.utime(path, (timestamp() - age, timestamp() - age))
    return path


def test_only_the_lock_of_a_backup_that_is_gone_is_removed(home: Path) -> None:
    gone = _lock_file(home, f".main-{GONE}.lock")
    kept = [
        _lock_file(home, f".main-{KNOWN}.lock"),
        _lock_file(home, ".main-cron.lock"),
        _lock_file(home, ".main-receive-wal.lock"),
        _lock_file(home, ".config-update.lock"),
        _lock_file(home, f".unknown-{GONE}.lock"),
    ]
    assert remove_unused_lock_files(_configs(home)) == [str(gone)]
    assert not gone.exists()
    assert all(path.exists() for path in kept)


def test_a_young_lock_file_stays(home: Path) -> None:
    young = _lock_file(home, f".main-{GONE}.lock", age=60)
    assert remove_unused_lock_files(_configs(home)) == []
    assert young.exists()


def test_a_held_lock_stays_however_old(home: Path) -> None:
    path = home / f".main-{GONE}.lock"
    with FileLock(str(path)):
        os.utime(path, (0, 0))
        assert remove_unused_lock_files(_configs(home)) == []
    assert path.exists()


def test_nothing_is_removed_while_somebody_changes_the_catalog(home: Path) -> None:
    path = _lock_file(home, f".main-{GONE}.lock")
    with FileLock(str(home / ".main-backup.lock")):
        assert remove_unused_lock_files(_configs(home)) == []
    assert path.exists()


def test_a_server_whose_name_begins_like_another_keeps_its_own_locks(home: Path) -> None:
    (home / "main-two" / "meta").mkdir(parents=True)
    (home / "main-two" / "meta" / f"{GONE}-backup.info").write_text("status=DONE\n")
    path = _lock_file(home, f".main-two-{GONE}.lock")
    assert remove_unused_lock_files(_configs(home)) == []
    assert path.exists()
