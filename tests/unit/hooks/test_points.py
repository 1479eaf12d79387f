"""Which scripts exist and in which order they run."""

from __future__ import annotations

from pathlib import Path

import pytest

from barman.config.options.hooks import HookOptions
from barman.hooks.points import AFTER, BEFORE, POINTS, option_names, scripts_at
from tests.unit.hooks.support import hooks_with


def test_every_option_belongs_to_a_point_and_every_point_has_its_options() -> None:
    declared = {name for name in vars(HookOptions) if name.endswith("_script")}
    assert {name for point in POINTS for phase in (BEFORE, AFTER) for name in option_names(point, phase)} == declared
    assert len(declared) == 20


def test_the_retry_script_is_the_inner_one() -> None:
    assert option_names("backup", "pre") == ("pre_backup_script", "pre_backup_retry_script")
    assert option_names("wal_delete", "post") == ("post_wal_delete_retry_script", "post_wal_delete_script")


@pytest.mark.parametrize(("point", "seconds"), [("backup", 7), ("recovery", 7), ("archive", 3), ("wal_delete", 3)])
def test_scripts_around_single_wal_files_have_a_limit_of_their_own(tmp_path: Path, point: str, seconds: int) -> None:
    options = {f"post_{point}_script": "true", "hook_script_timeout": "7", "wal_hook_script_timeout": "3"}
    hooks, _ = hooks_with(tmp_path, **options)
    (found,) = scripts_at(hooks.config, point, "post")
    assert (found.option, found.seconds) == (f"post_{point}_script", seconds)
    assert scripts_at(hooks.config, point, "pre") == ()
    assert hooks.present(point)
    assert not hooks.present("delete")
