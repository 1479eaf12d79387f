"""Ids and the words that stand for them."""

from datetime import datetime

import pytest

from barman.catalog.backup_id import RESERVED_NAMES, is_backup_id, new_backup_id, resolve, resolve_or_none
from barman.catalog.view import CatalogView
from barman.errors import CatalogError, CorruptRecord, UnknownBackup
from tests.support.catalog_builder import make_info

A, B, C, D, E, F = (f"2026010{day}T120000" for day in range(1, 7))


def view_of(*infos, corrupt=None):
    return CatalogView({info.backup_id: info for info in infos}, corrupt=corrupt or {}, server_name="main")


VIEW = view_of(
    make_info(A, status="FAILED"),
    make_info(B, backup_name="weekly"),
    make_info(C, mode="rsync-concurrent", backup_name="twin"),
    make_info(D, parent_backup_id=B, status="WAITING_FOR_WALS", backup_name="twin"),
    make_info(E, status="FAILED", backup_name="broken"),
    make_info(F, status="STARTED"),
)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("latest", D),
        ("last", D),
        ("oldest", B),
        ("first", B),
        ("last-failed", E),
        ("latest-full", C),
        ("last-full", C),
        (A, A),
        (F, F),
        ("weekly", B),
    ],
)
def test_a_word_is_resolved(word, expected):
    assert resolve(word, VIEW) == expected


@pytest.mark.parametrize(
    "word", ["", "failed", "last-fail", "auto", "broken", "20270101T000000", "2026", "../x", A + "\n"]
)
def test_an_unknown_word_is_refused_in_the_words_of_the_original(word):
    with pytest.raises(UnknownBackup) as caught:
        resolve(word, VIEW)
    assert caught.value.message == f"Unknown backup '{word}' for server 'main'"
    assert resolve_or_none(word, VIEW) is None


def test_a_snapshot_is_not_the_latest_full_backup():
    view = view_of(make_info(A), make_info(B, mode="snapshot-concurrent"))
    assert (resolve("latest-full", view), resolve("latest", view)) == (A, B)


def test_a_name_that_two_backups_have_is_refused_with_their_ids():
    with pytest.raises(CatalogError, match=f"{C}, {D}") as caught:
        resolve("twin", VIEW)
    assert "id" in caught.value.hint


def test_the_id_of_an_unreadable_record_gives_its_error():
    error = CorruptRecord("meta/x line 3: no")
    with pytest.raises(CorruptRecord) as caught:
        resolve(A, view_of(corrupt={A: error}))
    assert caught.value is error


def test_shortcuts_find_nothing_in_an_empty_catalog():
    for word in sorted(RESERVED_NAMES):
        assert resolve_or_none(word, view_of()) is None


def test_an_id_is_eight_digits_a_t_and_six_digits():
    assert is_backup_id("20261122T051004")
    for text in (
        "20261122t051004",
        "20261122T05100",
        "20261122T0510044",
        "20261122T051004\n",
        "",
        "２０２６1122T051004",
    ):
        assert not is_backup_id(text)


def test_a_new_id_is_local_time_and_never_one_that_is_taken():
    now = datetime(2026, 12, 31, 23, 59, 58)
    assert new_backup_id(now, ()) == "20261231T235958"
    assert new_backup_id(now, {"20261231T235958", "20261231T235959"}) == "20270101T000000"


def test_a_backup_that_starts_later_has_a_later_id_also_when_one_of_the_same_second_was_deleted():
    now = datetime(2026, 12, 31, 23, 59, 58)
    assert new_backup_id(now, {"20261231T235959"}) == "20270101T000000"
    assert new_backup_id(now, {"20361231T235959"}) == "20261231T235958", "a clock was wrong once"
