"""The catalog as a whole."""

import os

import pytest

from barman.catalog.catalog import Catalog
from barman.catalog.identity import Identity
from barman.errors import CatalogError
from tests.support.catalog_builder import add_backup, add_upstream_backup, make_catalog, make_layout, write

A, B, C = "20260101T120000", "20260102T120000", "20260103T120000"


def test_opening_a_catalog_touches_nothing(tmp_path):
    Catalog(make_layout(str(tmp_path)))
    assert os.listdir(tmp_path) == []


def test_a_snapshot_holds_records_keeps_damage_and_markers(tmp_path):
    catalog = make_catalog(str(tmp_path))
    info = add_backup(catalog, A)
    add_upstream_backup(catalog.layout, B, legacy=True)
    write(catalog.layout.backup_info(C), "damaged\n")
    catalog.keep.set(A, "standalone")
    catalog.keep.set(C, "full")
    catalog.backups.mark_deleting(B)
    view = catalog.snapshot()
    assert view.backups[A] == info
    assert list(view.backups) == [A, B]
    assert view.keep == {A: "standalone", C: "full"}
    assert list(view.corrupt) == [C]
    assert (view.deleting, view.upstream_deleting) == ({B}, frozenset())
    assert view.server_name == "main"


def test_directories_are_created_once_and_a_failure_names_the_path(tmp_path):
    catalog = make_catalog(str(tmp_path))
    catalog.ensure_directories()
    assert sorted(os.listdir(catalog.layout.backup_directory)) == [
        "base",
        "errors",
        "incoming",
        "meta",
        "streaming",
        "wals",
    ]
    os.rmdir(catalog.layout.meta_directory)
    write(catalog.layout.meta_directory, "in the way")
    with pytest.raises(CatalogError, match="meta: File exists"):
        catalog.ensure_directories()


def test_the_parts_belong_to_the_same_server(tmp_path):
    catalog = make_catalog(str(tmp_path))
    catalog.identity.ensure(Identity("12", "15"))
    assert catalog.identity is catalog.identity
    assert catalog.wals is catalog.wals
    assert catalog.xlogdb is catalog.xlogdb
