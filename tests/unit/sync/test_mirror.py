"""A mirrored tree: what is here stays, what is shared is never written into, and every byte can be compared."""

import os
from pathlib import Path

import pytest

from barman.errors import CommandFailed, SyncError
from barman.report import MemoryReporter
from barman.sync.mirror import Loan, Mirror, Tree, pool_options
from tests.support.catalog_builder import write
from tests.support.fix_homes import tree
from tests.support.passive import Nodes

PAST = 1_600_000_000


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path)


def put(root: Path, files: dict[str, bytes], *, time: float = PAST) -> None:
    for name, content in files.items():
        write(str(root / name), content)
        os.utime(root / name, (time, time))


def mirror(nodes: Nodes, name: str = "copy", pruned: tuple[str, ...] = ()) -> Mirror:
    """A mirror of `source`; the place for the copy is made."""
    place = nodes.directory / name
    place.mkdir(exist_ok=True)
    found = Tree(f"{nodes.directory}/source", str(place), pruned)
    return Mirror(nodes.passive.primary_host, found, pool_options(nodes.passive), MemoryReporter())


FILES = {f"data/base/{number}": os.urandom(3000 + number) for number in range(6)} | {"data/empty": b"", "16390/x": b"1"}


def test_a_tree_is_copied_with_modes_times_and_empty_directories_and_a_second_run_moves_nothing(nodes: Nodes) -> None:
    source = nodes.directory / "source"
    put(source, FILES | {"backup.info": b"theirs", "data/odd \n[x]*\\'name": b"odd"})
    (source / "data/pg_notify").mkdir(mode=0o700)
    (source / "data/base/0").chmod(0o640)
    one = mirror(nodes, pruned=("backup.info",))
    write(str(nodes.directory / "copy/backup.info"), "ours")
    one.copy()
    copy = nodes.directory / "copy"
    expected = tree(source)
    assert {**tree(copy), "backup.info": ""} == {**expected, "backup.info": ""}
    assert (copy / "backup.info").read_text() == "ours"
    assert (copy / "data/base/0").stat().st_mtime == PAST
    assert (copy / "data/base/0").stat().st_mode & 0o777 == 0o640
    assert (copy / "data/pg_notify").stat().st_mode & 0o777 == 0o700
    assert one.differences() == ()
    again = mirror(nodes, pruned=("backup.info",))
    again.copy(intact=True)
    assert (again.statistics.present, again.statistics.transferred) == (len(FILES) + 1, 0)
    again.copy(intact=False)
    assert again.statistics.travelled == 0, "compared by content, nothing came"


def test_what_an_attempt_has_left_is_continued_in_place_and_what_is_too_much_goes(nodes: Nodes) -> None:
    source, copy = nodes.directory / "source", nodes.directory / "copy"
    big = os.urandom(2_000_000)
    put(source, FILES | {"data/base.tar": big})
    put(copy, {"data/base/0": FILES["data/base/0"], "data/stale": b"", "data/16390": b"", "data/empty/dir": b""})
    put(copy, {"data/base.tar": big[:1_500_000]}, time=PAST + 9)
    os.symlink("/etc", copy / "16390")
    part = (copy / "data/base.tar").stat().st_ino
    one = mirror(nodes)
    one.copy(intact=True)
    assert tree(copy) == tree(source)
    assert (copy / "data/base.tar").stat().st_ino == part
    assert one.statistics.present == 1
    assert one.statistics.travelled < 700_000, "what was here has not come again"


def test_a_file_that_other_backups_share_is_replaced_and_never_written_into(nodes: Nodes) -> None:
    source, copy, other = (nodes.directory / name for name in ("source", "copy", "other"))
    put(source, FILES)
    lent = {"data/base/0": b"o" * 2999, "data/base/1": b"o" * len(FILES["data/base/1"])}
    put(other, lent)
    for name in lent:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(other / name, copy / name)
    one = mirror(nodes)
    one.copy(intact=True)
    assert one.differences() == ("data/base/1",), "same size and time, other content: the comparison sees it"
    one.repair()
    assert one.differences() == ()
    assert {name: (other / name).read_bytes() for name in lent} == lent


@pytest.mark.parametrize("how", ["link", "copy"])
def test_unchanged_files_are_taken_from_another_backup_and_doubtful_ones_compared(nodes: Nodes, how: str) -> None:
    from datetime import datetime, timezone

    source, other = nodes.directory / "source", nodes.directory / "other"
    put(source, FILES)
    same = {name: FILES[name] for name in ("data/base/0", "data/base/1")}
    put(other, same | {"data/base/2": FILES["data/base/2"] + b"longer"})
    begun = datetime.fromtimestamp(PAST + 100, timezone.utc)
    put(source, {"data/base/3": b"n" * 500, "data/base/4": b"n" * 500}, time=PAST + 200)
    put(other, {"data/base/3": b"n" * 500, "data/base/4": b"m" * 500}, time=PAST + 200)
    one = mirror(nodes)
    one.copy([Loan(how, str(other), begun)])
    copy = nodes.directory / "copy"
    assert tree(copy) == tree(source)
    assert one.statistics.reused == 2
    shared = {name for name in FILES if (other / name).exists() and os.path.samefile(copy / name, other / name)}
    assert shared == ({*same, "data/base/3"} if how == "link" else set())
    assert (other / "data/base/4").read_bytes() == b"m" * 500


def test_every_difference_is_named_and_repaired(nodes: Nodes) -> None:
    source, copy = nodes.directory / "source", nodes.directory / "copy"
    put(source, FILES)
    one = mirror(nodes)
    one.copy()
    put(copy, {"data/base/0": b"x" * 3000, "data/more": b"", "more/dir": b""})
    (copy / "data/base/1").unlink()
    os.truncate(copy / "data/base/2", 10)
    assert one.differences() == ("data/base/0", "data/base/1", "data/base/2", "data/more", "more", "more/dir")
    assert "data/base/0" not in one.differences(["data/base/0"]), "known to be right: not compared"
    one.repair()
    assert one.differences() == ()
    assert tree(copy) == tree(source)


def test_a_cut_connection_ends_the_copy_with_its_reason_and_the_next_one_finishes_it(nodes: Nodes) -> None:
    source = nodes.directory / "source"
    put(source, {f"data/{number}": os.urandom(100_000) for number in range(40)})
    nodes.cut_door(3_500_000)
    one = mirror(nodes)
    with pytest.raises(CommandFailed, match="rsync of files of"):
        one.copy()
    nodes.open_door()
    two = mirror(nodes)
    two.copy(intact=True)
    assert tree(nodes.directory / "copy") == tree(source)
    assert two.statistics.present > 0
    assert two.statistics.transferred == 40 - two.statistics.present


@pytest.mark.parametrize("name", ["../out", "/etc/out", "data/../../out", "data//out"])
def test_names_that_lead_out_of_the_backup_are_refused_before_anything_is_written(nodes: Nodes, name: str) -> None:
    put(nodes.directory / "source", FILES)
    nodes.open_door(f"case \"$*\" in *find*) printf 'f 644 5 1600000000.0 {name}\\0'; exit;; esac")
    with pytest.raises(SyncError, match="names a file that is in no backup"):
        mirror(nodes).copy()
    assert os.listdir(nodes.directory / "copy") == []


def test_a_source_that_cannot_be_listed_is_told(nodes: Nodes) -> None:
    with pytest.raises(SyncError, match=r"cannot list '.*/source' on the primary: .*No such file"):
        mirror(nodes).copy()
