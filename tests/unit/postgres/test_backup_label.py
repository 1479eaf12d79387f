"""`backup_label` and `tablespace_map`, as PostgreSQL writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.errors import BackupError
from barman.postgres.backup_label import (
    TablespaceMapEntry,
    format_backup_label,
    format_tablespace_map,
    parse_backup_label,
    parse_tablespace_map,
)

LABEL = """\
START WAL LOCATION: 0/4000028 (file 000000010000000000000004)
CHECKPOINT LOCATION: 0/4000060
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-22 05:10:22 UTC
LABEL: pg_basebackup base backup
START TIMELINE: 1
"""


def test_every_line_of_a_label_is_read() -> None:
    label = parse_backup_label(LABEL)
    assert str(label.start_lsn) == "0/4000028"
    assert label.start_wal == "000000010000000000000004"
    assert str(label.checkpoint_lsn) == "0/4000060"
    assert (label.method, label.taken_from, label.from_standby) == ("streamed", "primary", False)
    assert label.start_time == "2026-11-22 05:10:22 UTC"
    assert label.label == "pg_basebackup base backup"
    assert label.timeline == 1
    assert label.text == LABEL


def test_a_label_that_was_read_is_written_back_as_it_was() -> None:
    assert format_backup_label(parse_backup_label(LABEL)) == LABEL


def test_the_timeline_of_an_old_label_is_the_one_of_its_segment() -> None:
    old = LABEL.replace("START TIMELINE: 1\n", "").replace("file 00000001", "file 0000000A")
    assert parse_backup_label(old).timeline == 10
    assert format_backup_label(parse_backup_label(old)) == old


def test_an_incremental_label_names_where_its_parent_began() -> None:
    label = parse_backup_label(LABEL + "INCREMENTAL FROM LSN: 0/2000028\nINCREMENTAL FROM TLI: 1\n")
    assert str(label.incremental_from) == "0/2000028"
    assert format_backup_label(label) == LABEL + "INCREMENTAL FROM LSN: 0/2000028\n"


def test_a_label_of_a_standby_says_so() -> None:
    assert parse_backup_label(LABEL.replace("primary", "standby")).from_standby


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (LABEL.replace("START WAL LOCATION", "START OF WAL"), "START WAL LOCATION"),
        (LABEL.replace("(file 0000", "(file "), "START WAL LOCATION"),
        (LABEL.replace("START TIME:", "TIME:"), "START TIME"),
        (LABEL.replace("START TIMELINE: 1", "START TIMELINE: one"), "timeline"),
        (LABEL.replace("LOCATION: 0/4000060", "LOCATION: nowhere"), "position"),
        ("", "START WAL LOCATION"),
    ],
)
def test_a_damaged_label_is_refused_naming_what_is_wrong(broken: str, word: str) -> None:
    with pytest.raises(BackupError, match=word):
        parse_backup_label(broken)


def test_a_tablespace_map_is_read_line_by_line() -> None:
    text = "16384 /srv/one\n16385 /srv/with blank\n"
    assert parse_tablespace_map(text) == (
        TablespaceMapEntry(16384, "/srv/one"),
        TablespaceMapEntry(16385, "/srv/with blank"),
    )
    assert parse_tablespace_map("") == ()


def test_odd_characters_of_a_location_are_escaped_as_postgresql_does() -> None:
    assert format_tablespace_map([TablespaceMapEntry(1, "/a\\b\nc\rd")]) == "1 /a\\\\b\\\nc\\\rd\n"


@given(st.lists(st.builds(TablespaceMapEntry, st.integers(0, 2**32 - 1), st.text(min_size=1))))
def test_any_locations_survive_the_round_trip(entries: list[TablespaceMapEntry]) -> None:
    assert parse_tablespace_map(format_tablespace_map(entries)) == tuple(entries)


@pytest.mark.parametrize("broken", ["x /srv\n", "16384\n", "16384 \n", "16384 /srv", "16384 /srv\\"])
def test_a_damaged_tablespace_map_is_refused(broken: str) -> None:
    with pytest.raises(BackupError, match="tablespace_map"):
        parse_tablespace_map(broken)
