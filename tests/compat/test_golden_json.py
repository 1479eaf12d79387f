"""Every key of our JSON with its types: recorded in `json_keys.txt`, and never renamed or removed.

New keys are fine; `BARMAN_TEST_RECORD=1 pytest tests/compat/test_golden_json.py` records them. Keys that exporters
read and that the original has dropped are named here, so that no recording forgets them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat import shapes
from tests.compat.comparison import flatten
from tests.support.forked import Program, start_ours

GOLDEN = Path(__file__).with_name("json_keys.txt")

COMMANDS = (
    "list-servers",
    "list-servers --minimal",
    "list-backups all",
    "list-backups all --minimal",
    "show-servers all",
    "status all",
    "check all",
    "recovery-window all",
    "list-processes kept",
    "check-wal-archive empty",
    "check-wal-archive kept",
    "replication-status down",
    "list-files kept latest",
    f"keep kept {shapes.FIRST} --status",
    f"keep kept {shapes.FIRST}",
    *(f"show-backup main {backup_id}" for backup_id in shapes.BACKUPS),
    f"show-backup unfinished {shapes.STARTED}",
    "show-backup main nosuch",
)

READ_BY_CLIENTS = (
    "list-backups /SERVER/*/backup_id str",
    "list-backups /SERVER/*/size_bytes int",
    "list-backups /SERVER/*/wal_size_bytes int",
    "list-backups /SERVER/*/end_time_timestamp str",
    "list-backups /SERVER/*/status str",
    "list-servers /SERVER/description str",
    "status /SERVER/first_backup/message str",
    "status /SERVER/last_backup/message str",
    "show-backup /SERVER/base_backup_information/copy_time_seconds float",
    "show-backup /SERVER/base_backup_information/disk_usage str",
    "show-backup /SERVER/base_backup_information/disk_usage_bytes int",
    "show-backup /SERVER/base_backup_information/incremental_size str",
    "show-backup /SERVER/base_backup_information/end_time_timestamp str",
    "show-backup /SERVER/wal_information/no_of_files int",
    "diagnose /servers/SERVER/status/connection_error str",
    "diagnose /servers/SERVER/config/minimum_redundancy int",
    "diagnose /servers/SERVER/backups/ID/status str",
    "diagnose /servers/SERVER/backups/ID/begin_wal str",
    "diagnose /servers/SERVER/backups/ID/version int",
    "diagnose /global/config/barman_home str",
    "diagnose /global/config/log_file str",
)
"""What the programs of the clients reference read."""

_OF_THIS_HOST = re.compile(r"/pg_(basebackup|receivexlog)_|/system_info/")
_PARTS = (
    (re.compile(r"^\d{8}T\d{6}$"), "ID"),
    (re.compile(r"^[0-9A-F]{8}$"), "TIMELINE"),
    (re.compile(r"^\d+$"), "*"),
    (re.compile(r"^(main|kept|unfinished|torn|legacy|empty|down|broken|passive)$"), "SERVER"),
)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    directory = tmp_path_factory.mktemp("golden")
    (directory / "home").mkdir()
    program = start_ours(shapes.build_home(str(directory / "home")), directory / "ours")
    yield program
    program.close()


def test_no_key_of_our_json_is_renamed_or_removed_or_changes_its_type(ours: Program) -> None:
    found = recorded(ours)
    if os.environ.get("BARMAN_TEST_RECORD"):
        GOLDEN.write_text("".join(f"{line}\n" for line in sorted(found)), encoding="utf-8")
    golden = set(GOLDEN.read_text(encoding="utf-8").splitlines())
    assert len(golden) > 300
    assert sorted(golden - found) == []
    assert sorted(set(READ_BY_CLIENTS) - found) == []


def recorded(ours: Program) -> set[str]:
    """Lines `COMMAND PATH TYPE` of all commands; each prints one document on one line, and nothing else."""
    found = set()
    for command in COMMANDS:
        ran = ours.run("-f", "json", *command.split())
        assert ran.err == "", command
        assert "\n" not in ran.out, command
        found |= lines_of(command, json.loads(ran.out))
    for arguments in (("diagnose",), ("diagnose", "--show-config-source")):
        found |= lines_of(" ".join(arguments), json.loads(ours.run(*arguments).out))
    return found


def lines_of(command: str, document: object) -> set[str]:
    name = " ".join(re.findall(r"^\S+|--\S+", command))
    # What is installed where the tests run decides whether these are texts or null.
    kinds = ((path, "any" if _OF_THIS_HOST.search(path) else type(value).__name__) for path, value in flatten(document))
    return {f"{name} {general(path)} {kind}" for path, kind in kinds}


def general(path: str) -> str:
    """The path with names of servers and backups replaced by what they are."""
    parts = path.split("/")
    for number, part in enumerate(parts):
        for pattern, word in _PARTS:
            if pattern.match(part):
                parts[number] = word
                break
    return "/".join(parts)
