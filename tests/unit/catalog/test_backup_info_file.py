"""The format of backup.info: lossless, tolerant of what the original wrote, safe against what it did not."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barman.catalog import backup_info_file
from barman.catalog.backup_info import BackupInfo, BackupStatus, Tablespace
from barman.errors import CatalogError, CorruptRecord
from barman.postgres.lsn import Lsn
from barman.values import replace
from tests.support.catalog_builder import UPSTREAM_RECORD, make_info

ID = "20261122T051004"


def parse(text, **options):
    return backup_info_file.parse(text, ID, "main", **options)


def test_a_record_of_the_original_is_read_field_by_field():
    info = parse(UPSTREAM_RECORD)
    utc = timezone.utc
    assert info.status == BackupStatus.DONE
    assert info.begin_time == datetime(2026, 11, 22, 5, 10, 4, 436093, tzinfo=utc)
    assert info.end_time == datetime(2026, 11, 22, 5, 10, 6, 111111, tzinfo=utc)
    assert (info.begin_wal, info.begin_xlog, info.begin_offset) == ("000000010000000000000004", Lsn(0x4000028), 40)
    assert info.tablespaces == (Tablespace("tsa", 16390, "/var/lib/postgresql/15/tsa"),)
    assert info.included_files == ("/var/lib/postgresql/15/main/postgresql.auto.conf",)
    assert info.copy_stats is not None
    assert info.copy_stats["analysis_time_per_item"] == {"tsa": 0.531296, "pgdata": 0.540956}
    assert info.backup_label is not None
    assert info.backup_label.splitlines()[-1] == "START TIMELINE: 1"
    assert (info.backup_name, info.mode, info.backup_type) == ("mybk", "rsync-concurrent", "rsync")
    assert (info.size, info.version, info.timeline, info.xlog_segment_size) == (24014537, 150018, 1, 16777216)
    assert info.pg_version is not None
    assert info.pg_version.text == "15.18"
    assert (info.children_backup_ids, info.parent_backup_id, info.error, info.encryption) == ((), None, None, None)


def test_a_record_of_the_original_is_written_back_byte_for_byte():
    assert backup_info_file.format(parse(UPSTREAM_RECORD)) == UPSTREAM_RECORD


def test_a_changed_value_changes_its_line_only():
    changed = replace(parse(UPSTREAM_RECORD), status=BackupStatus.FAILED, error="failure copying files (disk full)")
    lines = zip(UPSTREAM_RECORD.splitlines(), backup_info_file.format(changed).splitlines(), strict=True)
    assert [new for old, new in lines if old != new] == ["error=failure copying files (disk full)", "status=FAILED"]


def test_unusual_but_readable_values_are_kept_as_they_were_found():
    text = (
        "begin_time=2026-11-22T05:10:04Z\nend_time=Sun Nov 22 05:10:06 2026\n"
        "included_files=[]\nsize=007\nstatus=DONE\ntablespaces=[]\n"
    )
    written = backup_info_file.format(parse(text)).splitlines()
    assert [line for line in text.splitlines() if line not in written] == []


def test_keys_that_we_do_not_know_and_comments_are_kept():
    text = "# do not delete before the audit\nfuture_key={'a': [1, 2]}\nstatus=DONE\nzz=\n"
    info = parse(text)
    assert dict(info.extra) == {"future_key": "{'a': [1, 2]}", "zz": ""}
    written = backup_info_file.format(replace(info, size=1)).splitlines()
    assert written[0] == "# do not delete before the audit"
    assert {"future_key={'a': [1, 2]}", "zz=", "size=1"} <= set(written)


def test_every_known_key_is_written_sorted_and_the_hidden_ones_only_when_set():
    written = backup_info_file.format(BackupInfo(backup_id=ID, server_name="main"))
    keys = [line.partition("=")[0] for line in written.splitlines()]
    assert keys == sorted(keys)
    known = set(BackupInfo.__match_args__) - {"backup_id", "extra", "comments", "source"}
    assert set(keys) == known - {"backup_name", "snapshots_info"}
    assert "status=EMPTY" in written.splitlines()
    assert "mode=None" in written.splitlines()


def test_an_empty_text_is_a_record_that_has_not_begun():
    info = parse("", mode="postgres")
    assert (info.status, info.server_name, info.mode, info.xlog_segment_size) == ("EMPTY", "main", "postgres", 1 << 24)


def test_none_is_null_for_any_key_and_blanks_around_are_ignored():
    info = parse(" size = 12 \r\n\n  \nbackup_name=None\nserver_name=None\nstatus = DONE")
    assert (info.size, info.backup_name, info.server_name, info.status) == (12, None, "main", "DONE")


def test_the_text_of_an_error_is_squeezed_into_one_line():
    info = make_info(ID, error="failure copying\n  files (no space)\r\n")
    assert "error=failure copying files (no space)\n" in backup_info_file.format(info)


def test_a_line_break_elsewhere_is_refused_rather_than_written():
    with pytest.raises(CatalogError, match="'pgdata' contains a line break"):
        backup_info_file.format(make_info(ID, pgdata="/srv/a\nstatus=DONE"))


# --- damage known from the original


def test_a_label_that_was_represented_twice_is_unwrapped():
    label = "START WAL LOCATION: 0/4000028\nLABEL: it's\n"
    info = parse(f"backup_label={label!r}\n".replace(repr(label), repr(repr(label))))
    assert info.backup_label == label


def test_children_that_were_joined_character_by_character_are_repaired():
    one, two = "20261122T051656", "20261122T051657"
    assert parse(f"children_backup_ids={','.join(one)}\n").children_backup_ids == (one,)
    assert parse(f"children_backup_ids={','.join(f'{one},{two}')}\n").children_backup_ids == (one, two)
    assert parse(f"children_backup_ids={one},{two}\n").children_backup_ids == (one, two)


def test_a_passive_record_survives_a_save_as_it_is():
    text = "backup_label=\"'A\\\\n'\"\nchildren_backup_ids=2,0,2,6,1,1,2,2,T,0,5,1,6,5,6\nstatus=DONE\n"
    written = backup_info_file.format(parse(text)).splitlines()
    assert [line for line in text.splitlines() if line not in written] == []


# --- damage of any kind


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("status=GREAT", "'status'"),
        ("size=many", "'size'"),
        ("size=" + "9" * 5000, "too many digits"),
        ("begin_time=yesterday-ish", "'begin_time'"),
        ("begin_time=" + "1 " * 5000, "'begin_time'"),
        ("begin_xlog=0/XYZ", "'begin_xlog'"),
        ("begin_wal=../../etc/passwd", "not a WAL segment"),
        ("begin_wal=00000001000000000000000g", "not a WAL segment"),
        ("parent_backup_id=../..", "not a backup id"),
        ("children_backup_ids=20261122T051656,x", "not a backup id"),
        ("tablespaces=[('a', '1', '/x')]", "'tablespaces'"),
        ("tablespaces=[('a', 1)]", "'tablespaces'"),
        ("tablespaces={'a': 1}", "'tablespaces'"),
        ("tablespaces=__import__('os').system('true')", "'tablespaces'"),
        ("tablespaces=" + "[" * 50_000, "'tablespaces'"),
        ("tablespaces=[1]", "'tablespaces'"),
        ("included_files=[1]", "'included_files'"),
        ("backup_label=5", "'backup_label'"),
        ("backup_label='a", "'backup_label'"),
        ("backup_label=['a']", "not a string"),
        ("copy_stats=[1]", "'copy_stats'"),
        ("xlog_segment_size=0", "'xlog_segment_size'"),
        ("xlog_segment_size=1000", "'xlog_segment_size'"),
        ("xlog_segment_size=1099511627776", "'xlog_segment_size'"),
        ("timeline=-1", "'timeline'"),
        ("no equals sign", "not of the form key=value"),
        ("\0" * 200, "not of the form key=value"),
    ],
)
def test_damage_is_reported_with_file_and_line(line, part):
    with pytest.raises(CorruptRecord) as caught:
        parse(f"server_name=main\n\n{line}\nmode=postgres\n", path="/b/meta/x-backup.info")
    assert caught.value.message.startswith("/b/meta/x-backup.info line 3: ")
    assert part in caught.value.message
    assert len(caught.value.message) < 400


def test_a_huge_record_is_refused():
    with pytest.raises(CorruptRecord, match="characters"):
        parse("a=b\n" * 3_000_000)


def test_damaged_statistics_do_not_stand_between_a_backup_and_its_restore():
    text = UPSTREAM_RECORD.replace("'total_time': 2.003041", "'total_time': os.abort()")
    info = parse(text)
    assert info.status == "DONE"
    assert backup_info_file.format(info) == text
    assert info.copy_stats is not None
    with pytest.raises(CorruptRecord):
        info.copy_stats["copy_time"]


def test_statistics_behave_like_the_dictionary_that_they_stand_for():
    stats = parse(UPSTREAM_RECORD).copy_stats
    assert stats is not None
    assert len(stats) == 8
    assert repr(stats) == repr(dict(stats))
    assert stats == dict(stats)
    for damage in ("{1: 2}", "{'a': }", "{'a'}"):
        damaged = parse(f"copy_stats={damage}\n").copy_stats
        with pytest.raises(CorruptRecord):
            dict(damaged or {})


@given(st.text(max_size=200))
def test_no_text_does_more_than_raise_corrupt_record(text):
    try:
        parse(text)
    except CorruptRecord:
        pass


@given(st.sampled_from(sorted(backup_info_file._DECODERS)), st.text(max_size=60))
def test_no_value_of_a_known_key_does_more_than_raise_corrupt_record(key, value):
    try:
        info = parse(f"{key}={value}\n")
    except CorruptRecord:
        return
    again = parse(backup_info_file.format(info))
    assert again == replace(info, source=again.source)


# --- round trips

TEXTS = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp", "Zs")), min_size=1, max_size=20).filter(
    lambda text: text != "None"
)
OPTIONAL_TEXT = st.none() | TEXTS
NATURALS = st.none() | st.integers(0, 2**62)
TIMES = st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).flatmap(
    lambda moment: st.integers(-14 * 60, 14 * 60).map(
        lambda minutes: moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    )
)
SEGMENTS = st.none() | st.integers(0, 2**96 - 1).map(lambda number: f"{number:024X}")
LSNS = st.none() | st.integers(0, 2**64 - 1).map(Lsn)
IDS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.strftime("%Y%m%dT%H%M%S"))
ANY_TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)
TABLESPACES = st.lists(st.builds(Tablespace, ANY_TEXT, st.integers(0, 2**32 - 1), ANY_TEXT), max_size=3).map(tuple)
STATS = st.none() | st.dictionaries(
    ANY_TEXT, st.floats(0, 1e6) | st.dictionaries(ANY_TEXT, st.floats(0, 1e6), max_size=3), max_size=3
)
# A label that begins with a quote would be taken for one that was represented twice; none of PostgreSQL's does.
LABELS = st.none() | ANY_TEXT.filter(lambda text: text[:1] not in ("'", '"'))
INFOS = st.builds(
    BackupInfo,
    backup_id=st.just(ID),
    server_name=TEXTS,
    status=st.sampled_from(sorted(BackupStatus.ALL)),
    mode=OPTIONAL_TEXT,
    backup_name=OPTIONAL_TEXT,
    systemid=OPTIONAL_TEXT,
    version=NATURALS,
    pgdata=OPTIONAL_TEXT,
    timeline=NATURALS,
    begin_time=TIMES,
    begin_wal=SEGMENTS,
    begin_xlog=LSNS,
    begin_offset=NATURALS,
    end_time=TIMES,
    end_wal=SEGMENTS,
    end_xlog=LSNS,
    size=NATURALS,
    tablespaces=TABLESPACES,
    parent_backup_id=st.none() | IDS,
    children_backup_ids=st.lists(IDS, max_size=3).map(tuple),
    error=OPTIONAL_TEXT,
    backup_label=LABELS,
    included_files=st.lists(ANY_TEXT, max_size=3).map(tuple),
    copy_stats=STATS,
    snapshots_info=STATS,
    extra=st.dictionaries(TEXTS.filter(lambda k: k[0] != "#" and "=" not in k).map(lambda k: "x_" + k), TEXTS),
)


@settings(max_examples=200)
@given(INFOS)
def test_what_is_written_is_read_back_equal_and_written_again_alike(info):
    text = backup_info_file.format(info)
    again = parse(text)
    assert again == info
    assert backup_info_file.format(again) == text
