"""What comes from another host is either understood as a whole or refused as a whole, with a reason."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barman.catalog import backup_info_file
from barman.catalog.backup_info import Tablespace
from barman.catalog.wal_file import parse_line
from barman.errors import BarmanError, SyncError
from barman.sync.protocol import SyncInfo, find_document, parse
from tests.unit.sync.documents import CONFIG, RECORD, A, B, document, encode, info, record, segment, wal

GOOD = encode(document(record(A)))


def refusal(raw):
    with pytest.raises(SyncError) as caught:
        parse(raw, "main")
    assert caught.value.message.startswith("sync-info of server main: "), caught.value.message
    assert len(caught.value.message) < 400
    return caught.value.message


def test_what_the_original_sends_is_read_field_by_field():
    found = info(record(A, backup_name="weekly"), wals=[wal(segment(4), 77, compression="gzip", encryption="gpg")])
    backup = found.backups[A]
    assert backup.backup_label == ("START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\nSTART TIMELINE: 1\n")
    assert (str(backup.begin_xlog), backup.begin_wal, backup.version) == ("0/4000028", segment(4), 150018)
    assert backup.begin_time.isoformat() == "2026-11-01T00:00:00.500000+00:00"
    assert backup.tablespaces == (Tablespace("tsa", 16390, "/srv/a 'b'"),)
    assert backup.included_files == ("/etc/postgresql/it's.conf",)
    assert dict(backup.copy_stats) == {"copy_time": 1.5, "total_time": 2.0}
    assert (backup.backup_name, backup.mode, backup.parent_backup_id) == ("weekly", "postgres", None)
    (file,) = found.wals
    assert (file.name, file.size, file.time, file.compression, file.encryption) == (
        segment(4), 77, 1793014400.25, "gzip", "gpg",
    )  # fmt: skip
    assert (found.last_name, found.last_position, found.version, found.resumed) == (segment(4), 0, "3.19.1", None)
    assert found.basebackups_directory == "/srv/barman/main/base"


def test_the_record_that_is_read_can_be_stored_and_read_again():
    backup = info(record(A, children_backup_ids=B)).backups[A]
    again = backup_info_file.parse(backup_info_file.format(backup), A, "main")
    assert again == backup
    assert again.children_backup_ids == (B,)


def test_tablespaces_may_be_called_like_the_columns_of_the_index():
    stats = {"copy_time_per_item": {"name": 0.5, "size": 1.5, "time": 2.5}}
    assert dict(info(record(A, copy_stats=stats)).backups[A].copy_stats) == stats


def test_times_without_a_zone_are_read_as_those_of_this_host():
    backup = info(record(A, begin_time_iso=None, end_time_iso=None)).backups[A]
    assert backup.begin_time.replace(tzinfo=None).isoformat() == "2026-11-01T00:00:00"
    assert backup.end_time.tzinfo is not None


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (f"{A},{B}", (A, B)),
        (",".join(f"{A},{B}"), (A, B)),  # what a passive node of the original makes of it: D10
        ([A, B], (A, B)),
        (B, (B,)),
        ("", ()),
        ([], ()),
        (None, ()),
    ],
)
def test_a_list_of_children_is_read_in_every_form_it_was_ever_sent_in(sent, read):
    assert info(record(A, children_backup_ids=sent or None)).backups[A].children_backup_ids == read


@pytest.mark.parametrize("wrap", [lambda text: text, repr, lambda text: repr(repr(text))])
def test_a_label_is_read_as_text_as_literal_and_as_the_literal_of_a_literal(wrap):
    """The last is what a passive node of the original passes on: D9."""
    text = "START WAL LOCATION: 0/4000028 (file 'x' \"y\")\nLABEL: é\\n\n"
    assert info(record(A, backup_label=wrap(text))).backups[A].backup_label == text


def test_lines_that_a_login_script_printed_around_the_document_are_cut():
    noisy = b"Welcome {user}!\n\xff\xfe last login: today\n" + GOOD + b"\nbye\n"
    assert parse(noisy, "main") == parse(GOOD, "main")
    assert find_document(noisy).startswith(b'{\n    "last_position"')
    # With -f json the original adds an empty object.
    assert parse(GOOD + b"{}", "main") == parse(GOOD, "main")


def test_a_file_that_is_listed_twice_counts_once_and_its_last_line_is_the_valid_one():
    """D12: passive nodes of the original list every file twice."""
    found = info(wals=[wal(segment(4), 1), wal(segment(5), 2), wal(segment(4), 3)])
    assert [(file.name, file.size) for file in found.wals] == [(segment(4), 3), (segment(5), 2)]


def test_what_only_primaries_of_ours_send_is_read():
    extra = {
        "late_wals": [wal(segment(3)), wal("00000002.history", 40)],
        "keep": {A: "standalone", B: "full"},
        "identity": {"systemid": "7454545454545454545", "version": "15"},
        "resumed": True,
    }
    found = info(record(A), **extra)
    assert [file.name for file in found.wals] == [segment(4), segment(5), segment(3), "00000002.history"]
    assert (found.keep, found.systemid, found.pg_version, found.resumed) == (
        {A: "standalone"}, "7454545454545454545", "15", True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [None, 7, "", "relative/base", "/srv/\nbase", "s3://bucket/x", "/" + "x" * 5000, "/srv/\0", ["/srv"], "-e/x"],
)
@pytest.mark.parametrize("name", ["basebackups_directory", "wals_directory", "backup_directory"])
def test_a_directory_that_is_no_path_is_refused_when_it_is_asked_for(name, path):
    found = info(config={**CONFIG, name: path})
    with pytest.raises(SyncError, match=f"tells no usable {name}"):
        getattr(found, name)


BAD_DOCUMENTS = {
    "nothing": (b"", "it is empty"),
    "blanks": (b" \n \n", "it is empty"),
    "a message": (b"bash: barman: command not found\n", "not a document of sync-info"),
    "a list": (b"[1, 2]", "not a document"),
    "a number": (b"42", "not a document"),
    "no keys": (b"{}", "not a document"),
    "another object": (b'{"pg": {"backups": []}}', "'last_position' is missing"),
    "not UTF-8": (b'{"last_position": "\xff\xff"}', "invalid start byte"),
    "NaN": (b'{"last_position": NaN}', "NaN is not a number"),
    "endless digits": (b'{"last_position": ' + b"9" * 5000 + b"}", "not a"),
    "deep": (b'{"last_position": ' + b"[" * 200000 + b"}", "recursion"),
}


@pytest.mark.parametrize(("raw", "reason"), BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS)
def test_what_is_no_document_is_refused_with_the_reason(raw, reason):
    assert reason in refusal(raw)


BAD_VALUES = {
    "position: text": ({"last_position": "12"}, "'last_position' is not a number of bytes"),
    "position: negative": ({"last_position": -1}, "'last_position' is not"),
    "position: true": ({"last_position": True}, "'last_position' is not"),
    "position: huge": ({"last_position": 1 << 70}, "'last_position' is not"),
    "position: fraction": ({"last_position": 1.5}, "'last_position' is not"),
    "name: path": ({"last_name": "../../etc/passwd"}, "'last_name' is not the name of a WAL file"),
    "name: null": ({"last_name": None}, "'last_name' is not"),
    "backups: list": ({"backups": []}, "'backups' is not an object"),
    "backups: path": ({"backups": {"../../x": RECORD}}, "not a backup id"),
    "backups: newline": ({"backups": {f"{A}\n": RECORD}}, "not a backup id"),
    "backups: other digits": ({"backups": {"٢٠٢٦١١٠١T000000": RECORD}}, "not a backup id"),
    "backups: null": ({"backups": {A: None}}, f"backup {A} is not an object"),
    "backups: a WAL file": ({"backups": {A: wal(segment(4))}}, f"backup {A} is not an object"),
    "wals: object": ({"wals": {}}, "'wals' is not a list"),
    "wals: null": ({"wals": [None]}, "not a WAL file"),
    "wals: text": ({"wals": [segment(4)]}, "not a WAL file"),
    "wals: no size": ({"wals": [{"name": segment(4)}]}, "not a WAL file"),
    "config: list": ({"config": []}, "'config' is not an object"),
    "keep: list": ({"keep": []}, "'keep' is not an object"),
    "keep: path": ({"keep": {"../x": "full"}}, "not a kept backup"),
    "keep: word": ({"keep": {A: "full\n"}}, "not a kept backup"),
    "late: object": ({"late_wals": {}}, "'wals' is not a list"),
}


@pytest.mark.parametrize(("changes", "reason"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_document_with_a_wrong_value_is_refused_with_the_reason(changes, reason):
    assert reason in refusal(encode({**document(record(A)), **changes}))


BAD_WALS = {
    "path": {"name": "../../../etc/cron.d/x"},
    "newline": {"name": segment(4) + "\n"},
    "blank": {"name": segment(4) + " x"},
    "number": {"name": 4},
    "negative size": {"size": -1},
    "size as text": {"size": "16777216"},
    "size as fraction": {"size": 1.5},
    "size true": {"size": True},
    "endless time": {"time": 1e400},
    "time as text": {"time": "now"},
    "compression with a line break": {"compression": "gzip\n0000"},
    "compression with a tab": {"compression": "gzip\tgpg"},
    "compression that reads as none": {"compression": "None"},
    "compression as number": {"compression": 7},
    "encryption as list": {"encryption": ["gpg"]},
    "encryption too long": {"encryption": "x" * 100},
}


@pytest.mark.parametrize("changes", BAD_WALS.values(), ids=BAD_WALS)
def test_a_wal_file_that_is_none_refuses_the_document(changes):
    listed = [wal(segment(4)), {**wal(segment(5)), **changes}]
    raw = json.dumps(document(record(A), wals=listed, last_name="")).replace("Infinity", "1e400").encode()
    refusal(raw)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_size_that_is_not_a_number_refuses_the_document(word):
    raw = GOOD.replace(b'"size": 16777216', f'"size": {word}'.encode())
    assert f"{word} is not a number" in refusal(raw)


BAD_RECORDS = {
    "status that is none": {"status": "DONE; rm -rf"},
    "status of a broken backup": {"status": "FAILED"},
    "status of a running backup": {"status": "STARTED"},
    "other id": {"backup_id": B},
    "parent is a path": {"parent_backup_id": "../x"},
    "child is a path": {"children_backup_ids": "../x"},
    "children are numbers": {"children_backup_ids": [7]},
    "tablespace without a number": {"tablespaces": [["a", "../../x", "/srv"]]},
    "tablespace with a negative number": {"tablespaces": [["a", -1, "/srv"]]},
    "tablespace of two": {"tablespaces": [["a", 5]]},
    "tablespaces as text of code": {"tablespaces": "__import__('os').getpid()"},
    "line break in a path": {"pgdata": "/var/lib\nstatus=DONE"},
    "carriage return in a path": {"pgdata": "/var/lib\rstatus=DONE"},
    "zero byte": {"config_file": "/etc/\0x"},
    "segment that is none": {"begin_wal": "../../x"},
    "position that is none": {"begin_xlog": "0/XYZ"},
    "segment size": {"xlog_segment_size": 3},
    "size with many digits": {"size": 10**30},
    "size true": {"size": True},
    "label that is code": {"backup_label": "'a' + 'b'"},
    "time that is none": {"begin_time": "x", "begin_time_iso": None},
    "half a character": {"pgdata": "/srv/\ud800"},
    "time as object": {"end_time_iso": {"a": 1}},
}


@pytest.mark.parametrize("changes", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_backup_with_a_wrong_value_refuses_the_document_and_is_named(changes):
    assert A in refusal(encode({**document(), "backups": {A: {**RECORD, **changes}}}))


def test_keys_that_a_later_release_may_add_do_no_harm():
    later = document({**RECORD, "new_key": {"name": "x"}, "other": [1]}, new_list=[1, 2], new_map={"a": None})
    assert info(record(A)).backups == parse(encode(later), "main").backups


def test_a_document_that_was_cut_off_anywhere_is_refused():
    for length in range(0, len(GOOD) - 1, 97):
        refusal(GOOD[:length])


def test_a_hundred_megabytes_of_garbage_are_refused_at_once():
    refusal(b"\0" * 100_000_000)
    refusal(b"{" * 1000 + b"\n" * 1000)
    refusal(os.urandom(1 << 20))


# Values of any kind, among them those that mean something to the reader.
WORDS = st.sampled_from(["", "None", "..", "\n", "'", A, segment(4), "7", "gzip", "/x", "[", "'x'", "DONE"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "size", "time", "x", A]), inner, max_size=4)
    ),
    max_leaves=8,
)


def judge(raw):
    """Either refused as SyncError, or such that no name, id or path can do harm."""
    try:
        found = parse(raw, "main")
    except SyncError:
        return
    assert isinstance(found, SyncInfo)
    for file in found.wals:
        assert parse_line(file.line()) == file
        assert "/" not in file.name
    for backup_id, backup in found.backups.items():
        again = backup_info_file.parse(backup_info_file.format(backup), backup_id, "main")
        assert again.tablespaces == backup.tablespaces
    for name in ("basebackups_directory", "wals_directory"):
        try:
            assert "\n" not in getattr(found, name)
        except BarmanError:
            pass


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(RECORD)), VALUES, st.sampled_from(["last_name", "last_position", "wals", "keep"]), VALUES)
def test_any_value_anywhere_is_either_refused_or_harmless(key, value, top, other):
    judge(encode({**document(), "backups": {A: {**RECORD, key: value}}}))
    judge(encode({**document(record(A)), top: other}))
    judge(encode(document(record(A), wals=[{**wal(segment(4)), "name": other, "time": value}])))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 60), st.binary(max_size=8))
def test_any_damage_to_the_bytes_is_either_refused_or_harmless(place, cut, put):
    judge(GOOD[:place] + put + GOOD[place + cut :])
