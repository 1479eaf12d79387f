"""`sync-info` of the released original and ours over the same catalogs: the same keys, values and order, and passive
nodes of the original that follow us."""

import json
import os
import subprocess
import sys

import pytest

from barman.catalog.backup_info import Tablespace
from barman.sync.protocol import parse
from barman.sync.state import read_position
from barman.values import replace
from tests.compat import shapes
from tests.support.catalog_builder import add_backup, add_chain, make_catalog, read, write
from tests.support.fix_postgres import REPOSITORY
from tests.support.fix_upstream import INACTIVE_SERVER, Upstream, find_upstream, write_config

pytestmark = pytest.mark.compat

OURS_ALONE = {"resumed", "late_wals", "keep", "identity"}
OPTIONS_OF_OURS = {"aws_sse_customer_key", "hook_script_timeout", "wal_hook_script_timeout", "retention_tiers"}
SERVERS = ("main", "kept", "unfinished", "legacy", "empty", "down")


def run_ours(config_file, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "barman", "-c", config_file, *arguments],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip


@pytest.fixture(name="homes", scope="module")
def fixture_homes(tmp_path_factory):
    """A home of many shapes, read by both: nothing of it is changed."""
    home = str(tmp_path_factory.mktemp("shapes"))
    config_file = shapes.build_home(home)
    with open(config_file, encoding="utf-8") as file:
        # The original skips inactive servers up to 3.19.
        write(config_file, file.read().replace("active = false", "active = true"))
    return config_file, Upstream(find_upstream(), config_file)


def compare(theirs, ours):
    """Fail for everything but the intended differences; answer both documents."""
    a, b = json.loads(theirs), json.loads(ours)
    assert list(a) == [key for key in b if key not in OURS_ALONE]
    for key in ("last_position", "last_name", "wals"):
        assert a[key] == b[key], key
    assert list(b["backups"]) == sorted(a["backups"])
    for backup_id, record in a["backups"].items():
        mine = b["backups"][backup_id]
        assert list(record) == list(mine)
        if record["backup_label"] is not None:
            # The original sends its literal, of which its own passive nodes make a literal once more (D9).
            record["backup_label"] = parse_label(record["backup_label"])
        assert record == mine
    options, mine = a["config"], b["config"]
    assert set(mine) - set(options) == OPTIONS_OF_OURS
    assert list(options)[-1] == list(mine)[-1] == "name"
    different = {key for key in options if options[key] != mine[key]}
    assert all("password" in options[key] and "REDACTED" in mine[key] for key in different)
    return a, b


def parse_label(text):
    import ast

    return ast.literal_eval(text)


@pytest.mark.parametrize("server", SERVERS)
def test_both_answer_alike(homes, server):
    config_file, upstream = homes
    theirs, ours = upstream.run("sync-info", server).out, run_ours(config_file, "sync-info", server)
    assert (ours.returncode, ours.stderr) == (0, "")
    compare(theirs, ours.stdout)
    # Whatever the keys, the look is the same: four blanks, and no line end.
    assert theirs == json.dumps(json.loads(theirs), indent=4)
    assert ours.stdout == json.dumps(json.loads(ours.stdout), indent=4)
    if server == "main":
        mine, original = (parse(text.encode(), server) for text in (ours.stdout, theirs))
        assert mine.backups == original.backups
        assert mine.wals == original.wals
        assert len(mine.backups) == 5


def segments(*numbers, timeline=1):
    return [shapes.segment(number, timeline) for number in numbers]


QUESTIONS = [
    [*segments(10), "1"], [*segments(10), "99999999"], ["00000002.history"], segments(2), segments(1),
    [*segments(16, timeline=2), "1136"], segments(17, timeline=2), ["../../etc"], [*segments(10), "x"],
]  # fmt: skip


def test_both_answer_the_same_questions_and_refuse_the_same(homes):
    config_file, upstream = homes
    answered = 0
    for question in QUESTIONS:
        theirs = upstream.run("sync-info", "main", *question, check=False)
        ours = run_ours(config_file, "sync-info", "main", *question)
        assert ours.returncode == theirs.code, question
        if theirs.code == 0:
            compare(theirs.out, ours.stdout)
            answered += 1
        else:
            assert (theirs.out, ours.stdout) == ("", "")
    assert answered == 5
    for arguments in (["--primary", "main"], ["nosuch"], ["all"]):
        assert run_ours(config_file, "sync-info", *arguments).returncode == 1
        assert upstream.run("sync-info", *arguments, check=False).code == 1


# --- the original follows us

A, B, C, D = (f"2026110{day}T000000" for day in range(1, 5))
LABEL = 'START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\nLABEL: it\'s "quoted" \\ é\n'


