"""What the documentation points to exists, and the commands it shows can be typed."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from barman.check.checks import ALL_CHECKS
from barman.cli import gateway
from barman.cli.parser import global_parser, parse
from barman.cli.table import COMMANDS
from barman.clients import wal_archive, wal_restore

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
# Generated from the parsers themselves; usage lines are not commands.
GENERATED = {"commands.md", "configuration.md"}

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
PATH = re.compile(r"`((?:docs|scripts|tests|barman)/[\w./-]+)`")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(barman [^`]+)`")
OPTION = re.compile(r"`(--[a-z][a-z-]+)(?:[ =][^`]*)?`")

NAMES = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}


def shown(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_everything_a_page_points_to_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [page.parent / target for target in LINK.findall(text) if "://" not in target]
    paths = [ROOT / target for target in PATH.findall(text)]
    assert [str(path) for path in (*links, *paths) if not path.exists()] == []


def command_lines(text: str) -> Iterator[str]:
    """Every command line: in shell blocks, in crontabs, and between backquotes."""
    for language, block in FENCE.findall(text):
        if language == "sh":
            yield from (line for line in block.splitlines() if re.search(r"(?:^|\s|/)barman -?\w", line))
        elif language == "text":
            yield from (
                line for line in block.splitlines() if re.match(r"[\d*]+ [\d* ]+ +barman  /usr/local/bin/barman ", line)
            )
    yield from INLINE.findall(FENCE.sub("", text))


def arguments_of(line: str) -> list[str]:
    """The words after the program's name, up to a pipe or redirection; none when the line runs another program."""
    words = shlex.split(line.removeprefix("$ "), comments=True)
    for index, word in enumerate(words):
        following = [name.rpartition("/")[2] for name in words[index + 1 : index + 2]]
        # The user `barman` stands before `--` or before the program, or after an option.
        if word.rpartition("/")[2] != "barman" or following in ([], ["--"], ["barman"]):
            continue
        if index and words[index - 1] in ("-o", "-u", "-m"):
            continue
        found = words[index + 1 :]
        return found[: next((i for i, text in enumerate(found) if text in ("|", ">", "&&", ";")), len(found))]
    return []


class Refused(Exception):
    """A parser does not take the arguments."""


def typed(words: list[str]) -> None:
    """Parse as the program does. Raises Refused."""
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message), contextlib.redirect_stdout(io.StringIO()):
            parse(words)
    except SystemExit as end:
        if end.code:
            raise Refused(message.getvalue().strip().rpartition("\n")[2]) from end


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in GENERATED], ids=shown)
def test_every_command_that_a_page_shows_can_be_typed(page: Path) -> None:
    refused = []
    for line in command_lines(page.read_text(encoding="utf-8")):
        words = arguments_of(line)
        if not words or (words[0] in NAMES and len(words) == 1):
            continue  # a command mentioned by its name
        try:
            typed(words)
        except Refused as error:
            refused.append(f"{line}: {error}")
    assert refused == []


def options() -> set[str]:
    """Every option of the program, and those of other programs that the pages speak of."""
    parsers = [global_parser(), *(program.argument_parser() for program in (wal_archive, wal_restore, gateway))]
    for command in COMMANDS:
        parsers.append(argparse.ArgumentParser(add_help=False))
        import_module(f"barman.cli.commands.{command.module}").add_arguments(parsers[-1])
    ours = {text for parser in parsers for action in parser._actions for text in action.option_strings}
    return ours | {"--no-sync", "--synchronous", "--keep", "--check", "--no-deps"}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in GENERATED], ids=shown)
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    assert set(OPTION.findall(prose)) - options() == set()


def test_a_wrong_command_is_noticed() -> None:
    for line in ("barman recover --no-such-option pg latest /x", "barman nonsense pg", "barman keep pg"):
        with pytest.raises(Refused):
            typed(arguments_of(line))


def test_every_line_of_check_is_explained() -> None:
    page = (ROOT / "docs/reference/checks.md").read_text(encoding="utf-8")
    assert [item.name for item in ALL_CHECKS if f"`{item.name}`" not in page] == []
