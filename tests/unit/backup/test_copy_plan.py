import re
import subprocess
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.backup.copy_plan import (
    Places,
    plan_copy,
    select_files,
    share_by_directory,
    share_of_bandwidth,
    share_out,
    walk_filters,
)
from barman.backup.listing import ListedFile, Listing, find_argv, parse_find
from barman.errors import BackupError
from barman.postgres.facts import TablespaceFact
from barman.values import replace
from tests.support.needs import need_program
from tests.unit.backup.facts import make_facts

PLACES = Places(data="/b/base/ID/data", tablespace=lambda oid: f"/b/base/ID/{oid}")
BEGUN = datetime(2026, 1, 1, 12, 0, 0, tzinfo=timezone.utc)
SECOND = 1_000_000_000


def facts(data="/pg/data", tablespaces=(), included=(), **files):
    settings = {"data_directory": data, **files}
    return make_facts(
        settings={name: value for name, value in settings.items() if value},
        tablespaces=tuple(TablespaceFact(*item) for item in tablespaces),
        included_files=tuple(included),
    )


def listed(path, size=100, second=0, mode=0o600):
    return ListedFile(path, size, int(second * SECOND), mode)


def listing(*files):
    return Listing({file.path: file for file in files})


def test_tablespaces_come_first_and_the_control_file_is_by_itself():
    plan = plan_copy(facts(tablespaces=[("one", 16400, "/ts/one")]), PLACES)
    assert [(tree.label, tree.source, tree.destination) for tree in plan.directories] == [
        ("one", "/ts/one", "/b/base/ID/16400"),
        ("pgdata", "/pg/data", "/b/base/ID/data"),
    ]
    assert plan.control_file.source == "/pg/data/global/pg_control"
    assert plan.control_file.destination == "/b/base/ID/data/global/pg_control"
    assert plan.directories[1].pruned == ("pg_tblspc/16400",)


def test_a_tablespace_inside_the_data_directory_is_copied_once():
    plan = plan_copy(facts(tablespaces=[("odd", 16400, "/pg/data/my space/odd")]), PLACES)
    assert plan.directories[1].pruned == ("pg_tblspc/16400", "my space/odd")


def test_a_tablespace_inside_by_another_name_is_copied_once():
    plan = plan_copy(
        facts(data="/pg/link", tablespaces=[("odd", 16400, "/real/data/odd"), ("far", 16401, "/other")]),
        PLACES,
        {"/pg/link": "/real/data", "/other": "/real/data/deep/far"},
    )
    assert plan.directories[-1].pruned == ("pg_tblspc/16400", "pg_tblspc/16401", "odd", "deep/far")


def test_a_tablespace_in_place_is_part_of_the_data_directory():
    plan = plan_copy(facts(tablespaces=[("in_place", 16400, "pg_tblspc/16400")]), PLACES)
    assert [tree.label for tree in plan.directories] == ["pgdata"]
    assert plan.directories[0].pruned == ()


def test_configuration_outside_is_copied_and_a_name_that_only_begins_alike_is_outside():
    plan = plan_copy(
        facts(
            config_file="/pg/data_conf/postgresql.conf",
            hba_file="/pg/data/pg_hba.conf",
            ident_file="/etc/pg/pg_ident.conf",
            included=["/etc/pg/extra.conf", "/pg/data/conf.d/a.conf"],
        ),
        PLACES,
    )
    assert [(item.label, item.source, item.destination, item.optional) for item in plan.files] == [
        ("config_file", "/pg/data_conf/postgresql.conf", "/b/base/ID/data/postgresql.conf", False),
        ("ident_file", "/etc/pg/pg_ident.conf", "/b/base/ID/data/pg_ident.conf", True),
    ]
    assert plan.not_copied == ("/etc/pg/extra.conf",)


