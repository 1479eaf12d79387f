"""The steps on another host, performed by the shell of this one."""

import os

import pytest

from barman.errors import FileFailed
from barman.report import MemoryReporter
from barman.restore.marker import MARKER_NAME, Marker, parse_marker
from barman.restore.remote.destination import (
    land_control_file,
    link_tablespaces,
    prepare_destination,
    remove_stale,
    sync_places,
)
from barman.restore.remote.transfer import Transfer
from barman.restore.step import (
    LandControlFile,
    LinkTablespaces,
    PrepareDestination,
    RemoveStale,
    StaleTree,
    SyncPlaces,
    TablespaceLink,
)
from barman.restore.workbench import Workbench
from barman.transport.files import RemoteFiles
from barman.transport.host import local_host
from barman.transport.local import LocalRunner
from barman.transport.rsync_pool import PoolOptions
from barman.values import replace

MARKER = Marker("pg", "20260101T000000", ("/ts",))
STRANGE = ("it's", "$(touch pwned)", "-rf", "a\nb", "`id`", 'a"b', "back\\slash", "*", " ")


def bench(runner=None):
    runner = runner or LocalRunner()
    host = replace(local_host(), runner=runner, files=RemoteFiles(runner), shell=lambda: "ssh")
    return Workbench(MemoryReporter(), host=host, transfer=Transfer(PoolOptions(), "/tmp"))


def test_a_destination_is_marked_before_it_loses_what_a_server_needs(tmp_path):
    place, space = tmp_path / "it's $(id)" / "new", tmp_path / "space"
    step = PrepareDestination(str(place), (str(space),), MARKER)
    prepare_destination(step, bench())
    assert (place.stat().st_mode & 0o777, space.stat().st_mode & 0o777) == (0o700, 0o700)
    assert parse_marker((place / MARKER_NAME).read_text()) == MARKER
    (place / "global").mkdir()
    for name in ("global/pg_control", "recovery.signal", "global/.x.7.tmp", "mine"):
        (place / name).write_text("x")
    seen = (place / MARKER_NAME).read_text()
    with pytest.raises(FileFailed, match="somebody has put a cluster into"):
        prepare_destination(replace(step, seen=seen), bench())
    with pytest.raises(FileFailed, match="another restore into .* has begun meanwhile"):
        prepare_destination(replace(step, seen=MARKER.text("another"), had_control_file=True), bench())
    assert (place / "global" / "pg_control").exists()
    prepare_destination(replace(step, seen=seen, had_control_file=True), bench())
    assert (place / MARKER_NAME).read_text() != seen
    assert sorted(path.name for path in place.rglob("*")) == [MARKER_NAME, "global", "mine"]


def test_exactly_the_named_paths_are_removed(tmp_path):
    for name in STRANGE:
        (tmp_path / name).mkdir()
        for file in (*STRANGE, "kept"):
            (tmp_path / name / file).write_text("x")
    (tmp_path / "link").symlink_to("it's")
    files = (*(f"{name}/{file}" for name in STRANGE for file in STRANGE), "link", "absent")
    tree = StaleTree(str(tmp_path), files, STRANGE)
    remove_stale(RemoveStale((tree,)), bench())
    assert sorted(os.listdir(tmp_path)) == sorted(STRANGE)
    assert all(os.listdir(tmp_path / name) == ["kept"] for name in STRANGE)
    for name in STRANGE:
        (tmp_path / name / "kept").unlink()
    remove_stale(RemoveStale((tree,)), bench())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("length", range(20, 90, 7))
def test_of_an_order_that_is_cut_nothing_is_carried_out(tmp_path, length):
    class Cut(LocalRunner):
        def run(self, argv, *, stdin=None, **options):
            return super().run(argv, stdin=stdin[:length], **options)

    for name in ("a", "ab", "abc"):
        (tmp_path / name).write_text("x")
    with pytest.raises(FileFailed):
        remove_stale(RemoveStale((StaleTree(str(tmp_path), ("abc", "ab"), ()),)), bench(Cut()))
    assert sorted(os.listdir(tmp_path)) == ["a", "ab", "abc"]


def test_links_lead_to_their_places_and_nothing_else_is_replaced(tmp_path):
    (tmp_path / "pg_tblspc").mkdir()
    (tmp_path / "pg_tblspc" / "1").symlink_to("/old")
    links = tuple(TablespaceLink(number, "ts", f"/new/{name}") for number, name in enumerate(STRANGE, 1))
    link_tablespaces(LinkTablespaces(str(tmp_path), links), bench())
    for link in links:
        assert os.readlink(tmp_path / "pg_tblspc" / str(link.oid)) == link.location
    (tmp_path / "pg_tblspc" / "99").mkdir()
    with pytest.raises(FileFailed, match="is in the way"):
        link_tablespaces(LinkTablespaces(str(tmp_path), (TablespaceLink(99, "ts", "/x"),)), bench())


def test_the_control_file_lands_whole_and_only_for_the_run_that_owns_the_marker(tmp_path):
    place, source = tmp_path / "place", tmp_path / "pg_control"
    source.write_bytes(bytes(range(256)) * 32)
    os.chmod(source, 0o640)
    (place / "global").mkdir(parents=True)
    first, second = bench(), bench()
    step = PrepareDestination(str(place), (), MARKER)
    prepare_destination(step, first)
    prepare_destination(replace(step, seen=first.marker), second)
    landing = LandControlFile(str(source), str(place))
    with pytest.raises(FileFailed, match="another restore has taken"):
        land_control_file(landing, first)

    class Cut(LocalRunner):
        def run(self, argv, *, stdin=None, **options):
            return super().run(argv, stdin=stdin[:-1], **options)

    cut = bench(Cut())
    cut.marker = second.marker
    with pytest.raises(FileFailed, match="did not arrive whole"):
        land_control_file(landing, cut)
    assert sorted(path.name for path in place.rglob("*")) == [MARKER_NAME, "global"]
    land_control_file(landing, second)
    assert (place / "global" / "pg_control").read_bytes() == source.read_bytes()
    assert (place / "global" / "pg_control").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in place.rglob("*")) == ["global", "pg_control"]


def test_a_place_that_is_gone_is_not_called_durable(tmp_path):
    sync_places(SyncPlaces((str(tmp_path),), 1), bench())
    with pytest.raises(FileFailed, match="is gone"):
        sync_places(SyncPlaces((str(tmp_path), str(tmp_path / "gone")), 1), bench())
