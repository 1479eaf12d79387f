"""What a passive node remembers survives damage: what cannot be read is told, and everything is compared again."""

import json
import os

import pytest

from barman.catalog.catalog import Catalog
from barman.errors import SyncError
from barman.report import MemoryReporter
from barman.sync.state import (
    BACKUP,
    CONTACT,
    WALS,
    SyncPosition,
    SyncRecord,
    note_facts,
    note_failure,
    note_success,
    read_position,
    read_primary,
    read_record,
    save_primary,
    write_position,
)
from tests.support.catalog_builder import make_catalog, read, write
from tests.unit.sync.documents import A, B, document, encode, record, segment


@pytest.fixture(name="layout")
def fixture_layout(tmp_path):
    return make_catalog(str(tmp_path)).layout


def test_the_position_is_written_as_the_original_writes_it_and_read_back(layout):
    assert read_position(layout) is None
    write_position(layout, SyncPosition(segment(9), 1234))
    assert read(layout.sync_wals_info) == f"{segment(9)}\t1234"
    assert read_position(layout) == SyncPosition(segment(9), 1234)


@pytest.mark.parametrize("text", [f"{segment(9)}\t1234\n", f"{segment(9)}\t0", "00000002.history\t7"])
def test_a_position_that_the_original_wrote_is_read(layout, text):
    write(layout.sync_wals_info, text)
    name, number = text.split()
    assert read_position(layout) == SyncPosition(name, int(number))


@pytest.mark.parametrize(
    "text",
    ["", "\0" * 200, segment(9), f"{segment(9)} 1234", f"{segment(9)}\t-1", f"{segment(9)}\t1e3", "../x\t12", "\t0",
     f"{segment(9)}\t12\t13", f"{segment(9)}\t{'9' * 60}", "x" * 200000, b"\xff\xfe\t1"],
)  # fmt: skip
def test_a_damaged_position_is_told_and_counts_as_none(layout, text):
    write(layout.sync_wals_info, text)
    reporter = MemoryReporter()
    assert read_position(layout, reporter) is None
    ((level, line),) = reporter.lines
    assert level == "warning"
    assert layout.sync_wals_info in line
    assert len(line) < 600
    write_position(layout, SyncPosition(segment(9), 1))
    assert read_position(layout, reporter) is not None
    assert len(reporter.lines) == 1, "told once: the next copy puts it right"


def test_the_answer_of_the_primary_is_kept_byte_for_byte(layout):
    raw = encode(document(record(A)))
    save_primary(layout, raw)
    with open(layout.primary_info, "rb") as file:
        assert file.read() == raw
    assert list(read_primary(layout, "main").backups) == [A]


def test_a_missing_or_damaged_answer_says_what_to_do(layout):
    with pytest.raises(SyncError, match=r"Cannot open primary.info file for server main: ") as caught:
        read_primary(layout, "main")
    assert "sync-info --primary main" in caught.value.hint
    save_primary(layout, encode(document(record(A)))[:-700])
    with pytest.raises(SyncError, match="sync-info of server main"):
        read_primary(layout, "main")


def test_each_step_is_recorded_by_itself_and_a_success_ends_its_own_failure(layout):
    assert read_record(layout) == SyncRecord()
    note_success(layout, CONTACT, missing_wals=3, missing_wal_bytes=48, missing_backups=1, primary_version="3.19.1")
    note_failure(layout, WALS, "no room " * 1000)
    found = read_record(layout)
    assert found.contact_at is not None
    assert (found.wals_at, found.backup_at, found.missing_wals, found.missing_wal_bytes, found.missing_backups) == (
        None, None, 3, 48, 1,
    )  # fmt: skip
    assert found.error.startswith("no room")
    assert len(found.error) <= 1000
    note_success(layout, BACKUP, backup_id=A)
    assert read_record(layout).error.startswith("no room"), "another step's success says nothing about this one"
    note_success(layout, WALS)
    found = read_record(layout)
    assert (found.error, found.error_at, found.backup_id) == ("", None, A)
    assert found.wals_at is not None
    note_failure(layout, CONTACT, "down")
    after = read_record(layout)
    assert (after.error, after.contact_at, after.missing_wals) == ("down", found.contact_at, 3)


def test_the_newest_failure_is_the_one_that_is_told(layout):
    note_failure(layout, CONTACT, "first")
    note_failure(layout, BACKUP, "second")
    assert read_record(layout).error == "second"


def test_a_position_speaks_for_the_backups_that_it_was_written_for(layout):
    write_position(layout, SyncPosition(segment(9), 1), [A, B])
    note_success(layout, WALS)
    assert read_record(layout).covered == {A, B}
    write_position(layout, SyncPosition(segment(9), 1))
    assert read_record(layout).covered == frozenset()


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"at": "x", "missing_wals": -1}', '{"at": NaN}', "[" * 99999])
def test_a_damaged_record_is_an_unknown_one(layout, text):
    for step in (CONTACT, WALS, BACKUP):
        write(layout.sync_state(step), text)
    assert read_record(layout) == SyncRecord()
    note_success(layout, CONTACT)
    assert read_record(layout).contact_at is not None


def test_facts_of_a_step_that_is_not_over_do_not_make_it_a_success(layout):
    note_facts(layout, CONTACT, full_at=12.5)
    assert (read_record(layout).full_at, read_record(layout).contact_at) == (12.5, None)


def test_our_files_are_none_of_the_catalogs_records(layout):
    for step in (CONTACT, WALS, BACKUP):
        note_success(layout, step)
    assert layout.record_ids(os.listdir(layout.meta_directory)) == []
    assert Catalog(layout).snapshot().backups == {}
    assert json.loads(read(layout.sync_state(CONTACT)))["at"] > 0
