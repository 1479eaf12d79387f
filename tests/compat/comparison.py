"""Command lines through both programs, and what is different in what they print.

A difference is a line of text: the command, the format, and a sign with the place: `-` only the original has it, `+`
only ours has it, `~` both have it and it differs. `tests.compat.intended` says which ones are meant.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.forked import Program, Ran

FORMATS = ("console", "json")
_AGE = re.compile(r"less than one second|\d+ (?:day|hour|minute|second)s?(?:, \d+ (?:hour|minute|second)s?)*")
_FAILED = re.compile(r"(: FAILED) \(.*")
_LEVEL = re.compile(r"(WARNING|ERROR|EXCEPTION|DEBUG|usage): ", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One command line in one format."""

    arguments: tuple[str, ...]
    format: str

    def __str__(self) -> str:
        return f"{' '.join(self.arguments)} | {self.format}"

    @property
    def command(self) -> str:
        return self.arguments[0]


def cases(lines: Iterable[str]) -> list[Case]:
    """Every command line in each format; a line that starts with `console:` or `json:` in that one only."""
    found = []
    for line in lines:
        only, colon, rest = line.partition(": ")
        formats = (only,) if colon and only in FORMATS else FORMATS
        words = (rest if colon and only in FORMATS else line).split()
        name = "nagios" if "--nagios" in words else "console"
        found += [Case(tuple(words), name if item == "console" else item) for item in formats]
    return found


def differences(case: Case, original: Program, ours: Program, is_intended: Callable[[str], bool]) -> list[str]:
    """What differs. Who differs unexpectedly is asked again: the clock or the server may have gone on in between."""
    for _ in range(3):
        found = [f"{case} | {item}" for item in _compare(case, _run(case, original), _run(case, ours))]
        if all(map(is_intended, found)):
            break
    return found


def _run(case: Case, program: Program) -> Ran:
    return program.run(*(("-f", "json") if case.format == "json" else ()), *case.arguments)


def _compare(case: Case, theirs: Ran, ours: Ran) -> Iterator[str]:
    if theirs.code != ours.code:
        yield f"~ exit {theirs.code} {ours.code}"
    if "Traceback" in ours.said:
        yield "+ Traceback"
    if case.format == "json" and theirs.code != 2:
        yield from _compare_json(case, theirs, ours)
        return
    if case.command == "diagnose" and theirs.out.startswith("{"):
        yield from _compare_values(json.loads(theirs.out), json.loads(ours.out))
    elif case.command.startswith("show-server"):
        yield from _compare_values(_keys_and_values(theirs.out), _keys_and_values(ours.out))
    else:
        yield from _compare_lines(_lines(case, theirs.out), _lines(case, ours.out))
    yield from _compare_lines(_LEVEL.findall(theirs.err), _LEVEL.findall(ours.err), "stderr ")


def _compare_json(case: Case, theirs: Ran, ours: Ran) -> Iterator[str]:
    try:
        document = json.loads(ours.out)
    except ValueError:
        yield f"+ not one document: {ours.said[:200]}"
        return
    if ours.err:
        yield f"+ stderr {ours.err.splitlines()[0]}"
    try:
        expected = json.loads(theirs.out)
    except ValueError:
        yield f"- not one document: {theirs.said[-200:]}"
        return
    if case.command == "diagnose":
        # The original's document is one text in its JSON.
        yield from _compare_values(json.loads(expected.pop("_INFO")[0]), json.loads(document.pop("_INFO")[0]))
    if case.command == "list-files":
        yield from _compare_lines(sorted(expected.pop("_INFO", [])), sorted(document.pop("_INFO", [])))
    yield from _compare_values(expected, document)


def _compare_values(theirs: Any, ours: Any) -> Iterator[str]:
    left, right = dict(flatten(theirs)), dict(flatten(ours))
    for path in sorted(left.keys() | right.keys()):
        if path not in right:
            yield f"- {path} = {left[path]!r}"
        elif path not in left:
            yield f"+ {path} = {right[path]!r}"
        elif not _same(path, left[path], right[path]):
            yield f"~ {path} = {left[path]!r} / {right[path]!r}"


def _same(path: str, left: Any, right: Any) -> bool:
    if path.endswith("_per_second"):
        return True  # a rate changes with every look
    if type(left) is not type(right):
        return False
    if isinstance(left, str) and "age" in path.lower():
        return _AGE.sub("AGE", left) == _AGE.sub("AGE", right)
    return bool(left == right)


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a document under its path; an empty container is a leaf."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    empty = True
    for key, item in items:
        empty = False
        yield from flatten(item, f"{path}/{key}")
    if empty:
        yield path, value


def _compare_lines(theirs: list[str], ours: list[str], place: str = "") -> Iterator[str]:
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, theirs, ours, autojunk=False).get_opcodes():
        if tag != "equal":
            yield from (f"- {place}{line}" for line in theirs[i1:i2])
            yield from (f"+ {place}{line}" for line in ours[j1:j2])


def _lines(case: Case, text: str) -> list[str]:
    lines = [_AGE.sub("AGE", line) if "age" in line else line for line in text.splitlines()]
    if case.command == "check":
        # Hints are compared in JSON.
        lines = [_FAILED.sub(r"\1", line) for line in lines]
    if case.format == "nagios":
        lines = [line.replace("WAL archive, ", "").replace(", backup catalog", "") for line in lines]
    # Each program walks a directory in its own order.
    return sorted(lines) if case.command == "list-files" else lines


def _keys_and_values(text: str) -> dict[str, dict[str, str]]:
    """`TAB key: value` below the line of a server."""
    found: dict[str, dict[str, str]] = {}
    server = ""
    for line in text.splitlines():
        if line.startswith("\t"):
            key, _, value = line[1:].partition(":")
            found[server][key] = value
        else:
            server = line
            found[server] = {}
    return found
