"""The same catalog and the same commands through the original and through ours, compared field by field.

What differs on purpose is in `INTENDED`, with the reason; everything else must be equal, in console and in JSON.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from barman.catalog.wal_file import WalFile
from barman.postgres.wal_name import WalSegment
from tests.support.catalog_builder import (
    SEGMENT_SIZE,
    UPSTREAM_RECORD,
    add_upstream_backup,
    make_catalog,
    write,
)
from tests.support.fix_upstream import INACTIVE_SERVER, Ran, Upstream, find_upstream, write_config

ROOT = Path(__file__).resolve().parents[2]

INTENDED = {
    # keys of releases before 3.15 and 3.11, which exporters still read (clients reference)
    r"/base_backup_information/(disk_usage|incremental_size)": "added",
    # what can be recovered, which the original does not tell
    r"/recovery_window/|/wal_information/recovery/": "added",
    # options of later releases
    r"/aws_sse_customer_key(/|$)": "added",
    # options of our own
    r"/((wal_)?hook_script_timeout|retention_tiers)(/|$)": "added",
    # live facts are there, as None, even when nobody can be asked
    r"/(archive_timeout|checkpoint_timeout|config_file|current_lsn|current_size|data_checksums)$": "added",
    r"/(hba_file|hot_standby)$": "added",
    r"/(has_backup_privileges|has_monitoring_privileges|ident_file|included_files|max_replication_slots)$": "added",
    r"/(max_wal_senders|wal_compression|wal_keep_size|wal_level|xlog_segment_size)$": "added",
    r"/connection_error$": "names the server, and how it was addressed",
    # the line of the WAL archive needs a verifiable reason
    r"/wal_archive/": "a fresh archive without WAL is fine",
    # the newest backup here is compressed and encrypted, and restoring such a one is not built yet
    r"/backup_catalog/": "check is red when the newest backup cannot be restored",
    # the same check, with a reason
    r"/(postgresql|replication_slot|receive_wal_running)/hint$": "names the cause and the next command",
    r"/_INFO/": "free text",
    r"/_WARNING": "the original breaks its text over indented lines",
    r"/conninfo$": "passwords are redacted in JSON too",
    r"/(barman_ver|python_executable|python_ver|timestamp|kernel_ver|ssh_ver)$": "of the program itself",
    r"/last_archived_wal_per_timeline/.*/time$": "from the index, not from the file",
}

ADDED_LINES = re.compile(r"^(\tRecovery window: |    (Recoverable until|Missing WAL) +: ).*\n", re.MULTILINE)
"""Lines of the console that the original does not have."""


class Both:
    """Runs a command line through both programs."""

    def __init__(self, config_file):
        self.upstream = Upstream(find_upstream(), config_file)
        self.config_file = config_file

    def ours(self, *args):
        done = subprocess.run(
            [sys.executable, "-m", "barman", "-c", self.config_file, *args],
            capture_output=True,
            timeout=120,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": os.path.dirname(self.config_file)},
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    def same_console(self, *args):
        theirs, ours = self.upstream.run(*args, check=False), self.ours(*args)
        assert ADDED_LINES.sub("", ours.out) == theirs.out
        assert ours.code == theirs.code

    def same_json(self, *args):
        theirs, ours = self.upstream.run("-f", "json", *args, check=False), self.ours("-f", "json", *args)
        assert differences(theirs.json, ours.json) == []
        assert ours.code == theirs.code


def flatten(value, path=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{path}/{key}")
        if not value:
            yield path, {}
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from flatten(item, f"{path}/{position}")
        if not value:
            yield path, []
    else:
        yield path, value


def differences(theirs, ours):
    left, right = dict(flatten(theirs)), dict(flatten(ours))
    return [
        (path, left.get(path, "absent"), right.get(path, "absent"))
        for path in sorted(left.keys() | right.keys())
        if left.get(path, "absent") != right.get(path, "absent")
        and not any(re.search(pattern, path) for pattern in INTENDED)
    ]


def segment(number, timeline=1):
    return WalSegment.numbered(number, timeline, SEGMENT_SIZE).name


def archive(catalog, *numbers, timeline=1, started=1793000000.0):
    """Segments of full size, as sparse files, an hour apart."""
    files = []
    for number in numbers:
        name = segment(number, timeline)
        path = catalog.layout.wal_path(name)
        write(path, b"")
        os.truncate(path, SEGMENT_SIZE)
        moment = started + 3600.0 * number
        os.utime(path, (moment, moment))
        files.append(WalFile(name, SEGMENT_SIZE, moment))
    with open(catalog.layout.xlogdb, "ab") as file:
        file.write(b"".join(item.line() for item in files))


def backup(catalog, backup_id, begin, end=None, timeline=1, **keys):
    end = begin if end is None else end
    moment = f"{backup_id[:4]}-{backup_id[4:6]}-{backup_id[6:8]} 00:00"
    position = {
        "begin_wal": segment(begin, timeline),
        "begin_xlog": f"0/{begin:X}000028",
        "end_wal": segment(end, timeline),
        "end_xlog": f"0/{end:X}000100",
        "begin_time": f"{moment}:10.500000+00:00",
        "end_time": f"{moment}:12.250000+02:00",
        "timeline": str(timeline),
        "backup_name": "None",
        "mode": "postgres",
        "size": "24014536",
        "deduplicated_size": "12007268",
    }
    add_upstream_backup(catalog.layout, backup_id, text=UPSTREAM_RECORD, **{**position, **keys})
    path = catalog.layout.backup_info(backup_id)
    record = Path(path).read_text(encoding="utf-8").replace("backup_name=None\n", "")
    Path(path).write_text(record, encoding="utf-8")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A catalog with one backup of each kind, two timelines, an idle server and a disabled one."""
    home = str(tmp_path_factory.mktemp("compat"))
    catalog = make_catalog(home)
    archive(catalog, *range(2, 19))
    write(catalog.layout.wal_path(f"{segment(8)}.00000028.backup"), "START WAL LOCATION: 0/8000028\n")
    with open(catalog.layout.xlogdb, "ab") as file:
        file.write(WalFile(f"{segment(8)}.00000028.backup", 30, 1793028800.0).line())
        file.write(WalFile("00000002.history", 40, 1793080000.0).line())
    write(catalog.layout.history(2), "1\t0/F000000\tno recovery target specified\n")
    archive(catalog, 15, 16, timeline=2, started=1793090000.0)
    backup(catalog, "20261101T000000", 4, 5, mode="rsync-concurrent", backup_name="first-b", tablespaces="None")
    backup(catalog, "20261102T000000", 8, mode="rsync-concurrent", copy_stats="None", cluster_size="None")
    backup(catalog, "20261103T000000", 9, status="FAILED", error="failure copying files (x)")
    backup(catalog, "20261104T000000", 12, 13, children_backup_ids="20261106T000000", systemid="None")
    backup(
        catalog,
        "20261106T000000",
        14,
        parent_backup_id="20261104T000000",
        summarize_wal="on",
        size="300",
        deduplicated_size="300",
    )
    backup(catalog, "20261107T000000", 16, 18, status="WAITING_FOR_WALS", compression="gzip", encryption="gpg")
    unfinished = dict.fromkeys(("end_wal", "end_xlog", "end_time", "end_offset", "size", "deduplicated_size"), "None")
    other = make_catalog(home, "unfinished")
    backup(other, "20261108T000000", 16, status="STARTED", **unfinished)
    backup(other, "20261109T000000", 16, status="EMPTY", begin_wal="None", begin_xlog="None", **unfinished)
    make_catalog(home, "empty")
    idle = {**INACTIVE_SERVER, "retention_policy": "RECOVERY WINDOW OF 3 WEEKS", "minimum_redundancy": "1"}
    down = {**INACTIVE_SERVER, "active": "true", "description": ""}
    down["conninfo"] = down["conninfo"] + " password=sekrit"
    broken = {"archiver": "on", "backup_method": "postgres", "description": "No way in"}
    return Both(
        write_config(
            home,
            {"main": idle, "empty": INACTIVE_SERVER, "unfinished": INACTIVE_SERVER, "down": down, "broken": broken},
        )
    )


