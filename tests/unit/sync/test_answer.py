"""What a primary answers: whole, in order, resumed exactly, and without what nobody needs to know."""

import json
import os
from itertools import accumulate

import pytest

from barman.catalog.wal_file import WalFile
from barman.errors import SyncError
from barman.sync import answer as answer_module
from barman.sync.answer import answer
from barman.sync.protocol import parse
from tests.support.catalog_builder import add_backup, add_chain, write
from tests.unit.sync.documents import A, B, C, make_home, open_server, segment


@pytest.fixture(name="home")
def fixture_home(tmp_path):
    home = make_home(tmp_path / "home")
    add_backup(home.catalog, A, begin=4)
    add_backup(home.catalog, B, begin=6, status="WAITING_FOR_WALS")
    add_backup(home.catalog, C, begin=7, status="FAILED")
    return home


def listed(home, *names, size=16):
    """Write an index of these files; return the offsets of its lines."""
    lines = [WalFile(name, size, 1700000000.5).line() for name in names]
    write(home.catalog.layout.xlogdb, b"".join(lines))
    return list(accumulate(map(len, lines), initial=0))[:-1]


def ask(home, *question):
    with open_server(home) as server:
        return json.loads("".join(answer(server, *question)))


def names(document, key="wals"):
    return [item["name"] for item in document.get(key, [])]


def test_the_document_is_indented_and_ends_without_a_line_end(home):
    listed(home, segment(4), segment(5))
    with open_server(home) as server:
        text = "".join(answer(server))
    found = json.loads(text)
    assert text == json.dumps(found, indent=4)
    assert list(found)[:6] == ["last_position", "last_name", "backups", "wals", "version", "config"]
    assert list(found["backups"]) == [A, B]
    assert list(found["config"])[-1] == "name"


def test_an_archive_without_files_is_answered_too(home):
    found = ask(home)
    assert (found["last_position"], found["last_name"], found["wals"]) == (0, "", [])
    assert names(ask(home, segment(9), 0)) == []


def test_a_server_without_a_single_directory_has_nothing(tmp_path):
    home = make_home(tmp_path / "bare")
    os.rmdir(home.catalog.layout.wals_directory)
    found = ask(home)
    assert (found["backups"], found["wals"], found["last_position"]) == ({}, [], 0)


def test_what_is_sent_is_what_is_read(home):
    add_chain(home.catalog, "20261104T000000", "20261105T000000", begin=9)
    home.catalog.keep.set(A, "standalone")
    listed(home, segment(4), "00000002.history", segment(5), f"{segment(5)}.00000028.backup", segment(6, 2))
    with open_server(home) as server:
        found = parse("".join(answer(server)).encode(), "main")
        there = {info.backup_id: info for info in server.catalog.snapshot().copy_done}
    assert found.backups == there
    assert found.wals == tuple(home.catalog.xlogdb.scan())
    assert found.keep == {A: "standalone"}
    assert found.wals_directory == home.catalog.layout.wals_directory


def test_without_a_last_file_all_from_the_oldest_backup_on_is_listed(home):
    offsets = listed(home, *(segment(number) for number in range(2, 9)))
    found = ask(home)
    assert names(found) == [segment(number) for number in range(4, 9)]
    assert (found["last_name"], found["last_position"], found["resumed"]) == (segment(8), offsets[-1], None)


def test_what_backups_need_beside_that_comes_under_a_key_of_its_own(home):
    """After pg_upgrade names begin anew; a history of the oldest backup's timeline has a lower name than its WAL."""
    add_backup(home.catalog, "20261020T000000", begin=100, timeline=2)
    listed(home, segment(3), segment(4), "00000002.history", segment(99, 2), segment(100, 2), segment(5))
    found = ask(home)
    assert names(found) == [segment(100, 2)]
    assert names(found, "late_wals") == [segment(4), "00000002.history", segment(99, 2), segment(5)]


