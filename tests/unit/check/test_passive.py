"""What `check` says of a passive node, whose primary is never asked: what lies on the disk tells it."""

import json
import os
import time
from datetime import datetime, timedelta, timezone

import pytest

from barman.check.checks.queues import stale_queue
from barman.check.run import run_checks
from barman.clock import Deadline
from barman.config.loader import load_settings
from barman.postgres.wal_name import WalSegment
from barman.server.server import Server
from barman.sync.state import BACKUP, CONTACT, WALS, note_failure, note_success
from tests.support.catalog_builder import SEGMENT_SIZE, add_backup, make_info, write
from tests.support.fix_upstream import write_config

OLD = "20260101T000000"
NEW = "20260102T000000"
OWN_LINES = ("primary node", "backup synchronisation", "WAL synchronisation", "left-over WAL")


def name_of(number, timeline=1):
    return WalSegment.numbered(number, timeline, SEGMENT_SIZE).name


def iso(moment):
    return moment.isoformat() if moment else None


class Passive:
    """A passive node, and what its primary is supposed to have said."""

    def __init__(self, home):
        self.home = home
        self.configure()
        self.catalog = self.server.catalog
        self.layout = self.catalog.layout
        self.catalog.ensure_directories()

    def configure(self, **options):
        # Nothing can be reached that way, and nothing is tried over the network.
        settings = {"description": "a copy", "primary_ssh_command": "/nonexistent/ssh primary", **options}
        self.server = Server(load_settings(write_config(self.home, {"main": settings}), {}).servers["main"])

    def answer(self, *backups, wals=(), wal_age=3600.0, age=0.0):
        """The primary answered `age` seconds ago: records, and WAL by numbers that was archived there long ago."""
        written = time.time() - wal_age
        document = {
            "last_position": 1,
            "last_name": name_of(max(wals)) if wals else "",
            "backups": {info.backup_id: record_of(info) for info in backups},
            "wals": [
                {"name": name_of(n), "size": SEGMENT_SIZE, "time": written + n, "compression": None, "encryption": None}
                for n in wals
            ],
            "version": "3.19.1",
            "config": {"basebackups_directory": "/srv/base", "wals_directory": "/srv/wals"},
        }
        write(self.layout.primary_info, json.dumps(document, indent=4))
        os.utime(self.layout.primary_info, (time.time() - age,) * 2)

    def noted(self, step, *, ago=0.0, error="", **facts):
        """A step that succeeded, or failed, `ago` seconds before now."""
        note_failure(self.layout, step, error) if error else note_success(self.layout, step, **facts)
        path = self.layout.sync_state(step)
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
        known["error_at" if error else "at"] = time.time() - ago
        write(path, json.dumps(known))

    def has(self, backup_id, *, begin=4, copied=3600.0, **changes):
        """A backup that was copied `copied` seconds ago."""
        info = add_backup(self.catalog, backup_id, begin=begin, mode="passive", **changes)
        os.utime(self.layout.backup_info(backup_id), (time.time() - copied,) * 2)
        return info

    def archive(self, *numbers):
        lines = []
        for number in numbers:
            path = self.layout.wal_path(name_of(number))
            write(path, b"")
            os.truncate(path, SEGMENT_SIZE)
            lines.append(f"{name_of(number)}\t{SEGMENT_SIZE}\t{time.time() - 3600 + number}\tNone\tNone\n")
        with open(self.layout.xlogdb, "a", encoding="ascii") as file:
            file.writelines(lines)

    def check(self):
        return {line.name: line for line in run_checks(self.server, Deadline(None)).results}

    def red(self):
        """The lines that failed without `ssh`, which leads nowhere here."""
        return {name: line.hint for name, line in self.check().items() if not line.ok and name != "ssh"}


def record_of(info):
    found = {name: getattr(info, name) for name in ("mode", "systemid", "version", "pgdata", "timeline", "size",
             "xlog_segment_size", "begin_wal", "begin_offset", "end_wal", "end_offset", "status")}  # fmt: skip
    found |= {"backup_id": info.backup_id, "begin_xlog": str(info.begin_xlog), "end_xlog": str(info.end_xlog)}
    found |= {"begin_time": iso(info.begin_time), "end_time": iso(info.end_time), "server_name": info.server_name}
    return found | {"parent_backup_id": info.parent_backup_id}


@pytest.fixture
def node(tmp_path):
    return Passive(str(tmp_path))


def test_the_lines_of_a_node_that_follows_are_those_of_the_original_in_its_order(node):
    info = node.has(OLD)
    node.archive(4, 5)
    node.answer(info, wals=(4, 5))
    report = node.check()
    assert list(report) == [
        "directories",
        "retention policy settings",
        "backup maximum age",
        "backup minimum size",
        "wal maximum age",
        "wal size",
        "compression settings",
        "failed backups",
        "minimum redundancy requirements",
        "ssh",
        "systemid coherence",
        "archiver errors",
    ]
    assert report["systemid coherence"].hint == "no system Id available"
    assert node.red() == {}


