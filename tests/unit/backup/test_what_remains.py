"""Whatever retention and the operator delete: every backup that remains restores, with all WAL that it could before."""

from __future__ import annotations

import os
import pwd
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barman.backup.delete import delete_backup
from barman.backup.expire import apply_retention
from barman.catalog.catalog import Catalog
from barman.errors import BarmanError
from barman.report import MemoryReporter
from tests.support.catalog_builder import add_backup, write
from tests.support.offline import run_here
from tests.unit.backup.support import SEGMENT, SYSTEM_ID, make_server, put, segment, segment_content

LAST = 30
SWITCH = 15
"""Where timeline 2 left timeline 1: in the middle of this segment."""

POLICIES = (
    "REDUNDANCY 0",
    "REDUNDANCY 1",
    "REDUNDANCY 2",
    "RECOVERY WINDOW OF 3 DAYS",
    "RECOVERY WINDOW OF 9 DAYS",
    "",
)
HISTORY = f"1\t{SWITCH * SEGMENT >> 32:X}/{SWITCH * SEGMENT + SEGMENT // 2:X}\tno recovery target specified\n"


@st.composite
def backups(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to six, in the order of their age: full, incremental, failed, waiting, kept; on one timeline or the other."""
    found: list[dict[str, Any]] = []
    begins = sorted(draw(st.lists(st.integers(1, LAST - 3), min_size=1, max_size=6, unique=True)))
    for begin in begins:
        end = begin + draw(st.integers(0, 2))
        second = begin > SWITCH and draw(st.booleans())
        full = [item for item in found if item["parent"] is None and item["status"] == "DONE"]
        parent = draw(st.sampled_from(full))["number"] if full and draw(st.booleans()) else None
        found.append(
            {
                "number": len(found),
                "begin": begin,
                "end": min(end, SWITCH - 1) if begin < SWITCH else end,
                "timeline": 2 if second else 1,
                "status": draw(st.sampled_from(["DONE"] * 4 + ["FAILED", "WAITING_FOR_WALS"])),
                "keep": draw(st.sampled_from([None, None, None, "full", "standalone"])) if parent is None else None,
                "parent": parent,
            }
        )
    return found


def backup_id(number: int) -> str:
    return f"{datetime.now(timezone.utc) - timedelta(days=14 - 2 * number):%Y%m%d}T000000"


class Repository:
    """A real one, and what can be restored from it, told without any of our arithmetic."""

    def __init__(self, home: Path, items: list[dict[str, Any]], missing: set[int], **options: str) -> None:
        self.home = home
        self.server = make_server(str(home), **options)
        self.config_file = home / "barman.conf"
        user = f"[barman]\nbarman_user = {pwd.getpwuid(os.geteuid()).pw_name}\n"
        self.config_file.write_text(self.config_file.read_text().replace("[barman]\n", user))
        self.catalog: Catalog = self.server.catalog
        self.items = {backup_id(item["number"]): item for item in items}
        self.held = {(1, n) for n in range(1, LAST) if n not in missing} | {(2, n) for n in range(SWITCH, LAST + 3)}
        for timeline, number in self.held:
            put(self.catalog, segment(number, timeline), segment_content(number, timeline))
        write(self.catalog.layout.wal_path("00000002.history"), HISTORY)
        for name, item in self.items.items():
            parent = item["parent"]
            add_backup(
                self.catalog, name, begin=item["begin"], end=item["end"], timeline=item["timeline"], tablespaces=(),
                status=item["status"], parent_backup_id=None if parent is None else backup_id(parent),
                xlog_segment_size=SEGMENT, systemid=str(SYSTEM_ID),
            )  # fmt: skip
            if item["keep"]:
                self.catalog.keep.set(name, item["keep"])

    def segments_of(self, item: dict[str, Any]) -> set[tuple[int, int]]:
        return {(item["timeline"], n) for n in range(item["begin"], item["end"] + 1)}

    def reach(self, item: dict[str, Any]) -> set[tuple[int, int]]:
        """What a restore to the end of the backup's own timeline replays: all in a row from its begin on."""
        number, found = item["begin"], set()
        while (item["timeline"], number) in self.held:
            found.add((item["timeline"], number))
            number += 1
        return found

    def good(self) -> list[str]:
        """The full backups that are DONE and have their WAL."""
        return [
            name
            for name, item in self.items.items()
            if item["status"] == "DONE" and item["parent"] is None and self.segments_of(item) <= self.held
        ]

    def assert_all_restore(self, names: list[str]) -> int:
        for name in names:
            item, destination = self.items[name], self.home / "restored"
            only_own = self.catalog.keep.get(name) == "standalone"
            words = ["--target-immediate"] if only_own else ["--target-tli", "current", "--allow-missing-wal"]
            ran = run_here(self.config_file, self.home, "restore", "main", name, str(destination), *words)
            assert ran.rc == 0, ran.said
            delivered = {path.name for path in destination.rglob("0*") if len(path.name) == 24}
            wanted = self.segments_of(item) if only_own else self.reach(item)
            assert {segment(n, timeline) for timeline, n in wanted} <= delivered
            shutil.rmtree(destination)
        return len(names)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    items=backups(),
    policy=st.sampled_from(POLICIES),
    minimum=st.integers(0, 2),
    missing=st.sets(st.integers(1, LAST - 1), max_size=2),
    by_hand=st.lists(st.integers(0, 5), max_size=2),
)
def test_every_backup_that_remains_restores(
    tmp_path_factory: pytest.TempPathFactory,
    items: list[dict[str, Any]],
    policy: str,
    minimum: int,
    missing: set[int],
    by_hand: list[int],
) -> None:
    home = tmp_path_factory.getbasetemp() / "what-remains"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    options = {"retention_policy": policy, "minimum_redundancy": str(minimum)}
    repository = Repository(home, items, missing, **options)
    good = repository.good()
    apply_retention(repository.server, MemoryReporter())
    for number in by_hand:
        try:
            delete_backup(repository.server, backup_id(number), MemoryReporter())
        except BarmanError:
            continue
    remaining = repository.catalog.snapshot().backups
    if not by_hand:
        assert [name for name in good if name in remaining] or not good
    repository.assert_all_restore([name for name in good if name in remaining])
    for name, info in remaining.items():
        assert os.path.isdir(repository.catalog.layout.data_directory(name))
        assert info.parent_backup_id is None or info.parent_backup_id in remaining, "a chain is whole or gone"
        if info.status != "FAILED":
            archived = {segment(n, t) for t, n in repository.segments_of(repository.items[name]) & repository.held}
            assert archived <= set(repository.catalog.wals.list_names())
