"""Every option of every command with values out of range, empty, and of another type; and every name from outside."""

from __future__ import annotations

import argparse
import contextlib
import io
from importlib import import_module
from pathlib import Path

import pytest

from barman.cli.parser import add_global_options
from barman.cli.table import COMMANDS, Command
from tests.support.offline import Ran
from tests.unit.cli.test_garbage import SEGMENTS, B, Scene

VALUES = ("", "-1", "1.5", "9" * 30, "nonsense", "a\nb", "x" * 2000)
NAMES = ("", "../../etc", "a\nb", "x" * 2000)

ARGUMENTS = {
    "server_name": "main", "backup_id": B, "wal_name": SEGMENTS[0], "begin_wal": SEGMENTS[0], "end_wal": SEGMENTS[1],
    "json_changes": "[]", "model_name": "nosuch", "task": "cron", "tarball": "/nonexistent/file",
}  # fmt: skip
"""What is sound in the place of every argument. Destinations are below the scratch directory."""


def parser_of(command: Command) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"barman {command.name}")
    import_module(f"barman.cli.commands.{command.module}").add_arguments(parser)
    return parser


def positionals(parser: argparse.ArgumentParser, scratch: Path) -> dict[str, str]:
    """A sound value for each argument that must be given."""
    actions = [action for action in parser._actions if not action.option_strings and action.nargs not in ("?", "*")]
    return {action.dest: ARGUMENTS.get(action.dest, str(scratch / "new")) for action in actions}


def judge(ran: Ran, told: str) -> None:
    """One clear message, or none and the work done."""
    assert ran.rc in (0, 1, 2, 3, 4), told
    assert "Traceback" not in ran.said, told
    assert "EXCEPTION" not in ran.said, told
    errors = [line for line in ran.err.splitlines() if "rror: " in line or line.startswith("ERROR")]
    if ran.rc:
        assert len(errors) == 1, told
        assert len(errors[0]) < 6000, told


def refusal(parser: argparse.ArgumentParser, words: list[str]) -> Ran | None:
    """What the parser says against a command line; None when it takes it."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser.parse_args(words)
    except SystemExit as end:
        return Ran(int(end.code or 0), "", said.getvalue())
    return None


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_value_that_makes_no_sense_is_refused_with_one_message(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, parser = Scene(tmp_path), parser_of(command)
    # Some of these are paths.
    below = tmp_path / "some" / "where"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    sound = positionals(parser, tmp_path)
    lines = [
        ([f"{option.option_strings[-1]}={value}", *sound.values()], option)
        for option in parser._actions
        if option.option_strings and option.nargs != 0
        for value in VALUES
    ]
    lines += [([*{**sound, name: value}.values()], None) for name in sound for value in NAMES]
    for words, option in lines:
        told = f"barman {command.name} {' '.join(words)[:200]!r}"
        ran = refusal(parser, words)
        if ran is not None and option is not None:
            assert ran.rc == 2, told
            assert f"argument {'/'.join(option.option_strings)}: " in ran.err, told
        ran = ran or scene.run(command.name, *words)
        judge(ran, f"{told}: exit {ran.rc}\n{ran.said[:2000]}")


def test_a_global_option_with_a_value_that_makes_no_sense_is_refused() -> None:
    parser = argparse.ArgumentParser(prog="barman")
    add_global_options(parser)
    for option in ("--color", "--log-level", "--format"):
        for value in (*VALUES, "sometimes"):
            ran = refusal(parser, [f"{option}={value}"])
            assert ran is not None, (option, value)
            assert ran.rc == 2
            assert ran.err.count("error: ") == 1


def test_of_an_option_that_is_given_twice_the_last_one_counts(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    ran = scene.run("-f", "console", "--format", "json", "show-backup", "main", B)
    assert ran.out.startswith("{")
    twice = ("--target", "wal", "--target", "data")
    once = scene.run("list-files", "main", B, "--target", "data")
    assert scene.run("list-files", "main", B, *twice).out == once.out != scene.run("list-files", "main", B).out


def test_an_argument_that_is_no_text_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for words in (["status", "\udcff"], ["restore", "main", B, "/tmp/\udcff"], ["-c", "\udcff", "status", "main"]):
        ran = scene.run(*words)
        assert ran.rc == 2
        assert "is not text in the encoding of this system" in ran.err
