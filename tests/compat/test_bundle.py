"""Exported backups travel between both programs."""

import os

import pytest

from barman.backup.bundle_export import export_backup
from barman.backup.bundle_import import import_backup
from barman.catalog.identity import Identity
from barman.config.loader import load_settings
from barman.report import MemoryReporter
from barman.server.server import Server
from tests.support.catalog_builder import add_backup, read
from tests.support.fix_upstream import INACTIVE_SERVER, Upstream, find_upstream, write_config
from tests.unit.backup.support import SEGMENT, SYSTEM_ID, archive_segments, archived, segment

pytestmark = pytest.mark.compat

A = "20260101T000000"


@pytest.fixture(name="homes")
def fixture_homes(tmp_path):
    """Two repositories of one cluster; the first one has a backup."""
    servers = []
    for name in ("first", "second"):
        home = tmp_path / name
        home.mkdir()
        path = write_config(str(home), {"main": INACTIVE_SERVER})
        server = Server(load_settings(path, {}).servers["main"])
        server.catalog.ensure_directories()
        server.catalog.identity.write(Identity(str(SYSTEM_ID), "15"))
        servers.append((server, Upstream(find_upstream(), path)))
    catalog = servers[0][0].catalog
    add_backup(catalog, A, begin=2, end=3, xlog_segment_size=SEGMENT, systemid=str(SYSTEM_ID), tablespaces=())
    archive_segments(catalog, 1, 4)
    return servers


@pytest.mark.parametrize("compression", [None, "gzip", "bzip2", "xz"])
def test_the_original_imports_what_we_export(homes, tmp_path, compression):
    (source, _), (target, original) = homes
    path = export_backup(source, source.catalog.backups.read(A), str(tmp_path), {"barman_ver": "3"}, compression)
    original.run("import-backup", "main", path)
    assert archived(target.catalog) == [segment(2), segment(3)]
    theirs, ours = target.catalog.backups.read(A), source.catalog.backups.read(A)
    assert (theirs.status, theirs.begin_wal, theirs.size) == (ours.status, ours.begin_wal, ours.size)
    assert target.catalog.keep.get(A) == "standalone"


@pytest.mark.parametrize("compression", [(), ("--compression", "gzip"), ("--compression", "xz")])
def test_we_import_what_the_original_exports(homes, tmp_path, compression):
    (_, original), (target, _) = homes
    out = tmp_path / "out"
    out.mkdir()
    original.run("export-backup", "main", A, str(out), *compression)
    (name,) = os.listdir(out)
    import_backup(target, str(out / name), MemoryReporter())
    assert archived(target.catalog) == [segment(2), segment(3)]
    assert target.catalog.backups.read(A).status == "DONE"
    shown = homes[1][1].run("list-backups", "main").out
    assert f"main {A} - F" in shown


def test_the_original_respects_what_tiers_keep_and_names_the_option(homes):
    (server, original), _ = homes
    server.catalog.keep.hold(A)
    path = original.config_file
    options = {**INACTIVE_SERVER, "retention_policy": "REDUNDANCY 1", "retention_tiers": "1 MONTHLY"}
    write_config(os.path.dirname(path), {"main": options})
    ran = original.run("list-backups", "main")
    assert "KEEP:STANDALONE" in ran.out
    assert "retention_tiers" in ran.err + ran.out + read(os.path.join(os.path.dirname(path), "barman.log"))