def test_a_position_is_resumed_and_only_the_end_is_read(home):
    offsets = listed(home, *(segment(number) for number in range(4, 9)))
    found = ask(home, segment(6), offsets[2])
    assert (names(found), found["resumed"]) == ([segment(7), segment(8)], True)
    assert names(ask(home, segment(8), offsets[-1])) == []
    # Not one byte before the position matters.
    write(home.catalog.layout.xlogdb, b"x" * offsets[2] + read_tail(home, offsets[2]))
    assert names(ask(home, segment(8), offsets[-1])) == []


def read_tail(home, offset):
    with open(home.catalog.layout.xlogdb, "rb") as file:
        file.seek(offset)
        return file.read()


def test_names_that_sort_before_the_last_one_are_told_when_they_come_late(home):
    """P3: the original skips them, and its answer has no place for them."""
    offsets = listed(home, segment(4), segment(9, 2), segment(5), "00000002.history", segment(10, 2))
    found = ask(home, segment(9, 2), offsets[1])
    assert (names(found), found["resumed"]) == ([segment(10, 2)], True)
    assert names(found, "late_wals") == [segment(5), "00000002.history"]


@pytest.mark.parametrize("last", ["00000002.history", f"{segment(7)}.partial", f"{segment(7)}.00000028.backup"])
def test_a_last_line_that_is_no_segment_is_found_again(home, last):
    """D13: the original compares 24 characters."""
    offsets = listed(home, segment(4), segment(7), last)
    assert ask(home)["last_name"] == last
    found = ask(home, last, offsets[-1])
    assert (names(found), found["resumed"]) == ([], True)


def test_the_only_line_is_found_again_whatever_position_stands_for_it(home):
    """D11: the original tells position 0, and refuses to be asked for it ever after."""
    listed(home, segment(4))
    assert ask(home)["last_position"] == 1
    for position in (0, 1):
        found = ask(home, segment(4), position)
        assert (names(found), found["resumed"]) == ([], True)


@pytest.mark.parametrize("position", [None, 3, 45, 10**15])
def test_a_position_that_does_not_fit_means_all_names_behind_the_last_one(home, position):
    listed(home, *(segment(number) for number in range(4, 9)))
    found = ask(home, segment(6), position)
    assert (names(found), found["resumed"]) == ([segment(7), segment(8)], False)
    assert "late_wals" not in found


def test_a_position_inside_of_a_line_is_none(home):
    """The index may have been written anew since, by whatever program."""
    listed(home, *(segment(number) for number in (6, 4, 5, 6, 7)))
    write(home.catalog.layout.xlogdb, b"zzz" + read_tail(home, 0))
    found = ask(home, segment(6), 3)
    assert (names(found), found["resumed"]) == ([segment(7)], False)


def test_a_name_outside_of_the_archive_is_refused(home):
    listed(home, *(segment(number) for number in range(4, 9)))
    older, newer = "is older than the first available wal", "is newer than the last available wal"
    for name, text in ((segment(3), older), (segment(9), newer), ("00000001.history", older)):
        with pytest.raises(SyncError, match=f"last_wal '{name}' {text} '"):
            ask(home, name, 44)


def test_an_index_that_is_not_sorted_still_knows_its_names(home):
    listed(home, segment(6), segment(4), segment(9), segment(7))
    assert names(ask(home, segment(4))) == [segment(6), segment(9), segment(7)]
    assert names(ask(home, segment(9))) == []


@pytest.mark.parametrize("name", ["", "foo", "../../etc/passwd", segment(4) + "x", "0" * 5000])
def test_what_is_not_the_name_of_a_file_is_refused(home, name):
    listed(home, segment(4))
    with pytest.raises(SyncError, match="is not the name of a WAL file") as caught:
        ask(home, name)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("end", ["", "\n", "garbage\n", "\n\ngarbage\n\n", "\0" * 3000000, segment(9) + "\t16\t17"])