BACKUPS = [f"2026110{day}T000000" for day in (1, 2, 3, 4, 6, 7)]


@pytest.mark.parametrize("arguments", [("all",), ("main", "empty"), ("main", "--minimal")])
def test_list_backups(both, arguments):
    both.same_console("list-backups", *arguments)
    both.same_json("list-backups", *arguments)


@pytest.mark.parametrize("word", [*BACKUPS, "latest", "oldest", "last-failed", "latest-full", "first-b"])
def test_show_backup(both, word):
    both.same_console("show-backup", "main", word)
    both.same_json("show-backup", "main", word)


@pytest.mark.parametrize("backup_id", ["20261108T000000", "20261109T000000"])
def test_show_backup_of_an_unfinished_backup(both, backup_id):
    both.same_console("show-backup", "unfinished", backup_id)
    both.same_json("show-backup", "unfinished", backup_id)


def test_list_servers(both):
    both.same_console("list-servers")
    both.same_json("list-servers")
    both.same_console("list-servers", "--minimal")


@pytest.mark.parametrize("server", ["main", "empty", "down"])
def test_status(both, server):
    both.same_console("status", server)
    both.same_json("status", server)


def test_status_of_a_disabled_server_does_not_break(both):
    assert "Disabled: True" in both.ours("status", "broken").out


