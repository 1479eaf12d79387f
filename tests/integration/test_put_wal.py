"""`barman put-wal` on the command line: exit codes, states of a server, and who may send."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.support.fix_postgres import BarmanHome
from tests.support.tar_builder import archive, member
from tests.support.wal_files import segment, segment_name

NAME = segment_name(5)
DATA = segment(NAME)


def add(home: BarmanHome, name: str = "pg", **options: str) -> Path:
    home.add_server(name, **{"archiver": "on", "conninfo": "host=/nonexistent", **options})
    return home.path(name, "incoming")


def test_exit_0_and_silence_for_what_is_stored(barman_home: BarmanHome) -> None:
    incoming = add(barman_home)
    for _ in range(2):
        done = barman_home.run("put-wal", "pg", stdin=archive({NAME: DATA})).ok()
        assert (done.out, done.err) == ("", "")
        assert (incoming / NAME).read_bytes() == DATA


def test_a_client_that_asks_is_answered_line_by_line(barman_home: BarmanHome) -> None:
    add(barman_home)
    done = barman_home.run("put-wal", "pg", stdin=archive({NAME: DATA}, confirm=True)).ok()
    assert done.out == f"put-wal stored {NAME} {hashlib.sha256(DATA).hexdigest()}\n"


def test_the_test_option_says_that_the_server_is_ready(barman_home: BarmanHome) -> None:
    add(barman_home)
    for option in ("-t", "--test"):
        done = barman_home.run("put-wal", "pg", option).ok()
        assert done.out == "Ready to accept WAL files for the server pg\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"active": "false"}, "ERROR: Inactive server: pg"),
        ({"conninfo": ""}, "ERROR: "),
        ({"primary_ssh_command": "ssh primary"}, "ERROR: server pg is passive"),
    ],
    ids=["inactive", "disabled", "passive"],
)
def test_a_server_that_would_not_archive_it_takes_nothing(
    barman_home: BarmanHome, options: dict[str, str], message: str
) -> None:
    incoming = add(barman_home, **options)
    for arguments in (("put-wal", "pg"), ("put-wal", "--test", "pg")):
        done = barman_home.run(*arguments, stdin=archive({NAME: DATA}))
        assert done.rc == 1
        assert message in done.err
    assert not (incoming / NAME).exists()


def test_unknown_servers_and_all_of_them_are_refused(barman_home: BarmanHome) -> None:
    add(barman_home)
    assert "Unknown server 'other'" in barman_home.run("put-wal", "other", stdin=archive({NAME: DATA})).err
    done = barman_home.run("put-wal", "all", stdin=archive({NAME: DATA}))
    assert done.rc == 1
    assert not list(barman_home.home.rglob(NAME))


def test_errors_name_the_server_and_the_host_that_sends(barman_home: BarmanHome) -> None:
    add(barman_home)
    done = barman_home.run(
        "put-wal", "pg", stdin=member(NAME, DATA) + bytes(1024), env={"SSH_CONNECTION": "10.1.2.3 1 10.1.2.4 22"}
    )
    assert done.rc == 1
    assert f"ERROR: Missing checksum for file '{NAME}' in put-wal for server 'pg' (SSH host: 10.1.2.3)" in done.err


def test_another_content_is_refused_with_exit_1_and_check_tells(barman_home: BarmanHome) -> None:
    incoming = add(barman_home)
    barman_home.run("put-wal", "pg", stdin=archive({NAME: DATA})).ok()
    done = barman_home.run("put-wal", "pg", stdin=archive({NAME: segment(NAME, seed=1)}))
    assert done.rc == 1
    assert f"ERROR: WAL file '{NAME}' was refused" in done.err
    assert (incoming / NAME).read_bytes() == DATA
    report = barman_home.run("check", "pg").out
    assert "archiver errors: FAILED (duplicates: 1; " in report
    assert "another content" in report


def test_a_read_only_or_missing_directory_is_an_error_without_a_traceback(barman_home: BarmanHome) -> None:
    incoming = add(barman_home)
    incoming.parent.mkdir()
    incoming.write_text("a file where a directory should be")
    done = barman_home.run("put-wal", "pg", stdin=archive({NAME: DATA}))
    assert done.rc == 1
    assert "Traceback" not in done.err
    assert str(incoming) in done.err


def test_refused_files_are_listed_explained_retried_and_dropped(barman_home: BarmanHome) -> None:
    incoming = add(barman_home)
    barman_home.run("put-wal", "pg", stdin=archive({NAME: DATA})).ok()
    for seed in (1, 2):
        assert barman_home.run("put-wal", "pg", stdin=archive({NAME: segment(NAME, seed=seed)})).rc == 1
    lines = barman_home.run("wal-errors", "pg").ok().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"pg {NAME}.") and line.endswith("another content") for line in lines)
    documents = json.loads(barman_home.run("-f", "json", "wal-errors", "pg").ok().out)["pg"]
    assert [document["wal_name"] for document in documents] == [NAME, NAME]
    assert barman_home.run("wal-errors", "pg", "--retry", NAME).rc == 1
    (incoming / NAME).unlink()
    assert barman_home.run("wal-errors", "pg", "--retry", documents[0]["name"]).ok().rc == 0
    assert (incoming / NAME).read_bytes() == segment(NAME, seed=1)
    barman_home.run("wal-errors", "pg", "--drop", "all").ok()
    assert barman_home.run("wal-errors", "pg").ok().out == ""
    assert barman_home.run("wal-errors", "pg", "--drop", "../incoming").rc == 1