def test_lines_that_are_none_and_a_torn_last_line_are_left_out(home, end):
    offsets = listed(home, segment(4), segment(5))
    with open(home.catalog.layout.xlogdb, "a") as file:
        file.write(end)
    found = ask(home)
    assert (found["last_name"], found["last_position"]) == (segment(5), offsets[-1])
    assert names(found) == [segment(4), segment(5)]
    assert names(ask(home, segment(5), offsets[-1])) == []


def test_lines_of_older_releases_and_odd_numbers_are_valid_json(home):
    lines = f"{segment(4)} 16 1700000000\n{segment(5)}\t007\t1e9\tgzip\n{segment(6)}\t16\t.5\tNone\tgpg\n"
    write(home.catalog.layout.xlogdb, lines)
    assert ask(home)["wals"] == [
        {"compression": None, "encryption": None, "name": segment(4), "size": 16, "time": 1700000000.0},
        {"compression": "gzip", "encryption": None, "name": segment(5), "size": 7, "time": 1e9},
        {"compression": None, "encryption": "gpg", "name": segment(6), "size": 16, "time": 0.5},
    ]


def test_a_lost_index_is_built_anew_first(home):
    for number in (4, 5):
        path = home.catalog.layout.wal_path(segment(number))
        write(path, b"")
        os.truncate(path, 16 << 20)
    assert names(ask(home)) == [segment(4), segment(5)]


def test_many_files_are_answered_in_many_pieces(home):
    """Memory does not depend on the length of the index: nothing is collected."""
    all_names = [segment(number) for number in range(4, 30004)]
    offsets = listed(home, *all_names)
    with open_server(home) as server:
        pieces = list(answer(server))
    assert max(map(len, pieces)) < 8 * answer_module._CHUNK
    assert names(json.loads("".join(pieces))) == all_names
    assert names(ask(home, all_names[-3], offsets[-3])) == all_names[-2:]


def test_an_index_that_is_rewritten_meanwhile_ends_the_answer(home):
    """The original rewrites in place: half of the old text and half of the new would pass for an answer."""
    listed(home, *(segment(number) for number in range(4, 30004)))
    with open_server(home) as server:
        pieces = answer(server)
        next(pieces)
        with open(home.catalog.layout.xlogdb, "r+b") as file:
            file.truncate(60000)
        with pytest.raises(SyncError, match="was rewritten while it was read"):
            list(pieces)


def test_what_is_appended_or_replaced_meanwhile_changes_nothing(home):
    listed(home, *(segment(number) for number in range(4, 30004)))
    with open_server(home) as server:
        pieces = answer(server)
        first = next(pieces)
        home.catalog.xlogdb.append([WalFile(segment(40000), 16, 1.0)])
        home.catalog.xlogdb.remove([segment(4)])
        found = json.loads(first + "".join(pieces))
    assert (len(found["wals"]), found["last_name"]) == (30000, segment(30003))


def test_no_password_leaves_the_node(tmp_path):
    home = make_home(
        tmp_path / "home",
        conninfo="host=/nonexistent password=sekrit1",
        primary_conninfo="postgres://barman:sekrit2@host/db",
        pre_backup_script="notify --password=sekrit3",
    )
    add_backup(home.catalog, A)
    with open_server(home) as server:
        text = "".join(answer(server))
    assert "sekrit" not in text
    assert "*REDACTED*" in text
    assert json.loads(text)["config"]["backup_method"] == "postgres"


def test_a_record_that_cannot_be_read_hides_no_other(home):
    write(home.catalog.layout.backup_info(A), "status=NONSENSE\n")
    assert list(ask(home)["backups"]) == [B]


def test_the_keys_that_a_record_does_not_have_are_left_out_or_null(home):
    add_backup(home.catalog, A, backup_name="weekly", copy_stats=None, children_backup_ids=(B, C), tablespaces=())
    found = ask(home)["backups"]
    assert found[A]["backup_name"] == "weekly"
    assert (found[A]["copy_stats"], found[A]["tablespaces"]) == (None, None)
    assert found[A]["children_backup_ids"] == f"{B},{C}"
    assert "backup_name" not in found[B]
    assert "extra" not in found[B]
