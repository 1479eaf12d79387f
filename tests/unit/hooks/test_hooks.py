"""The scripts of a point: their order, retries, exit codes, and what the operator hears."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from barman import __version__
from barman.errors import HookAborted
from barman.hooks.hooks import Pauses
from tests.support.listener import Listener
from tests.unit.hooks.support import QUICK, hooks_with


def counting(path: Path, *codes: int) -> str:
    """A script that ends with one code after the other, and then with 0; it counts its calls."""
    cases = " ".join(f"{number}) exit {code};;" for number, code in enumerate(codes, 1))
    return f"echo >>{path}; case $(wc -l <{path}) in {cases} esac"


def count(path: Path) -> int:
    return path.read_text().count("\n")


def test_scripts_run_mirrored_around_the_operation_and_are_told_which_they_are(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "listener")
    hooks, reporter = hooks_with(tmp_path, **listener.options())
    os.environ["BARMAN_SEGMENT"] = "of another hook, which started this command"
    try:
        hooks.before("backup", {"BARMAN_BACKUP_ID": "x"})
        hooks.after("backup", {"BARMAN_BACKUP_ID": "x", "BARMAN_ERROR": "password=geheim"})
    finally:
        del os.environ["BARMAN_SEGMENT"]
    calls = listener.calls()
    assert [(call["PHASE"], call["HOOK"], call["RETRY"], call["ERROR"]) for call in calls] == [
        ("pre", "backup_script", "0", ""),
        ("pre", "backup_retry_script", "1", ""),
        ("post", "backup_retry_script", "1", "password=*REDACTED*"),
        ("post", "backup_script", "0", "password=*REDACTED*"),
    ]
    assert calls[0] == {
        "BACKUP_ID": "x",
        "CONFIGURATION": str(tmp_path / "barman.conf"),
        "ERROR": "",
        "HOOK": "backup_script",
        "PHASE": "pre",
        "RETRY": "0",
        "SERVER": "main",
        "VERSION": __version__,
    }
    assert reporter.lines == []


def test_a_value_that_no_environment_can_hold_does_not_keep_a_script_from_running(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "listener")
    hooks, _ = hooks_with(tmp_path, **listener.options("post_backup_script"))
    hooks.after("backup", {"BARMAN_ERROR": "a\0b" + "x" * 300_000, "BARMAN_BACKUP_DIR": os.fsdecode(b"/\xff")})
    (call,) = listener.calls()
    assert call["ERROR"].startswith("abxxx")
    assert call["BACKUP_DIR"] == os.fsdecode(b"/\xff")


def test_path_prefix_counts_for_scripts(tmp_path: Path) -> None:
    (tmp_path / "hook-of-mine").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "hook-of-mine").chmod(0o755)
    hooks, reporter = hooks_with(tmp_path, pre_backup_script="hook-of-mine", path_prefix=str(tmp_path))
    hooks.before("backup", {})
    assert (tmp_path / "ran").exists()
    assert reporter.lines == []


@pytest.mark.parametrize("code", [1, 62, 63, 127])
def test_a_plain_script_changes_nothing_but_is_told_of_once(tmp_path: Path, code: int) -> None:
    hooks, reporter = hooks_with(tmp_path, pre_backup_script=f"exit {code}", post_backup_script=f"exit {code}")
    hooks.before("backup", {})
    hooks.before("backup", {})
    hooks.after("backup", {})
    assert reporter.lines == [
        ("warning", f"hook script pre_backup_script of server main failed: status {code} (exit {code})"),
        ("warning", f"hook script post_backup_script of server main failed: status {code} (exit {code})"),
    ]
    assert not reporter.failed


@pytest.mark.parametrize("phase", ["pre", "post"])
def test_a_retry_script_is_repeated_until_it_succeeds(tmp_path: Path, phase: str) -> None:
    command = counting(tmp_path / "calls", 1, 2, 127, 255)
    hooks, reporter = hooks_with(tmp_path, **{f"{phase}_backup_retry_script": command})
    (hooks.before if phase == "pre" else hooks.after)("backup", {})
    assert count(tmp_path / "calls") == 5
    assert len(reporter.texts("warning")) == 1
    assert "failed and is tried again: status 1" in reporter.texts("warning")[0]


@pytest.mark.parametrize("phase", ["pre", "post"])
def test_62_ends_the_attempts_and_the_operation_goes_on(tmp_path: Path, phase: str) -> None:
    hooks, reporter = hooks_with(tmp_path, **{f"{phase}_backup_retry_script": counting(tmp_path / "calls", 1, 62)})
    (hooks.before if phase == "pre" else hooks.after)("backup", {})
    assert count(tmp_path / "calls") == 2
    assert not reporter.failed


def test_63_before_forbids_the_operation_and_63_after_is_ignored(tmp_path: Path) -> None:
    options = {"pre_backup_retry_script": "exit 63", "post_backup_retry_script": "exit 63"}
    listener = Listener(tmp_path / "listener")
    hooks, reporter = hooks_with(tmp_path, **options, **listener.options("post_backup_script"))
    with pytest.raises(HookAborted) as raised:
        hooks.before("backup", {})
    assert raised.value.message == "Abort 'pre_backup_retry_script' retry hook script (exit 63, exit code: 63)"
    assert reporter.lines == []
    hooks.after("backup", {})
    assert listener.heard() == ["post_backup_script"]
    assert "forbids what has happened already, which is ignored" in reporter.texts("warning")[0]


def test_a_retry_script_before_that_never_succeeds_forbids_when_its_time_is_over(tmp_path: Path) -> None:
    hooks, _ = hooks_with(tmp_path, pre_backup_retry_script="exit 1", hook_script_timeout="1")
    with pytest.raises(HookAborted, match=r"\(exit 1, not done within 1 seconds\)"):
        hooks.before("backup", {})


def test_a_retry_script_before_that_hangs_forbids_when_its_time_is_over(tmp_path: Path) -> None:
    hooks, _ = hooks_with(tmp_path, pre_archive_retry_script="sleep 600", wal_hook_script_timeout="1")
    with pytest.raises(HookAborted, match="not done within 1 seconds"):
        hooks.before("archive", {})


def test_a_retry_script_after_that_hangs_is_killed_and_tried_again(tmp_path: Path) -> None:
    command = f"echo >>{tmp_path}/calls; test $(wc -l <{tmp_path}/calls) = 2 || sleep 600"
    hooks, reporter = hooks_with(tmp_path, post_backup_retry_script=command, hook_script_timeout="1")
    hooks.after("backup", {})
    assert count(tmp_path / "calls") == 2
    assert "failed and is tried again: not done within 1 seconds, and killed" in reporter.texts("warning")[0]


def test_a_plain_script_that_hangs_is_killed_and_the_operation_goes_on(tmp_path: Path) -> None:
    hooks, reporter = hooks_with(tmp_path, pre_backup_script="sleep 600", hook_script_timeout="1")
    hooks.before("backup", {})
    assert "failed: not done within 1 seconds, and killed (sleep 600)" in reporter.texts("warning")[0]


def test_without_a_limit_a_script_has_all_the_time_that_it_needs(tmp_path: Path) -> None:
    command = counting(tmp_path / "calls", 1, 1)
    hooks, reporter = hooks_with(tmp_path, pre_backup_retry_script=command, hook_script_timeout="0")
    hooks.before("backup", {})
    assert count(tmp_path / "calls") == 3


def test_every_sixth_failure_is_followed_by_a_long_pause() -> None:
    pauses = [Pauses().after(failures) for failures in range(1, 14)]
    assert pauses == [3, 3, 3, 3, 3, 60, 3, 3, 3, 3, 3, 60, 3]


def test_the_pauses_are_made(tmp_path: Path) -> None:
    began = time.monotonic()
    hooks, _ = hooks_with(
        tmp_path, Pauses(short=0.1, long=0.4, every=2), post_backup_retry_script=counting(tmp_path / "calls", 1, 1)
    )
    hooks.after("backup", {})
    assert time.monotonic() - began >= 0.5
    assert QUICK.after(3) > QUICK.after(2)
