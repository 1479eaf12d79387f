"""Who asks for WAL: a server in archive recovery must never be promoted by a failure of ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from barman.clients.recovery import ARCHIVE_RECOVERY, NO_RECOVERY, STANDBY, Asker
from barman.clients.wal_restore import run


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data" / "pg_wal").mkdir(parents=True)
    (tmp_path / "data" / "global").mkdir()
    (tmp_path / "data" / "global" / "pg_control").write_bytes((77).to_bytes(8, sys.byteorder) + b"rest")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("files", "mode"),
    [
        ({}, NO_RECOVERY),
        ({"recovery.signal": ""}, ARCHIVE_RECOVERY),
        ({"standby.signal": ""}, STANDBY),
        ({"recovery.signal": "", "standby.signal": ""}, STANDBY),
        ({"recovery.conf": "restore_command = 'x'"}, ARCHIVE_RECOVERY),
        ({"recovery.conf": "standby_mode = 'on' # yes\n"}, STANDBY),
        ({"recovery.conf": "standby_mode = off\n"}, ARCHIVE_RECOVERY),
    ],
)
def test_the_mode_is_told_by_the_files_of_the_data_directory(
    data: Path, files: dict[str, str], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (data / name).write_text(text)
    assert Asker(str(data / "pg_wal" / "RECOVERYXLOG")).mode == mode
    monkeypatch.chdir(data)
    assert Asker("pg_wal/RECOVERYXLOG").mode == mode
    assert Asker("/tmp/elsewhere").mode == mode
    assert Asker().system_id() == 77


def test_only_archive_recovery_gets_codes_that_stop_the_server(data: Path) -> None:
    assert Asker().exit_code(2) == 2
    (data / "recovery.signal").touch()
    asker = Asker(str(data / "pg_wal" / "x"))
    assert all(125 < asker.exit_code(code) < 256 for code in range(1, 256))
    (data / "standby.signal").touch()
    assert Asker(str(data / "pg_wal" / "x")).exit_code(2) == 1


def test_wrong_usage_does_not_promote_either(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "recovery.signal").touch()
    monkeypatch.chdir(data)
    for arguments in ([], ["--no-such-option"], ["-s", "x", "h", "s", "n", "d"], ["-oX", "s", "n", "d"]):
        assert run(arguments) > 125
    assert "usage" in capsys.readouterr().err
