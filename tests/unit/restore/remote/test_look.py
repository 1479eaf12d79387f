"""The look at another host, asked of the shell of this one: it must see what the look at this host sees."""

import os

import pytest

from barman.errors import CommandFailed
from barman.process import Completed
from barman.restore.facts import PlaceFacts
from barman.restore.marker import MARKER_NAME, Marker
from barman.restore.places import gather_place
from barman.restore.remote.look import _parse_df, look_at_places
from barman.transport.host import Host, local_host
from barman.transport.local import LocalRunner
from barman.values import replace

MARKER = Marker("pg", "20260101T000000", ("/ts",))


def other_host(environment=None) -> Host:
    runner = LocalRunner(environment)
    return replace(local_host(), link=runner, runner=runner, shell=lambda: "ssh")


def look(*paths, repository=(), known=None, listed=False):
    return look_at_places(
        other_host(), [str(path) for path in paths], repository, lambda _: known or (lambda _: False), listed=listed
    )


def comparable(facts: PlaceFacts) -> PlaceFacts:
    """Leave out what the two count in their own ways."""
    assert facts.free is None or facts.free > 0
    real = facts.real if facts.is_directory or not facts.exists else ""
    return replace(facts, device=0, free=None, used=0, real=real, marker_text=facts.marker_text.strip())


def make_cluster(root):
    for name in ("base/1", "global", "pg_tblspc", "log"):
        (root / name).mkdir(parents=True)
    for name in ("PG_VERSION", "base/1/it's\na $(touch pwned)", ".hidden"):
        (root / name).write_text("x")
    (root / "global" / "pg_control").write_bytes(bytes(range(100)))
    (root / "base" / "link").symlink_to("/nowhere")
    (root / "there").mkdir()
    (root / "pg_tblspc" / "17").symlink_to(root / "there")


@pytest.mark.parametrize("listed", [False, True])
def test_both_looks_see_the_same(tmp_path, listed):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty link").symlink_to("empty")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_text("x")
    (tmp_path / "running").mkdir()
    (tmp_path / "running" / "postmaster.pid").write_text(f"{os.getpid()}\n/data\n")
    (tmp_path / "ended").mkdir()
    (tmp_path / "ended" / "postmaster.pid").write_text("4194304\n")
    make_cluster(tmp_path / "cluster")
    (tmp_path / "marked").mkdir()
    (tmp_path / "marked" / MARKER_NAME).write_text(MARKER.text("run"))
    (tmp_path / "marked" / f".{MARKER_NAME}.7.tmp").write_text("")
    repository = (str(tmp_path / "empty"),)
    names = ("empty", "empty link", "dangling", "file", "file/below", "running", "ended", "cluster", "marked", "new")
    for name in (*names, "cluster/new/one", "it's 'new' $(touch pwned)", "empty link/x", "-n"):
        path = str(tmp_path / name)
        seen = look(path, repository=repository, known=lambda _: True, listed=listed).places[path]
        assert replace(comparable(seen), tablespace_links={}) == replace(
            comparable(gather_place(path, repository, listed=listed)), tablespace_links={}
        ), name
        if listed:
            assert seen.tablespace_links == gather_place(path, repository, listed=True).tablespace_links
    assert not (tmp_path / "pwned").exists()


def test_what_an_unfinished_restore_left_is_told_from_what_others_did(tmp_path):
    place, tablespace = tmp_path / "place", tmp_path / "tablespace"
    (place / "base").mkdir(parents=True)
    (place / MARKER_NAME).write_text(MARKER.text("run"))
    (place / "base" / "mine").write_bytes(bytes(1 << 20))
    tablespace.mkdir()
    (tablespace / "mine too").write_text("x")
    seen = look(place, tablespace, known=("base", MARKER_NAME).__contains__)
    first, second = seen.places[str(place)], seen.places[str(tablespace)]
    assert (first.marker, first.foreign, second.foreign) == (MARKER, ("base/mine",), ("mine too",))
    assert first.marker_text == MARKER.text("run").strip()
    assert first.used >= 1 << 20
    (place / "global").mkdir()
    (place / "global" / "pg_control").write_text("x")
    assert look(place, tablespace, known=lambda _: False).places[str(tablespace)].foreign == ()


def test_a_host_without_rsync_or_with_an_old_one_is_refused(tmp_path):
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for directory in ("/bin", "/usr/bin"):
        for entry in os.scandir(directory):
            if entry.name != "rsync" and not (bin_directory / entry.name).is_symlink():
                (bin_directory / entry.name).symlink_to(entry.path)
    host = other_host({"PATH": str(bin_directory)})
    seen = look_at_places(host, [str(tmp_path / "new")], (), lambda _: None, listed=False)
    assert "no usable rsync on the destination host" in seen.refusals[0]
    (bin_directory / "rsync").write_text("#!/bin/sh\necho 'rsync  version 3.0.9  protocol version 30'\n")
    (bin_directory / "rsync").chmod(0o755)
    seen = look_at_places(host, [str(tmp_path / "new")], (), lambda _: None, listed=False)
    assert "rsync 3.0.9 on the destination host ('this host') is too old" in seen.refusals[0]
    (tmp_path / "nothing").mkdir()
    host = other_host({"PATH": str(tmp_path / "nothing")})
    assert look_at_places(host, [str(tmp_path / "a" / "b")], (), lambda _: None, listed=True).refusals


def test_an_answer_that_is_cut_is_no_answer(tmp_path):
    class Cut(LocalRunner):
        def run(self, argv, **options):
            done = super().run(argv, **options)
            return Completed(done.argv, done.returncode, done.stdout[:-5], done.stderr)

    class Other(LocalRunner):
        def run(self, argv, **options):
            return super().run([*argv, "/another/place"], **options)

    with pytest.raises(CommandFailed, match="did not answer what it was asked"):
        look_at_places(replace(other_host(), link=Other()), [str(tmp_path)], (), lambda _: None, listed=False)
    host = replace(other_host(), link=Cut())
    with pytest.raises(CommandFailed, match="did not answer to its end"):
        look_at_places(host, [str(tmp_path)], (), lambda _: None, listed=False)


def test_free_space_is_read_from_odd_lines():
    assert _parse_df("/dev/sda1 100 40 60 40% /mnt/a b") == (60 * 1024, "/mnt/a b")
    assert _parse_df("tmpfs 10 10 0 100% /") == (0, "/")
    assert _parse_df("host:/with blanks 100 40 60 40% /nfs") == (60 * 1024, "/nfs")
    assert _parse_df("/dev/sda1 100 110 -10 110% /") == (0, "/")
    for line in ("", "words", "a b ² 1% /", "1%"):
        assert _parse_df(line)[0] is None
