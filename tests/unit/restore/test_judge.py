import pytest

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, Tablespace
from barman.restore.combine import ChainFacts
from barman.restore.facts import BackupFacts, Damage, PlaceFacts, SourceTree, WalFacts
from barman.restore.judge import judge_backup, judge_place, judge_space
from barman.restore.layouts import Layouts, known_paths, lay_out
from barman.restore.marker import Marker, parse_marker
from barman.restore.recovery import get_wal_command, wal_restore_command
from barman.restore.request import RestoreRequest
from barman.restore.step import TablespaceLink
from barman.restore.target import parse_target
from barman.values import replace

INFO = BackupInfo(
    BackupId("20260101T000000"), "pg", status="DONE", version=150018, tablespaces=(Tablespace("ts", 17, "/ts"),)
)
DATA = SourceTree("/b/data", {"global/pg_control": 10, "base/1/2": 90}, directories=("base", "base/1", "global"))
FACTS = BackupFacts(INFO, "/record", False, DATA, {17: SourceTree("/b/17", {"PG_15/1": 5})})
MARKER = Marker("pg", "20260101T000000", ("/ts",))


def changed(**changes):
    return replace(FACTS, info=replace(INFO, **changes))


def test_a_good_backup_is_fit():
    assert judge_backup(FACTS) == []


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (changed(status="FAILED"), "backup status is not DONE"),
        (changed(encryption="age"), "it is encrypted"),
        (replace(FACTS, chain=ChainFacts(refusals=("its parent is gone",))), "cannot be restored: its parent is gone"),
        (changed(mode="snapshot-concurrent"), "it is a snapshot"),
        (changed(version=None), "does not say which PostgreSQL version"),
        (replace(FACTS, being_deleted=True), "is being deleted"),
        (replace(FACTS, data=None), "data directory of backup"),
        (replace(FACTS, data=SourceTree("/b/data")), "control file of backup"),
        (replace(FACTS, data=replace(DATA, links=("pg_wal",))), "'pg_wal' is a symbolic link"),
        (replace(FACTS, damage=Damage(1, 2, "base/1/2")), "beginning with 'base/1/2'"),
        (replace(FACTS, tablespaces={17: None}), "tablespace 'ts' (17)"),
    ],
)
def test_an_unfit_backup_is_refused_with_the_reason(facts, text):
    assert [reason for reason in judge_backup(facts) if text in reason]


def laid_out(destination="/dest", facts=FACTS, **options):
    refusals: list[str] = []
    request = RestoreRequest("latest", destination, **options)
    layouts = lay_out(request, facts, parse_target(request), refusals)
    return layouts, refusals


def test_wal_for_a_target_has_a_directory_of_its_own():
    assert laid_out()[0].wal_directory == "/dest/pg_wal"
    assert laid_out(target_xid="700")[0].wal_directory == "/dest/barman_wal"
    assert laid_out(target_xid="700", staging_wal_directory="/w")[0].directories == ("/ts", "/w")
    assert laid_out(staging_wal_directory="/w")[0].wal_directory == "/dest/pg_wal"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tablespaces": ("ts",)}, "Invalid tablespace relocation rule 'ts'"),
        ({"tablespaces": ("ts:relative",)}, "Invalid tablespace relocation rule"),
        ({"tablespaces": ("other:/x",)}, "Invalid tablespace name 'other'"),
        ({"tablespaces": ("ts:/",)}, "contains, the destination"),
        ({"tablespaces": ("ts:/dest/base/x",)}, "the data directory has files there"),
        ({"destination": "/a:b"}, "cannot contain the ':' character"),
        ({"destination": "/"}, "cannot be the root directory"),
        ({"target_xid": "9", "staging_wal_directory": "/dest/base"}, "part of the data directory"),
        ({"target_xid": "9", "staging_wal_directory": "/dest"}, "contains, the destination"),
        ({"target_xid": "9", "staging_wal_directory": "/ts/w"}, "cannot lie in one another"),
        ({"recovery_conf_filename": "../x"}, "must be a bare file name"),
    ],
)
def test_places_that_collide_are_refused(options, text):
    assert [reason for reason in laid_out(**options)[1] if text in reason]