def test_a_fresh_node_says_what_to_do_and_is_quiet_once_the_primary_has_answered(node):
    assert list(node.red()) == ["primary node"]
    assert node.red()["primary node"].startswith("the primary was not asked yet: run 'barman cron'")
    node.answer(make_info(OLD, tablespaces=()), wals=(4,))
    # The first copy is started by the same run of cron; nothing else was copied before.
    with node.catalog.locks.sync_backup(OLD):
        assert node.red() == {}
    node.has(OLD, copied=1)
    node.noted(BACKUP, ago=1)
    assert node.red() == {}, "WAL follows its backup"


def test_a_primary_that_does_not_answer_is_red_after_ten_runs_of_cron_and_the_reason_is_named(node):
    node.answer(age=500)
    node.noted(CONTACT, ago=400, missing_wals=0)
    node.noted(CONTACT, error="connection refused")
    assert node.red() == {}
    node.answer(age=700)
    node.noted(CONTACT, ago=700, missing_wals=0)
    assert node.red()["primary node"].endswith("and nobody asked: does cron run 'barman cron'?")
    node.noted(CONTACT, error="connection refused")
    assert node.red()["primary node"].startswith("the primary has not answered since 11 minutes, 40 seconds")
    assert node.red()["primary node"].endswith("(connection refused)")


def test_a_node_that_never_had_an_answer_names_the_failure_at_once(node):
    node.noted(CONTACT, error="Permission denied (publickey)")
    assert node.red() == {"primary node": "the primary has not answered until now (Permission denied (publickey))"}


def test_an_answer_that_cannot_be_read_is_red(node):
    write(node.layout.primary_info, '{"version": "3.19.1"}')
    assert "'last_position' is missing" in node.red()["primary node"]
    assert "barman sync-info --primary main" in node.red()["primary node"]


def test_wal_that_is_missing_for_ten_minutes_is_red_with_number_bytes_and_time(node):
    info = node.has(OLD)
    node.archive(4, 5)
    node.answer(info, wals=(4, 5, 6, 7, 9), wal_age=3600)
    node.noted(WALS, ago=590)
    assert node.red() == {}, "a copy is due once a minute"
    node.noted(WALS, ago=1300)
    with node.catalog.locks.sync_wal():
        assert node.red() == {}, "it is being copied"
    hint = node.red()["WAL synchronisation"]
    assert hint.startswith(
        f"3 WAL files (48.0 MiB) from {name_of(6)}, 4 seconds of changes of the primary are not here"
    )
    assert "the last copy succeeded 21 minutes" in hint
    assert hint.endswith("run 'barman sync-wals main'")
    node.noted(WALS, error="No space left on device", ago=30)
    assert "the last failure 30 seconds ago was: No space left on device" in node.red()["WAL synchronisation"]
    node.answer(info, wals=(4, 5, 6), wal_age=60)
    assert node.red() == {}, "what the primary archived a minute ago is not late"
    node.archive(6, 7, 9)
    node.answer(info, wals=(4, 5, 6, 7, 9))
    assert list(node.red()) == ["WAL archive"], "what is here is not missing; what nobody has is a hole"


def test_wal_that_is_being_copied_may_lack_its_line_in_the_index(node):
    node.has(OLD)
    node.archive(4)
    write(node.layout.wal_path(name_of(5)), b"x" * SEGMENT_SIZE)
    node.answer()
    assert list(node.red()) == ["WAL index"]
    with node.catalog.locks.sync_wal():
        assert node.red() == {}


def test_a_clock_that_is_ahead_keeps_no_line_quiet(node):
    info = node.has(OLD)
    node.archive(4)
    node.answer(info, wals=(4, 5), wal_age=-86400)
    node.noted(WALS, ago=700)
    assert list(node.red()) == ["WAL synchronisation"]
    node.noted(WALS, ago=60)
    assert node.red() == {}
    node.answer(info, wals=(4,), age=-86400)
    assert list(node.red()) == ["primary node"]


def test_wal_that_no_backup_here_needs_is_not_missing(node):
    info = node.has(OLD, begin=8)
    node.archive(8)
    node.answer(info, wals=(3, 4, 5, 8))
    assert node.red() == {}


def test_a_backup_that_nobody_copies_is_red(node):
    first, second = make_info(OLD, tablespaces=()), make_info(NEW, begin=6, tablespaces=())
    node.answer(first, second, wals=(4, 5, 6))
    hint = node.red()["backup synchronisation"]
    assert hint.startswith(f"backup {OLD} and 1 more of the primary is not here, and nobody copies it")
    assert hint.endswith(f"run 'barman sync-backup main {OLD}'")
    node.noted(BACKUP, ago=60, backup_id=OLD)
    assert node.red() == {}, "one backup a run of cron"
    node.noted(BACKUP, ago=700, backup_id=OLD)
    node.noted(BACKUP, error="rsync: connection unexpectedly closed", ago=30)
    assert "rsync: connection unexpectedly closed" in node.red()["backup synchronisation"]
    recent = (datetime.now(timezone.utc) - timedelta(seconds=60)).strftime("%Y%m%dT%H%M%S")
    node.answer(make_info(recent, tablespaces=()))
    assert node.red() == {}, "what the primary finished a minute ago is not late"


