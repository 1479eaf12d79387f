import subprocess

import pytest

from barman.transport.rsync import Ending, Item, RsyncJob, judge, literal, parse_item, parse_version, remote_shell
from tests.support.needs import need_program

SUMMARY_23 = (
    "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1852) "
    "[generator=3.2.7]"
)


def test_the_argument_vector_of_a_backup():
    job = RsyncJob(
        source=":/pgdata/",
        destination="/backup/data",
        shell="'ssh' 'db1'",
        filters=("- /pg_wal/*", "P /x"),
        names=("a", "b c"),
        reuse="link",
        reference="/old/data",
        bandwidth_limit=100,
        compress=True,
        checksum=True,
        delete=True,
        silence_seconds=60,
    )
    argv = job.argv("/usr/bin/rsync")
    assert argv[:4] == ["/usr/bin/rsync", "-e", "'ssh' 'db1'", "-rLKpts"]
    assert argv[-3:] == ["--", ":/pgdata/", "/backup/data"]
    for word in [
        "-z",
        "--checksum",
        "--inplace",
        "--delete",
        "--delete-excluded",
        "--filter=- /pg_wal/*",
        "--filter=P /x",
    ]:
        assert word in argv
    for word in ["--link-dest=/old/data", "--files-from=-", "--from0", "--bwlimit=100", "--timeout=60"]:
        assert word in argv


def test_a_plain_job_has_no_switches_it_does_not_need():
    argv = RsyncJob("/a/", "/b").argv()
    assert not [
        word for word in argv if word.startswith(("-e", "-z", "--bw", "--link", "--copy", "--delete", "--files"))
    ]


@pytest.mark.parametrize(
    ("line", "item"),
    [
        (">f+++++++++ 2 45 sub/f1", Item(">f+++++++++", 2, 45, "sub/f1")),
        ("*deleting   0 0 a b", Item("*deleting", 0, 0, "a b")),
        (".d          4096 0 ./", Item(".d", 4096, 0, "./")),
        ("cL+++++++++ 2 0 l", Item("cL+++++++++", 2, 0, "l")),
        ("<f.st...... 10 7 name with  blanks", Item("<f.st......", 10, 7, "name with  blanks")),
        (">f+++++++++ 1 1 odd\\#012name", Item(">f+++++++++", 1, 1, "odd\nname")),
    ],
)
def test_a_line_about_a_path_is_read(line, item):
    assert parse_item(line) == item


@pytest.mark.parametrize(
    "line", ["", "sending incremental file list", "sent 167 bytes  received 110 bytes", "Welcome to db1"]
)
def test_other_lines_are_nothing(line):
    assert parse_item(line) is None


@pytest.mark.parametrize(
    ("status", "stderr", "ending"),
    [
        (0, "", Ending.GOOD),
        (24, 'file has vanished: "/a"', Ending.GOOD),
        (23, f'file has vanished: "/a"\n{SUMMARY_23}', Ending.GOOD),
        (23, f'directory has vanished: "/a"\nx: No data available (61)\n{SUMMARY_23}', Ending.GOOD),
        (23, f'rsync: [sender] send_files failed to open "/a": Permission denied (13)\n{SUMMARY_23}', Ending.FATAL),
        (23, f'file has vanished: "/b"\nsymlink has no referent: "/a"\n{SUMMARY_23}', Ending.FATAL),
        (23, SUMMARY_23, Ending.FATAL),
        (23, "", Ending.FATAL),
        (11, 'rsync: write failed on "/x": No space left on device (28)', Ending.FATAL),
        (12, "rsync: connection unexpectedly closed (0 bytes received so far) [Receiver]", Ending.TRANSIENT),
        (12, 'write failed on "/x": No space left on device (28)', Ending.FATAL),
        (12, "bash: line 1: rsync: command not found\nrsync: connection unexpectedly closed", Ending.FATAL),
        (12, "sh: 1: rsync: not found\nrsync: connection unexpectedly closed", Ending.FATAL),
        (127, "", Ending.FATAL),
        (255, "ssh: connect to host db1 port 22: Connection refused", Ending.TRANSIENT),
        (30, "rsync error: timeout in data send/receive", Ending.TRANSIENT),
        (2, "protocol version mismatch -- is your shell clean?", Ending.FATAL),
        (1, "rsync: --nonsense: unknown option", Ending.FATAL),
        (-9, "", Ending.FATAL),
    ],
)
def test_an_ending_has_a_meaning(status, stderr, ending):
    assert judge(status, stderr).ending is ending


def test_vanished_files_are_named():
    assert judge(24, 'file has vanished: "/a b"\nfile has vanished: "/c"').vanished == ("/a b", "/c")


def test_the_reason_is_the_line_that_says_why():
    verdict = judge(
        12,
        "bash: line 1: rsync: command not found\n"
        "rsync: connection unexpectedly closed (0 bytes received so far) [Receiver]\n"
        "rsync error: error in rsync protocol data stream (code 12) at io.c(231) [Receiver=3.2.7]",
    )
    assert verdict.reason.endswith("rsync: command not found")
    assert "Install rsync" in verdict.hint


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("rsync  version 3.2.7  protocol version 31\n", (3, 2, 7)),
        ("rsync  version v3.4.1  protocol version 32\n", (3, 4, 1)),
        ("rsync  version 3.1  protocol version 31", (3, 1, 0)),
        ("openrsync: protocol version 29\nrsync version 2.6.9 compatible\n", None),
        ("command not found", None),
    ],
)
def test_a_version_is_read(text, version):
    assert parse_version(text) == version


@pytest.mark.parametrize("word", ["a b", "it's", '"q"', "", "a'b'' c", "\\", "$x", "-i"])
def test_rsync_splits_the_remote_shell_into_the_words_it_was_made_of(tmp_path, word):
    need_program("rsync")
    shell = tmp_path / "shell"
    shell.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" > "{tmp_path}/words"\nexit 1\n')
    shell.chmod(0o755)
    value = remote_shell([str(shell), "first", word, "last"])
    subprocess.run(["rsync", "-e", value, ":/x", str(tmp_path / "y")], capture_output=True, check=False)
    assert (tmp_path / "words").read_bytes().decode().split("\0")[:3] == ["first", word, "last"]


@pytest.mark.parametrize("name", ["a*b", "a?b", "[ab]", "a\\b", "a\\*b", "a b", "**", "-x", "+ x", "é"])
def test_a_literal_pattern_matches_one_path_only(tmp_path, name):
    need_program("rsync")
    source = tmp_path / "s"
    source.mkdir()
    for other in [name, "axb", "a", "b", "aXXb", "ab"]:
        (source / other).touch()
    expected = sorted({path.name for path in source.iterdir()} - {name})
    job = RsyncJob(f"{source}/", str(tmp_path / "d"), filters=(f"- {literal('/' + name)}",))
    subprocess.run(job.argv(), check=True, capture_output=True)
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == expected
