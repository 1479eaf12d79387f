"""`sync-info` on the command line: always one document on standard output, and nothing else."""

import json
import os
import subprocess
import sys

import pytest

from barman.catalog.wal_file import WalFile
from tests.support.catalog_builder import add_backup, write
from tests.support.fix_postgres import REPOSITORY
from tests.support.offline import OfflineHome

A = "20261101T000000"
NAMES = [f"{1:08X}{0:08X}{number:08X}" for number in range(4, 8)]


def fill(home):
    add_backup(home.catalog, A, begin=4)
    write(home.catalog.layout.xlogdb, b"".join(WalFile(name, 16, 1700000000.5).line() for name in NAMES))
    return home


@pytest.fixture(name="home")
def fixture_home(tmp_path):
    return fill(OfflineHome(tmp_path))


@pytest.mark.parametrize("options", [[], ["-f", "json"], ["-q"], ["-q", "-f", "json"], ["-d"]])
def test_the_document_is_the_whole_output_whatever_was_asked_for(home, options):
    """With -f json the original writes two documents behind one another, with -q this one all the same."""
    done = home.run(*options, "sync-info", "main")
    assert (done.rc, done.err) == (0, ""), done.said
    found = json.loads(done.out)
    assert not done.out.endswith("\n")
    assert [item["name"] for item in found["wals"]] == NAMES
    assert list(found["backups"]) == [A]
    assert found["version"].startswith("3.100.")


def test_only_what_came_since_is_listed(home):
    position = str(json.loads(home.run("sync-info", "main").out)["last_position"])
    assert json.loads(home.run("sync-info", "main", NAMES[-1], position).out)["wals"] == []
    assert [item["name"] for item in json.loads(home.run("sync-info", "main", NAMES[1]).out)["wals"]] == NAMES[2:]
    assert home.run("sync-info", "main", NAMES[-1], "0").rc == 0, "the original refuses what it has told: D11"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["main", "foo"], "'foo' is not the name of a WAL file"),
        (["main", ""], "is not the name of a WAL file"),
        (["main", f"{1:08X}{0:08X}{9:08X}"], "is newer than the last available wal"),
        (["main", f"{1:08X}{0:08X}{1:08X}", "12"], "is older than the first available wal"),
        (["nosuch"], "Unknown server 'nosuch'"),
        (["all"], "works on one server"),
        (["--primary", "main"], "server main is not passive"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_nothing_is_written(home, arguments, text):
    done = home.run("sync-info", *arguments)
    assert (done.rc, done.out) == (1, "")
    assert text in done.err
    answer = home.run("-f", "json", "sync-info", *arguments)
    assert answer.rc == 1
    assert text in json.loads(answer.out)["_ERROR"][0]


def test_a_position_that_is_no_number_of_bytes_is_an_error_of_usage(home):
    for arguments in (["-1"], ["1e3"], ["٣"], ["9" * 40], ["1", "more"]):
        with home.start("sync-info", "main", NAMES[0], *arguments) as child:
            out, err = child.communicate()
        assert (child.returncode, out) == (2, ""), arguments
        assert "usage: barman sync-info" in err


def test_inactive_disabled_and_passive_servers_are_answered_for(tmp_path):
    """Passive nodes go on when somebody pauses the server on the primary."""
    cases = {"inactive": {"active": "false"}, "disabled": {"conninfo": ""}, "passive": {"primary_ssh_command": "ssh x"}}
    for name, options in cases.items():
        (tmp_path / name).mkdir()
        done = fill(OfflineHome(tmp_path / name, **options)).run("sync-info", "main")
        assert done.rc == 0, done.said
        assert list(json.loads(done.out)["backups"]) == [A]


def test_a_record_that_cannot_be_read_is_told_beside_the_document(home):
    write(home.catalog.layout.backup_info("20261102T000000"), "status=NONSENSE\n")
    done = home.run("sync-info", "main")
    assert (done.rc, list(json.loads(done.out)["backups"])) == (0, [A])
    assert "WARNING: backup 20261102T000000 is left out: " in done.err
    done = home.run("-f", "json", "sync-info", "main")
    assert list(json.loads(done.out)["backups"]) == [A]
    assert "20261102T000000" in json.loads(done.err)["_WARNING"][0]


def test_a_reader_that_leaves_early_is_no_error_to_talk_about(home):
    write(
        home.catalog.layout.xlogdb,
        b"".join(WalFile(f"{1:08X}{0:08X}{number:08X}", 16, 1.5).line() for number in range(4, 60000)),
    )
    command = [sys.executable, "-m", "barman", "-c", str(home.config_file), "sync-info", "main"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ) as child:
        child.stdout.read(1000)
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait() == 141


def follower(tmp_path, primary, **options):
    """A passive node of a primary on this machine, behind a door that takes the place of ssh."""
    door, program = tmp_path / "door", tmp_path / "bin" / "barman"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n'
        f'PYTHONPATH={REPOSITORY} exec {sys.executable} -m barman -c {primary.config_file} "$@"\n'
    )
    door.write_text(f'#!/bin/sh\nfor last; do :; done\nPATH={program.parent}:$PATH exec sh -c "$last"\n')
    for path in (door, program):
        path.chmod(0o755)
    (tmp_path / "passive").mkdir()
    return OfflineHome(tmp_path / "passive", primary_ssh_command=f"{door} there", **options)


def test_a_passive_node_prints_and_remembers_what_its_primary_says(tmp_path):
    (tmp_path / "primary").mkdir()
    primary = fill(OfflineHome(tmp_path / "primary"))
    passive = follower(tmp_path, primary)
    done = passive.run("-f", "json", "sync-info", "--primary", "main")
    assert (done.rc, done.err) == (0, ""), done.said
    assert done.out == primary.run("sync-info", "main").out
    with open(passive.catalog.layout.primary_info, encoding="utf-8") as file:
        assert file.read() == done.out
    # Its own document is another one.
    assert json.loads(passive.run("sync-info", "main").out)["backups"] == {}
    assert passive.run("sync-info", "--primary", "main", NAMES[1], "61").rc == 0
    assert (tmp_path / "calls").read_text().splitlines() == ["sync-info main", f"sync-info main {NAMES[1]} 61"]


def test_a_primary_that_does_not_answer_changes_nothing(tmp_path):
    (tmp_path / "primary").mkdir()
    primary = fill(OfflineHome(tmp_path / "primary"))
    passive = follower(tmp_path, primary)
    assert passive.run("sync-info", "--primary", "main").rc == 0
    primary.config_file.write_text("")
    before = os.stat(passive.catalog.layout.primary_info)
    done = passive.run("sync-info", "--primary", "main")
    assert (done.rc, done.out) == (1, "")
    assert "ERROR: Failed to retrieve the primary node status: " in done.err
    assert "HINT: " in done.err
    assert os.stat(passive.catalog.layout.primary_info).st_mtime_ns == before.st_mtime_ns
    refused = follower_of_nobody(tmp_path).run("sync-info", "--primary", "main")
    assert (refused.rc, refused.out) == (1, "")


def follower_of_nobody(tmp_path):
    (tmp_path / "disabled").mkdir()
    directory = tmp_path / "disabled"
    return OfflineHome(directory, primary_ssh_command="ssh x", wals_directory=str(directory / "main" / "base"))