def test_what_retention_of_this_node_does_not_want_is_not_missing(node):
    node.configure(retention_policy="REDUNDANCY 1")
    second = node.has(NEW, begin=6)
    node.archive(6)
    node.answer(make_info(OLD, tablespaces=()), second, wals=(4, 5, 6))
    assert node.red() == {}


def test_two_backups_of_one_id_are_red(node):
    node.has(OLD)
    node.archive(4)
    node.answer(make_info(OLD, systemid="7111111111111111111", tablespaces=()))
    assert f"backup {OLD} of server main is another backup on the primary" in node.red()["backup synchronisation"]


def test_a_copy_that_failed_is_counted_and_one_that_broke_off_is_named(node):
    node.has(OLD)
    node.archive(4)
    node.answer(make_info(OLD, tablespaces=()))
    add_backup(node.catalog, NEW, mode="passive", status="SYNCING")
    with node.catalog.locks.sync_backup(NEW):
        assert node.red() == {}
    assert f"backup {NEW} is SYNCING, but its process is gone" in node.red()["backup catalog"]
    add_backup(node.catalog, NEW, mode="passive", status="FAILED")
    assert node.red() == {"failed backups": "there are 1 failed backups"}


def test_a_restore_that_would_fail_is_red_and_the_remedy_lies_with_the_primary(node):
    info = node.has(OLD, begin=4, end=5)
    node.archive(4)
    node.answer(info)
    os.utime(node.layout.backup_info(OLD))
    assert node.red() == {}, "WAL follows its backup"
    os.utime(node.layout.backup_info(OLD), (time.time() - 700,) * 2)
    hint = node.red()["WAL archive"]
    assert f"its WAL {name_of(5)} was not: run 'barman sync-wals main'" in hint
    node.archive(5, 7)
    hint = node.red()["WAL archive"]
    assert name_of(6) in hint
    assert "see 'barman check main' on the primary" in hint
    write(os.path.join(node.layout.incoming_directory, name_of(6)), b"x")
    assert "WAL archive" in node.red(), "nobody archives what waits on a passive node"


@pytest.mark.parametrize("archiver", ["on", "off"])
def test_what_a_time_as_an_active_node_left_is_named(node, archiver):
    node.configure(archiver=archiver, streaming_archiver=archiver)
    node.answer()
    streaming, incoming = node.layout.streaming_directory, node.layout.incoming_directory
    write(os.path.join(incoming, name_of(5)), b"x")
    write(os.path.join(streaming, name_of(8)), b"x")
    found = node.red()
    if archiver == "on":
        assert f"1 files in '{incoming}', first {name_of(5)} and 1 files in '{streaming}'" in found["left-over WAL"]
        assert "barman archive-wal main" in found["left-over WAL"]
        assert not stale_queue.applies(node.server.config), "no archiver is waited for, however old the files are"
    else:
        assert found["empty incoming directory"] == f"'{incoming}' must be empty when archiver=off"
        assert found["empty streaming directory"] == f"'{streaming}' must be empty when streaming_archiver=off"
        assert "left-over WAL" not in found
    os.rename(os.path.join(streaming, name_of(8)), os.path.join(streaming, name_of(8) + ".partial"))
    assert f"first {name_of(8)}.partial" in node.red()["left-over WAL"]
    node.has(OLD, begin=5)
    node.archive(5, 6, 7, 8)
    assert not node.red().keys() & {"left-over WAL", "WAL queue"}, "the primary has sent what is here"
    with node.catalog.locks.receive_wal():
        assert "a receiver that runs ('barman cron' ends it)" in node.red()["left-over WAL"]


def test_an_active_server_has_none_of_these_lines(node):
    node.configure(primary_ssh_command="", active="false", conninfo="host=/nonexistent", archiver="on")
    write(os.path.join(node.layout.streaming_directory, name_of(8) + ".partial"), b"x")
    assert not set(node.check()) & set(OWN_LINES)


def test_a_very_long_answer_is_told_by_its_figures_without_being_read(node):
    info = node.has(OLD)
    node.archive(4)
    node.answer(info, wals=(4, 5))
    with open(node.layout.primary_info, "a", encoding="ascii") as file:
        file.write(" " * (9 << 20))
    node.noted(CONTACT, missing_wals=70000, missing_wal_bytes=70000 * SEGMENT_SIZE)
    assert node.red()["WAL synchronisation"].startswith("70000 WAL files (1.1 TiB) of the primary are not here, none")
    node.noted(WALS)
    assert node.red() == {}
