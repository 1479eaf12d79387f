from __future__ import annotations

from pathlib import Path

import pytest

from barman.config.loader import load_settings
from barman.config.options.hooks import HookOptions
from barman.config.server_config import ServerConfig
from barman.config.unserved import HOOK_POINTS, configured_hooks, hook_warning


def load(tmp_path: Path, *names: str) -> ServerConfig:
    main = tmp_path / "barman.conf"
    lines = "".join(f"{name} = /bin/true\n" for name in names)
    main.write_text(f"[barman]\nbarman_home = {tmp_path}\n[s]\nactive = off\n{lines}")
    return load_settings(str(main), {}).servers["s"]


def test_no_hook_option_is_forgotten(tmp_path: Path) -> None:
    declared = {name for name in vars(HookOptions) if name.endswith("script")}
    assert set(configured_hooks(load(tmp_path, *declared))) == declared
    assert len(declared) == 4 * len(HOOK_POINTS)


def test_a_warning_names_the_scripts_of_the_points_that_are_passed(tmp_path: Path) -> None:
    config = load(tmp_path, "post_backup_script", "pre_archive_retry_script", "pre_recovery_script")
    assert hook_warning(config, ("backup", "archive")) == (
        "hook scripts of server s are not run by this version: post_backup_script, pre_archive_retry_script"
    )


@pytest.mark.parametrize("points", [("delete", "wal_delete"), ()])
def test_without_a_script_nothing_is_said(tmp_path: Path, points: tuple[str, ...]) -> None:
    assert hook_warning(load(tmp_path, "post_backup_script"), points) == ""