def test_an_in_place_tablespace_goes_along():
    data = replace(DATA, directories=(*DATA.directories, "pg_tblspc", "pg_tblspc/17"))
    layouts, refusals = laid_out(facts=replace(FACTS, data=data, tablespaces={17: None}))
    assert layouts.links == ()
    assert refusals == []


def place(**facts):
    return PlaceFacts("/dest", **facts)


def judged(facts, left=None):
    return judge_place(facts, MARKER, what="destination folder", left=left)


def test_a_missing_or_empty_place_is_fit():
    assert judged(place()) == []
    assert judged(place(exists=True, is_directory=True)) == []


def test_every_reason_against_a_place_is_given():
    reasons = judged(place(exists=True, enclosing_repository="/r", enclosing_cluster="/c", server_pid=7, problem="no"))
    assert len(reasons) == 5


def test_hidden_files_count():
    assert "'.x'" in judged(place(exists=True, is_directory=True, names=(".x",)))[0]


def test_an_unfinished_restore_of_the_same_backup_is_begun_anew():
    full = place(exists=True, is_directory=True, names=("base",), marker=MARKER)
    assert judged(full, MARKER) == []
    other = Marker("pg", "20250101T000000")
    assert "unfinished restore of backup '20250101T000000'" in judged(replace(full, marker=other), other)[0]
    assert "holds a restored cluster" in judged(replace(full, has_control_file=True), MARKER)[0]
    assert "'mine'" in judged(replace(full, foreign=("mine",)), MARKER)[0]


def test_space_is_added_up_for_each_file_system():
    layouts = Layouts("/dest", "/dest/pg_wal", True, (TablespaceLink(17, "ts", "/ts"),))
    places = {"/dest": place(device=1, free=120), "/ts": PlaceFacts("/ts", device=2, free=4)}
    reasons = judge_space(FACTS, layouts, WalFacts(size=20), places)
    assert reasons == ["not enough space for '/ts': 5 B needed, 4 B free"]
    places = {"/dest": place(device=1, free=124), "/ts": PlaceFacts("/ts", device=1, free=124)}
    assert len(judge_space(FACTS, layouts, WalFacts(size=20), places)) == 1
    places = {"/dest": place(device=1, free=124, used=10), "/ts": PlaceFacts("/ts", device=1, free=124)}
    assert judge_space(FACTS, layouts, WalFacts(size=20), places) == []


def test_files_of_a_restore_are_told_from_those_of_others():
    layouts = Layouts("/dest", "/dest/barman_wal", True, (TablespaceLink(17, "ts", "/ts"),))
    known = known_paths(FACTS, layouts, "/dest")
    for name in ("base/1/2", "barman_wal/000000010000000000000002", "postgresql.conf.origin", "pg_tblspc/17"):
        assert known(name), name
    assert not known("base/1/3")
    assert not known("notes")
    assert known_paths(FACTS, layouts, "/ts")("PG_15/1")
    assert not known_paths(FACTS, layouts, "/ts")("PG_15/2")


def test_a_marker_is_read_back_and_garbage_is_not():
    assert parse_marker(MARKER.text()) == MARKER
    for text in ("", "[]", "{}", "nonsense", '{"server": 1}'):
        assert parse_marker(text) is None


def test_the_generated_command_names_a_configuration_file_that_is_no_default():
    request = RestoreRequest("latest", "/dest", get_wal=True)
    assert (
        get_wal_command(request, "pg") == "barman get-wal --recovery 30 -P pg %f > %p || exit $(($? == 99 ? 1 : 126))"
    )
    request = replace(request, config_file="/etc/my 100%.conf", standby_mode=True)
    assert get_wal_command(request, "pg") == "barman -c '/etc/my 100%%.conf' get-wal pg %f > %p"


def test_a_server_on_another_host_fetches_over_ssh():
    request = RestoreRequest(
        "latest", "/dest", get_wal=True, remote_ssh_command="ssh pg", barman_host="bck", jobs=1, barman_user="b"
    )
    assert wal_restore_command(request, "pg") == "barman-wal-restore -P -U b bck pg %f %p"
    request = replace(request, standby_mode=True, jobs=4, barman_port=2222, config_file="/etc/my 100%.conf")
    assert wal_restore_command(request, "pg") == (
        "barman-wal-restore -U b --port 2222 -c '/etc/my 100%%.conf' bck pg %f %p -p 4"
    )
