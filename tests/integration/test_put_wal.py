"""`barman put-wal` on the command line: exit codes, states of a server, and who may send."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster
from tests.support.tar_builder import archive, claimed, member, pax, sums
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
    listed = barman_home.run("wal-errors", "pg").ok()
    lines = listed.out.splitlines()
    assert len(lines) == 2
    told = r" - \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} - Size: 1\.0 MiB - .* another content"
    assert all(re.fullmatch(rf"pg {NAME}\.\S+\.duplicate{told}", line) for line in lines)
    assert "'barman wal-errors pg --retry NAME'" in listed.err
    assert "'barman wal-errors pg --drop NAME'" in listed.err
    documents = json.loads(barman_home.run("-f", "json", "wal-errors", "pg").ok().out)["pg"]
    assert [document["size_bytes"] for document in documents] == [len(DATA)] * 2
    assert all(document["reason"].endswith("another content") and document["time"] for document in documents)
    assert [document["wal_name"] for document in documents] == [NAME, NAME]
    assert barman_home.run("wal-errors", "pg", "--retry", NAME).rc == 1
    (incoming / NAME).unlink()
    assert barman_home.run("wal-errors", "pg", "--retry", documents[0]["name"]).ok().rc == 0
    assert (incoming / NAME).read_bytes() == segment(NAME, seed=1)
    barman_home.run("wal-errors", "pg", "--drop", "all").ok()
    assert barman_home.run("wal-errors", "pg").ok().out == ""
    assert barman_home.run("wal-errors", "pg", "--drop", "../incoming").rc == 1


def test_the_very_first_wal_is_compared_with_the_server_itself(barman_home: BarmanHome, newest_pg: Cluster) -> None:
    """A wrong server name in archive_command: nothing is archived yet that would tell."""
    own = int(newest_pg.value("SELECT system_identifier FROM pg_control_system()"))
    name, size = "000000010000000000000005", 16 << 20
    for server, data, reason in (
        ("pg", segment(name, system_id=42, size=size), f"it is of the cluster with system identifier 42, not {own}"),
        ("pg2", segment(name, system_id=own), "its segment size is 1048576, that of the server is"),
    ):
        barman_home.add_server(server, newest_pg, archiver="on")
        done = barman_home.run("put-wal", server, stdin=archive({name: data}))
        assert done.rc == 1
        assert reason in done.err
        assert [entry.name for entry in barman_home.path(server, "incoming").iterdir()] == []
        assert reason in barman_home.run("wal-errors", server).ok().out
        kept = len(list(barman_home.path(server, "errors").glob("[!.]*")))
        assert f"archiver errors: FAILED (unknown: {kept}" in barman_home.run("check", server).out
    newest_pg.stop()  # what it said is recorded: nobody need ask again
    for push, system_id, rc in (("06", own, 0), ("07", 42, 1)):
        name = f"0000000100000000000000{push}"
        done = barman_home.run("put-wal", "pg", stdin=archive({name: segment(name, system_id=system_id, size=size)}))
        assert done.rc == rc
        assert (f"not {own}" in done.err) == (rc == 1)


MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
sys.stderr.write(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}\\n")
sys.exit(done.returncode)
"""
"""Between us and the process: a child inherits the peak of the process that forks it."""


def test_no_stream_makes_put_wal_large(barman_home: BarmanHome) -> None:
    """The memory of the process, as the system counts it: a stream that decodes to much, or never ends."""
    add(barman_home)
    barman_home.run("put-wal", "pg", stdin=archive({NAME: DATA})).ok()
    plain = zlib.compressobj(1, wbits=31)
    zeros = bytes(1 << 20)
    bomb = plain.compress(DATA) + b"".join(plain.compress(zeros) for _ in range(128)) + plain.flush()
    wide = lzma.compress(DATA + bytes(64 << 20), filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}])
    other = segment_name(6)
    for stream, message in (
        (archive({segment_name(5): bomb}), "longer than it should be"),
        (archive({segment_name(5): wide}), "longer than it should be"),
        (archive({"00000002.history": bomb}), "too long"),
        (archive({f"{NAME}.00000028.backup": bomb}), "too long"),
        (b"".join(pax({f"k{number}": "x" * 60000}, kind=b"g") for number in range(40)), "extended headers"),
        (member(other, DATA) + b"".join(sums({f"{n}{m}": b"" for m in range(900)}) for n in range(20)), "checksums"),
        (claimed(other, 1 << 30) + zeros * 110, "unexpected end"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *barman_home.argv("put-wal", "pg")],
            input=stream, env=barman_home.environment(), capture_output=True, check=False,
        )  # fmt: skip
        said, _, peak = done.stderr.decode().rstrip("\n").rpartition("\n")
        assert done.returncode == 1
        assert message in said
        assert int(peak) < 100 << 10, f"{peak} KB: {message}"