def test_limits_are_those_of_the_tablespace_or_of_the_backup():
    places = replace(PLACES, bandwidth_limit=100, tablespace_limits={"slow": 10, "free": 0})
    tablespaces = [("slow", 1, "/a"), ("free", 2, "/b"), ("other", 3, "/c")]
    plan = plan_copy(facts(tablespaces=tablespaces), places)
    assert [tree.bandwidth_limit for tree in plan.directories] == [10, None, 100, 100]


def test_a_server_that_hides_its_directory_is_refused():
    with pytest.raises(BackupError, match="data directory") as caught:
        plan_copy(facts(data=None), PLACES)
    assert "pg_read_all_settings" in caught.value.hint


def test_what_is_wanted_of_a_listing():
    plan = plan_copy(facts(tablespaces=[("odd", 16400, "/pg/data/odd")]), PLACES)
    found = Listing(
        {
            path: listed(path)
            for path in ["base/1/1", "odd/PG_15_1/1/2", "odder", "pg_tblspc/16400/x", "pg_wal/1", "global/pg_control"]
        },
        dict.fromkeys(["base", "base/1", "odd", "pg_tblspc", "pg_tblspc/16400", "pg_wal", "global"], 0o700),
        ("pg_wal/x", "dangling"),
    )
    wanted = plan.directories[1].wanted(found)
    assert set(wanted.files) == {"base/1/1", "odder"}
    assert set(wanted.directories) == {"base", "base/1", "pg_tblspc", "pg_wal", "global"}
    assert wanted.others == ("dangling",)


BEFORE = BEGUN.timestamp() - 1000


@pytest.mark.parametrize(
    ("now", "then", "kind"),
    [
        (listed("f", second=BEFORE), None, "changed"),
        (listed("f", second=BEFORE), listed("f", second=BEFORE), "unchanged"),
        (listed("f", second=BEFORE + 0.5), listed("f", second=BEFORE), "unchanged"),
        (listed("f", size=101, second=BEFORE), listed("f", second=BEFORE), "changed"),
        (listed("f", second=BEFORE + 1), listed("f", second=BEFORE), "changed"),
        (listed("f", second=BEFORE - 1), listed("f", second=BEFORE), "changed"),
        (listed("f", second=BEFORE, mode=0o640), listed("f", second=BEFORE), "doubtful"),
        (listed("f", second=BEGUN.timestamp() - 2), listed("f", second=BEGUN.timestamp() - 2), "unchanged"),
        (listed("f", second=BEGUN.timestamp() - 1), listed("f", second=BEGUN.timestamp() - 1), "doubtful"),
        (listed("f", second=BEGUN.timestamp() + 60), listed("f", second=BEGUN.timestamp() + 60), "doubtful"),
    ],
)
def test_a_file_is_taken_for_unchanged_only_when_that_is_certain(now, then, kind):
    selection = select_files(listing(now), listing(*([then] if then else [])), BEGUN)
    for name in ("unchanged", "changed", "doubtful"):
        assert [file.path for file in getattr(selection, name)] == (["f"] if name == kind else [])


def test_without_a_reference_everything_is_copied():
    selection = select_files(listing(listed("a"), listed("b")), None, None)
    assert [file.path for file in selection.changed] == ["a", "b"]
    assert not selection.unchanged
    assert not selection.doubtful


def test_times_of_another_host_prove_nothing():
    file = listed("f", second=BEFORE)
    assert select_files(listing(file), listing(file), None).doubtful == (file,)


@given(
    st.lists(
        st.tuples(st.floats(0, 20), st.floats(0, 20)).map(sorted),
        min_size=1,
        max_size=30,
    ),
    st.floats(2, 18),
)
def test_no_history_of_writes_makes_a_changed_file_unchanged(histories, copied):
    """A file is written at two moments; the reference began at 2 and read it at `copied`; times in whole seconds."""
    base = BEGUN.timestamp() - 2
    for number, (first, second) in enumerate(histories):
        seen_then = second if second <= copied else first
        if first > copied:
            continue
        then = listed(str(number), second=int(base + seen_then))
        now = listed(str(number), second=int(base + second))
        selection = select_files(listing(now), listing(then), BEGUN)
        if seen_then != second:
            assert not selection.unchanged


