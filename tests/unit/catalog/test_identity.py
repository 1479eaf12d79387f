"""identity.json."""

import json
import os

import pytest

from barman.catalog.identity import Identity, IdentityStore
from barman.errors import CatalogError, CorruptRecord
from tests.support.catalog_builder import make_layout, read, write

OURS = Identity("7454545454545454545", "15")


@pytest.fixture(name="layout")
def fixture_layout(tmp_path):
    return make_layout(str(tmp_path))


def test_it_is_written_in_the_form_of_the_original(layout):
    IdentityStore(layout).ensure(OURS)
    assert read(layout.identity) == '{\n    "systemid": "7454545454545454545",\n    "version": "15"\n}\n'
    assert IdentityStore(layout).read() == OURS


def test_before_the_first_backup_there_is_none(layout):
    assert IdentityStore(layout).read() is None
    write(layout.identity, "{}")
    assert IdentityStore(layout).read() is None


def test_another_cluster_is_refused_and_the_file_untouched(layout):
    store = IdentityStore(layout)
    store.ensure(OURS)
    before = os.stat(layout.identity).st_mtime_ns
    with pytest.raises(CatalogError, match="7454545454545454545"):
        store.ensure(Identity("1", "15"))
    store.ensure(OURS)
    assert os.stat(layout.identity).st_mtime_ns == before


def test_a_stale_version_is_brought_up_to_date(layout):
    store = IdentityStore(layout)
    store.ensure(OURS)
    store.ensure(Identity(OURS.systemid, "17"))
    assert store.read() == Identity(OURS.systemid, "17")


@pytest.mark.parametrize(
    "content",
    ["", "\0" * 60, "{", "[]", '"x"', '{"systemid": 5}', '{"systemid": "x"}', b"\xff", "[" * 60_000],
)
def test_damage_is_an_error_and_never_a_missing_identity(layout, content):
    write(layout.identity, content)
    with pytest.raises(CorruptRecord, match=layout.identity):
        IdentityStore(layout).read()


def test_a_file_without_version_still_names_the_cluster(layout):
    write(layout.identity, json.dumps({"systemid": "12"}))
    assert IdentityStore(layout).read() == Identity("12", "")


def test_a_file_that_cannot_be_read_is_an_error(layout):
    os.makedirs(layout.identity)
    with pytest.raises(CatalogError, match="Is a directory"):
        IdentityStore(layout).read()