class Followed:
    """A home of ours with a catalog, and one of the original that follows it through a door in the place of ssh."""

    def __init__(self, directory):
        self.calls = directory / "calls"
        (directory / "bin").mkdir()
        (directory / "ours").mkdir()
        (directory / "theirs").mkdir()
        self.primary = make_catalog(str(directory / "ours"))
        own = write_config(str(directory / "ours"), {"main": {**INACTIVE_SERVER, "active": "true"}})
        self.config_file = own
        self.script(
            directory / "bin" / "barman",
            f'echo "$@" >> {self.calls}\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m barman -c {own} "$@"',
        )
        # The words after the options and the host are the command line for the other host's shell, as with ssh.
        self.script(
            directory / "door",
            'while :; do case "$1" in -o) shift 2;; -*) shift;; *) break;; esac; done\nshift\n'
            f'PATH={directory}/bin:$PATH exec sh -c "$*"',
        )
        options = {"primary_ssh_command": f"{directory}/door there", "description": "follows"}
        theirs = write_config(str(directory / "theirs"), {"main": options})
        self.passive = make_catalog(str(directory / "theirs"))
        self.upstream = Upstream(find_upstream(), theirs)

    @staticmethod
    def script(path, text):
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def follow(self, *backup_ids):
        """What cron of the original does, one after the other; the question has the words of its state file."""
        path = self.passive.layout.sync_wals_info
        words = read(path).split("\t") if os.path.exists(path) else []
        answer = self.upstream.run("sync-info", "--primary", "main", *words).json
        for backup_id in backup_ids:
            self.upstream.run("sync-backup", "main", backup_id)
        if answer["wals"]:
            self.upstream.run("sync-wals", "main")

    def asked(self):
        found = self.calls.read_text().splitlines()
        self.calls.unlink()
        return found


def test_a_passive_node_of_the_original_follows_us_and_reads_everything_right(tmp_path):
    pair = Followed(tmp_path)
    primary, passive = pair.primary, pair.passive
    shapes.archive(primary, 4)
    spaces = (Tablespace("it's", 16390, "/srv/a b"),)
    here = [
        add_backup(primary, A, backup_label=LABEL, tablespaces=spaces, included_files=("/etc/it's.conf",)),
        add_backup(primary, B, begin=5, status="WAITING_FOR_WALS", mode="rsync-concurrent"),
    ]
    # One line in the index: the original's own answer, position 0, would be refused ever after (D11).
    pair.follow(A, B)
    pair.follow()
    assert read_position(passive.layout).position == 1
    assert pair.asked() == ["sync-info main", f"sync-info main {shapes.segment(4)} 1"]
    shapes.archive(primary, 5, 6)
    write(primary.layout.history(2), "1\t0/6000000\tno recovery target specified\n")
    with open(primary.layout.xlogdb, "a", encoding="ascii") as index:
        index.write("00000002.history\t41\t1793080000.0\tNone\tNone\n")
    pair.follow()
    pair.follow()
    # The last line is no segment: the original compares 24 characters there, and starts anew (D13).
    calls = pair.asked()
    assert calls[0] == f"sync-info main {shapes.segment(4)} 1"
    assert calls[1].startswith("sync-info main 00000002.history ")
    assert len(calls) == 2, "no question was rejected"

    copied = passive.snapshot().backups
    assert [(i, info.status) for i, info in copied.items()] == [(A, "DONE"), (B, "DONE")]
    for info in here:
        copy = copied[info.backup_id]
        assert replace(copy, mode=info.mode, status=info.status, source={}, copy_stats=info.copy_stats) == info
    with open(passive.layout.backup_info(A), encoding="utf-8") as file:
        assert f"backup_label={LABEL!r}\n" in file.read(), "once a literal, not twice (D9)"
    for name in (*segments(4, 5, 6), "00000002.history"):
        with open(primary.layout.wal_path(name), "rb") as ours, open(passive.layout.wal_path(name), "rb") as theirs:
            assert ours.read() == theirs.read()
    # After what the original does with the children's list (D10) both still know the chain.
    add_chain(primary, C, D, begin=6)
    pair.follow(C, D)
    chain = passive.snapshot().backups
    assert (chain[D].parent_backup_id, chain[C].children_backup_ids) == (C, (D,))
    assert os.path.exists(passive.layout.primary_info)


def test_what_a_passive_node_of_the_original_answers_is_read_by_ours(tmp_path):
    """D9, D10 and D12: it passes on what it has damaged."""
    pair = Followed(tmp_path)
    add_chain(pair.primary, A, B, backup_label=LABEL)
    shapes.archive(pair.primary, 4, 5)
    # Its own kind is its primary here: the damage is done.
    upstream = find_upstream()
    pair.script(tmp_path / "bin" / "barman", f'exec {upstream} -c {pair.config_file} "$@"')
    pair.follow(A, B)
    text = pair.upstream.run("sync-info", "main").out
    sent = json.loads(text)["backups"][A]
    assert sent["backup_label"] not in (LABEL, repr(LABEL))
    found = parse(text.encode(), "main")
    assert found.backups[A].backup_label == LABEL
    assert found.backups[A].children_backup_ids == (B,)
    assert [file.name for file in found.wals] == segments(4, 5)
