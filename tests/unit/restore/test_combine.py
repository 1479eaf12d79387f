"""Chains: which mode combines them, where, and what speaks against one."""

from __future__ import annotations

from typing import Any

import pytest

from barman.backup.combining import judge_combiner
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, Tablespace
from barman.postgres.lsn import Lsn
from barman.postgres.programs import Program
from barman.postgres.version import PgVersion
from barman.restore.combine import ChainFacts, Stage, choose_mode, combining, is_of_stage, moving, staged
from barman.restore.facts import BackupFacts, SourceTree
from barman.restore.gather_chain import _find_missing, _judge_links
from barman.restore.layouts import lay_out
from barman.restore.request import RestoreRequest
from barman.restore.step import ChainMember
from barman.restore.target import parse_target
from barman.values import replace

A, B = BackupId("20260101T000000"), BackupId("20260102T000000")
LABEL = "START WAL LOCATION: 0/6000028 (file 000000010000000000000006)\nCHECKPOINT LOCATION: 0/6000080\n"
LABEL += "BACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-11-22 05:10:04 UTC\nLABEL: x\n"
LABEL += "START TIMELINE: 1\nINCREMENTAL FROM LSN: 0/4000028\nINCREMENTAL FROM TLI: 1\n"
FULL = BackupInfo(A, "pg", status="DONE", version=170005, systemid="7", begin_xlog=Lsn(0x4000028))
LEAF = BackupInfo(
    B,
    "pg",
    status="DONE",
    version=170005,
    systemid="7",
    parent_backup_id=A,
    backup_label=LABEL,
    tablespaces=(Tablespace("ts", 17, "/ts"),),
)


def program(number: int) -> Program:
    return Program("/bin/pg_combinebackup", PgVersion(number))


CHAIN = ChainFacts(
    members=(ChainMember(A, "/b/A/data", {}), ChainMember(B, "/b/B/data", {17: "/b/B/17"})),
    program=program(180001),
    devices=frozenset((1,)),
)


@pytest.mark.parametrize(
    ("wanted", "number", "device", "mode", "note"),
    [
        ("copy", 170005, None, "copy", ""),
        ("clone", 170005, None, "clone", ""),
        ("link", 180001, 1, "link", ""),
        ("link", 180001, None, "copy", "would write into the files of the repository"),
        ("link", 170005, 1, "copy", "pg_combinebackup 17.5 cannot, version 18 can"),
        ("link", 180001, 2, "copy", "another file system"),
    ],
)
def test_files_are_linked_only_where_nobody_writes_into_them(
    wanted: str, number: int, device: int | None, mode: str, note: str
) -> None:
    found, why = choose_mode(wanted, replace(CHAIN, program=program(number)), device=device)
    assert found == mode
    assert note in why
    assert bool(why) == bool(note)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"systemid": "8"}, f"backup '{A}' is of another cluster than '{B}'"),
        ({"version": 180000}, "another major version"),
        ({"begin_xlog": Lsn(0x5000028)}, f"'{A}', which is recorded as its parent, begins at 0/5000028"),
    ],
)
def test_a_chain_is_one_of_backups_that_were_built_on_each_other(changes: dict[str, Any], reason: str) -> None:
    found = list(_judge_links((replace(FULL, **changes), LEAF)))
    assert len(found) == bool(reason)
    assert reason in "".join(found)


def test_only_the_program_of_the_same_major_version_will_do() -> None:
    assert judge_combiner(program(170010), LEAF) == ""
    assert "only that of 18.1 was found" in judge_combiner(program(180001), LEAF)
    assert "there is none: install the server package of PostgreSQL 17" in judge_combiner(None, LEAF)


def test_every_incremental_file_needs_a_whole_one_below_it() -> None:
    whole, changed, other = {"base/1/2": 8192}, {"base/1/INCREMENTAL.2": 12}, {"base/1/3": 1}
    assert _find_missing("base/1/2", (whole,)) is None
    assert _find_missing("base/1/2", (changed, whole)) is None
    assert _find_missing("base/1/2", (other, whole)) == 0
    assert _find_missing("base/1/2", (changed, other)) == 1
    assert _find_missing("base/1/2", (changed,)) == 1


def test_a_chain_is_combined_inside_the_destination_or_in_the_stage() -> None:
    data = SourceTree("/b/B/data", {"global/pg_control": 1})
    backup = BackupFacts(LEAF, "/record", False, data, {17: SourceTree("/b/B/17", {"x": 1})}, chain=CHAIN)
    request = RestoreRequest("latest", "/dest")
    layouts = lay_out(request, backup, parse_target(request), [])
    here = staged(backup, layouts, Stage(in_place=True))
    step = combining(here, layouts, Stage(in_place=True), 1)
    assert (step.output, step.tablespaces) == ("/dest/.barman-combine", (("/b/B/17", "/ts/.barman-combine"),))
    assert step.leftovers == ("/dest/.barman-combine", "/ts/.barman-combine", "/dest/.barman-combine-control")
    assert all(is_of_stage(path.rsplit("/", 1)[1]) for path in step.leftovers)
    assert [(tree.source.root, tree.target) for tree in moving(here, layouts).trees] == [
        ("/ts/.barman-combine", "/ts"),
        ("/dest/.barman-combine", "/dest"),
    ]
    stage = Stage(in_place=False, directory="/tmp/s")
    step = combining(staged(backup, layouts, stage), layouts, stage, 1)
    assert (step.output, step.tablespaces) == ("/tmp/s/data", (("/b/B/17", "/tmp/s/17"),))
    assert [member.data for member in step.members] == ["/b/A/data", "/b/B/data"]

    archived = replace(data, root="/b/B/data", archive="/b/B/data/base.tar.gz")
    packed = replace(CHAIN, archived={B: replace(backup, data=archived, chain=None)})
    stage = Stage(in_place=True, directory="/tmp/s")
    step = combining(staged(replace(backup, chain=packed), layouts, stage), layouts, stage, 1)
    assert [member.data for member in step.members] == ["/b/A/data", f"/tmp/s/{B}/data"]
    assert step.tablespaces == ((f"/tmp/s/{B}/17", "/ts/.barman-combine"),)
    assert [tree.target for tree in step.unpacking[0].trees] == [f"/tmp/s/{B}/17", f"/tmp/s/{B}/data"]
    assert step.output == "/dest/.barman-combine"