@pytest.mark.parametrize("server", ["main", "empty", "down"])
def test_show_servers(both, server):
    both.same_json("show-servers", server)
    theirs = keys_and_values(both.upstream.run("show-servers", server).out)
    ours = keys_and_values(both.ours("show-servers", server).out)
    assert theirs.keys() - ours.keys() <= {"connection_error"}
    changed = {key for key in theirs.keys() & ours.keys() if theirs[key] != ours[key]}
    # The original swallows the line end after a password.
    assert changed <= {"connection_error", "conninfo"}


def keys_and_values(text):
    return dict(line[1:].split(": ", 1) for line in text.splitlines() if line.startswith("\t"))


@pytest.mark.parametrize("server", ["main", "empty", "down"])
def test_check(both, server):
    both.same_json("check", server)
    assert check_lines(both.ours("check", server).out) == check_lines(
        both.upstream.run("check", server, check=False).out
    )


def test_an_empty_archive_is_red_in_the_original_alone(both):
    assert "WAL archive: FAILED" in both.upstream.run("check", "empty", check=False).out
    assert "WAL archive" not in both.ours("check", "empty").out


def check_lines(text):
    """Names and verdicts, but for the lines that differ on purpose; hints are compared in JSON."""
    found = [re.match(r"\t([^\t].*?: (?:OK|FAILED))", line) for line in text.splitlines()]
    ours_alone = ("WAL archive", "backup catalog")
    return [match.group(1) for match in found if match and not match.group(1).startswith(ours_alone)]


@pytest.mark.parametrize("servers", [("main",), ("down",), ("main", "down"), ("main", "nosuch"), ("nosuch",)])
def test_the_first_line_of_the_nagios_plugin(both, servers):
    theirs = both.upstream.run("check", "--nagios", *servers, check=False)
    ours = both.ours("check", "--nagios", *servers)
    first = ours.out.splitlines()[0].replace(", backup catalog", "")
    assert first == theirs.out.splitlines()[0].replace("WAL archive, ", "")
    assert ours.code == theirs.code
    names = [line.split(": FAILED")[0] for line in theirs.out.splitlines()[1:] if ".WAL archive" not in line]
    found = [line.split(": FAILED")[0] for line in ours.out.splitlines()[1:] if ".backup catalog" not in line]
    assert found == names


def test_diagnose_has_every_field(both):
    theirs = json.loads(both.upstream.run("diagnose").out)
    ours = json.loads(both.ours("diagnose").out)
    missing = [path for path, _ in flatten(theirs) if path not in dict(flatten(ours))]
    assert missing == []
    assert differences(theirs["servers"]["main"]["backups"], ours["servers"]["main"]["backups"]) == []
    assert differences(theirs["servers"]["main"]["wals"], ours["servers"]["main"]["wals"]) == []
    assert differences(theirs["servers"]["down"]["config"], ours["servers"]["down"]["config"]) == []


def test_diagnose_with_sources_has_every_field(both):
    theirs = json.loads(both.upstream.run("diagnose", "--show-config-source").out)["servers"]["main"]["config"]
    ours = json.loads(both.ours("diagnose", "--show-config-source").out)["servers"]["main"]["config"]
    assert differences(theirs, ours) == []


def test_no_password_is_shown_anywhere(both):
    for arguments in (("show-servers", "down"), ("diagnose",), ("check", "down"), ("status", "down")):
        for form in ("console", "json"):
            ran = both.ours("-f", form, *arguments)
            assert "sekrit" not in ran.out + ran.err