@given(st.lists(st.integers(0, 2**31), max_size=200), st.integers(1, 16))
def test_shares_hold_every_file_once_and_are_even(sizes, jobs):
    files = [listed(str(number), size) for number, size in enumerate(sizes)]
    shares = share_out(files, jobs)
    assert len(shares) <= jobs
    assert sorted(file.path for share in shares for file in share) == sorted(file.path for file in files)
    assert all(shares)
    costs = [sum(file.size + 65536 for file in share) for share in shares]
    if len(shares) > 1:
        assert max(costs) - min(costs) <= max(sizes) + 65536


def test_small_work_is_not_divided_and_large_work_is():
    assert len(share_out([listed(str(number), 1000) for number in range(100)], 8)) == 1
    assert len(share_out([listed(str(number), 2**30) for number in range(100)], 8)) == 8
    assert len(share_out([listed(str(number), 100) for number in range(25_000)], 2)) == 2
    assert share_out([], 4) == ()


@pytest.mark.parametrize(
    ("limit", "workers", "share"), [(None, 4, None), (0, 4, None), (100, 4, 25), (3, 8, 1), (9, 0, 9)]
)
def test_all_workers_together_keep_the_limit(limit, workers, share):
    assert share_of_bandwidth(limit, workers) == share


# -- walks -----------------------------------------------------------------------------------------------------------

ODD = ["base/1", "base/a b", "base/[x]", "base/b*ck\\slash", "base/back\\slash", "global", "it's"]


def make_walked_tree(root):
    """Many small files in directories of odd names, some files beside those directories, and what is left out."""
    for number, directory in enumerate(ODD * 2):
        (root / directory).mkdir(parents=True, exist_ok=True)
        for file in range(number * 150, (number + 1) * 150):
            (root / directory / str(file)).touch()
    for name in ("PG_VERSION", "base/stray", "base/1/t3_100", "pg_wal/0001", "pg_tblspc/16400/PG_1/x", "base/1/pipe"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "base/1/dangling").symlink_to("/nowhere")


def walk_with_rsync(root, target, filters):
    argv = ["rsync", "-rLKpts", *(f"--filter={rule}" for rule in filters), "--out-format=%n", f"{root}/", f"{target}/"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line and not line.endswith("/")]


def test_walks_copy_every_file_once_and_the_first_takes_what_is_new(tmp_path):
    need_program("rsync")
    root, target = tmp_path / "root", tmp_path / "target"
    make_walked_tree(root)
    target.mkdir()
    (tree,) = plan_copy(facts(data=str(root)), PLACES).directories
    tree = replace(tree, pruned=("pg_tblspc/16400",))
    found = subprocess.run(find_argv(str(root), tree.pruned), capture_output=True, check=True)
    wanted = tree.wanted(parse_find(found.stdout))
    assert wanted.others == ("base/1/dangling",)
    shares = share_by_directory(tuple(wanted.files.values()), 3)
    assert len(shares) == 3
    (root / "base/new").mkdir()
    (root / "base/new/file").touch()
    copied = [
        walk_with_rsync(root, target, walk_filters(tree, wanted.others, shares, number))
        for number in range(len(shares))
    ]
    assert all(copied)
    assert "base/new/file" in copied[0]
    everything = [re.sub(r"\\#(\d{3})", lambda code: chr(int(code[1], 8)), name) for part in copied for name in part]
    assert sorted(everything) == sorted([*wanted.files, "base/new/file"])


def test_one_large_directory_is_shared_by_name_unless_its_files_are_small():
    large = [listed(f"base/1/{number}", size=2**25) for number in range(8)]
    assert share_by_directory(large, 2) == ()
    small = [listed(f"base/1/{number}", size=8192) for number in range(4000)]
    assert share_by_directory(small, 2) == (("base/1",),)
    assert share_by_directory([], 2) == ()
