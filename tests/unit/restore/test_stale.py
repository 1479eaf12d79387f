import itertools

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, Tablespace
from barman.restore.facts import DIRECTORY, FILE, LINK, BackupFacts, PlaceFacts, SourceTree
from barman.restore.judge import judge_place
from barman.restore.layouts import Layouts
from barman.restore.marker import MARKER_NAME, Marker
from barman.restore.stale import is_own_tablespace, judge_delta, stale_trees
from barman.restore.step import StaleTree, TablespaceLink
from barman.values import replace

INFO = BackupInfo(
    BackupId("20260101T000000"),
    "pg",
    status="DONE",
    version=150018,
    systemid="7",
    tablespaces=(Tablespace("ts", 17, "/ts"),),
)
DATA = SourceTree(
    "/b/data",
    {"PG_VERSION": 3, "postgresql.conf": 1, "global/pg_control": 10, "base/1/2": 90, "conf.d/a.conf": 1},
    directories=("base", "base/1", "global", "log", "pg_wal", "pg_tblspc", "conf.d"),
)
SPACE = SourceTree("/b/17", {"PG_15_1/1/5": 5}, directories=("PG_15_1", "PG_15_1/1"))
FACTS = BackupFacts(INFO, "/record", False, DATA, {17: SPACE})
LAYOUTS = Layouts("/dest", "/dest/pg_wal", True, (TablespaceLink(17, "ts", "/ts"),))
CLUSTER = {
    **dict.fromkeys(DATA.files, FILE),
    **dict.fromkeys(DATA.directories, DIRECTORY),
    "pg_tblspc/17": LINK,
}


def places(data=CLUSTER, space=(), **facts):
    destination = PlaceFacts("/dest", "/dest", exists=True, is_directory=True, names=("base",), content=data, **facts)
    return {"/dest": destination, "/ts": PlaceFacts("/ts", "/ts", exists=True, content=dict(space))}


def stale(*names, kind=FILE, layouts=LAYOUTS):
    trees, left = stale_trees(FACTS, layouts, places({**CLUSTER, **dict.fromkeys(names, kind)}))
    return sorted(itertools.chain.from_iterable(tree.files + tree.directories for tree in trees)), left


def test_a_cluster_that_is_the_backup_loses_nothing():
    assert stale() == ([], ())


def test_what_postgres_owns_goes_when_the_backup_does_not_have_it():
    gone = (
        "base/1/3", "base/1/t3_4", "conf.d/old.conf", "pg_wal/000000010000000000000009", "pg_tblspc/99",
        "postmaster.pid", "recovery.signal", "standby.signal", "backup_label", "backup_manifest.20250101T000000",
        ".barman-recover.info", "postgresql.auto.conf.origin", ".postgresql.conf.AbCdEf",
    )  # fmt: skip
    assert stale(*gone) == (sorted(gone), ())


def test_what_nobody_but_its_owner_knows_stays():
    mine = ("mine.txt", "log/server.log", ".ssh", "server.key", "lost+found", "notes.AbCdEf")
    assert stale(*mine) == ([], (".ssh", "mine.txt", "notes.AbCdEf", "server.key"))
    assert stale("my directory", kind=DIRECTORY)[0] == []
    assert stale(MARKER_NAME)[0] == []


def test_wal_of_an_earlier_recovery_goes_and_other_places_of_this_one_are_not_the_destinations():
    assert stale("barman_wal/000000010000000000000009")[0]
    inside = replace(LAYOUTS, links=(TablespaceLink(17, "ts", "/dest/base/far"),))
    trees, _ = stale_trees(
        FACTS,
        inside,
        {
            **places({**CLUSTER, "base/far": DIRECTORY, "base/far/x": FILE}),
            "/dest/base/far": PlaceFacts("/dest/base/far"),
        },
    )
    assert trees == ()


def test_what_became_something_else_is_replaced():
    assert stale("base/1/2", kind=LINK)[0] == ["base/1/2"]
    assert stale("base/1/2", kind=DIRECTORY)[0] == ["base/1/2"]


def test_directories_go_after_what_is_in_them():
    content = {**CLUSTER, "base/9": DIRECTORY, "base/9/1": FILE, "base/9/x": DIRECTORY, "base/9/x/y": FILE}
    trees, _ = stale_trees(FACTS, LAYOUTS, places(content))
    assert trees == (StaleTree("/dest", ("base/9/1", "base/9/x/y"), ("base/9/x", "base/9")),)


def test_in_a_tablespace_only_the_directory_of_the_version_is_ours():
    space = {"PG_15_1": DIRECTORY, "PG_15_1/1": DIRECTORY, "PG_15_1/1/5": FILE, "PG_15_1/1/6": FILE}
    others = {"PG_14_1": DIRECTORY, "PG_14_1/5": FILE, "mine": FILE}
    trees, _ = stale_trees(FACTS, LAYOUTS, places(space={**space, **others}))
    assert trees == (StaleTree("/ts", ("PG_15_1/1/6",), ()),)


def test_another_cluster_and_links_in_place_of_directories_are_refused():
    assert judge_delta(FACTS, LAYOUTS, places(system_id="7")) == []
    assert judge_delta(FACTS, LAYOUTS, places()) == []
    assert "another cluster" in judge_delta(FACTS, LAYOUTS, places(system_id="8"))[0]
    assert "'/dest/pg_wal' is a symbolic link" in judge_delta(FACTS, LAYOUTS, places({**CLUSTER, "pg_wal": LINK}))[0]
    assert "cannot be read" in judge_delta(FACTS, LAYOUTS, places(foreign=("/dest/base (Permission denied)",)))[0]


def test_a_tablespace_is_the_clusters_own_when_its_link_or_an_unfinished_restore_says_so():
    place = PlaceFacts("/link to ts", "/ts")
    assert is_own_tablespace(place, 17, places(tablespace_links={17: "/ts"})["/dest"])
    assert not is_own_tablespace(place, 18, places(tablespace_links={17: "/ts"})["/dest"])
    assert is_own_tablespace(place, 18, places(marker=Marker("pg", "x", ("/link to ts",)))["/dest"])
    assert not is_own_tablespace(place, 17, places()["/dest"])


def test_a_place_that_may_be_overwritten_is_still_judged_for_the_rest():
    marker = Marker("pg", INFO.backup_id)
    full = places()["/dest"]
    assert judge_place(full, marker, what="destination folder", left=None, delta=True) == []
    assert "not empty" in judge_place(full, marker, what="destination folder", left=None, delta=False)[0]
    running = replace(full, server_pid=7)
    assert "runs in" in judge_place(running, marker, what="destination folder", left=None, delta=True)[0]
