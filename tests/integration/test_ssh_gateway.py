"""A key with `command="barman-ssh-gateway pg",restrict` on a real sshd: the clients work, nothing else does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from barman.cli.gateway import REFUSED
from tests.support.fix_postgres import REPOSITORY
from tests.support.fix_sshd import USER
from tests.support.fix_upstream import find_upstream
from tests.support.fix_wal_clients import HOST, WalLink
from tests.support.tar_builder import archive
from tests.support.wal_files import segment, segment_name

NAMES = [segment_name(number) for number in range(1, 13)]


@pytest.fixture
def gateway(wal_link: WalLink) -> WalLink:
    """A Barman host with two servers, reached with a key that is for one of them."""
    for name in ("pg", "other"):
        wal_link.home.add_server(name, archiver="on", conninfo="host=/nonexistent", compression="gzip")
        wal_link.home.path(name, "incoming").mkdir(parents=True)
    wal_link.home.run("put-wal", "other", stdin=archive({NAMES[0]: segment(NAMES[0], seed=9)})).ok()
    wal_link.settle()
    program = wal_link.directory / "barman-ssh-gateway"
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH={REPOSITORY}; export PYTHONPATH\n"
        f'exec {shutil.which(sys.executable)} -m barman.cli.gateway "$@"\n'
    )
    program.chmod(0o755)
    sshd = wal_link.sshd
    key = sshd.identity.with_name("id_ed25519.pub").read_text()
    sshd.authorize(f'command="{program} --config {wal_link.home.config_file} pg",restrict {key}')
    del sshd.settings["ForceCommand"]
    sshd.settings["Subsystem"] = "sftp internal-sftp"
    sshd.restart()
    return wal_link


@pytest.fixture
def wals(gateway: WalLink) -> Path:
    """A pg_wal whose segments are all ready to be archived."""
    directory = gateway.directory / "pg_wal"
    (directory / "archive_status").mkdir(parents=True)
    for name in NAMES:
        (directory / name).write_bytes(segment(name))
        (directory / "archive_status" / f"{name}.ready").touch()
    for path in (directory, *directory.rglob("*")):
        shutil.chown(path, USER)
    return directory


def restore(link: WalLink, program: str, name: str, *options: str) -> bytes:
    target = link.directory / "pg_wal" / "restored"
    link.run(program, *options, HOST, "pg", name, str(target)).ok()
    return target.read_bytes()


def test_everything_that_the_clients_do_passes_the_gateway(gateway: WalLink, wals: Path) -> None:
    link, config = gateway, str(gateway.home.config_file)
    spool, cache = str(wals / "spool"), str(wals / "cache")
    sent = iter(NAMES)
    assert "Ready to accept WAL files" in link.run("barman-wal-archive", "--test", HOST, "pg", "DUMMY").ok().out
    tested = link.run("barman-wal-restore", "--test", "-c", config, HOST, "pg", "DUMMY", "DUMMY").ok()
    assert "Ready to retrieve WAL files" in tested.out
    for options in ((), ("--md5", "-z"), ("--zstd", "-c", config), ("--keep-connection", "1")):
        link.run("barman-wal-archive", *options, HOST, "pg", str(wals / next(sent))).ok()
    along = link.run("barman-wal-archive", "-p", "4", "--prefetch-cache-dir", cache, HOST, "pg", str(wals / next(sent)))
    assert along.ok().err == ""
    archived = link.barman("archive-wal", "pg").ok().out
    assert [name for name in NAMES if name in archived] == NAMES[:8]
    assert link.home.log_text().count("was refused by the ssh gateway") == 0
    for name, options in zip(
        NAMES, (("-P",), ("-z",), ("-j",), ("--keep-compression",), ("-p", "3", "--spool-dir", spool)), strict=False
    ):
        assert restore(link, "barman-wal-restore", name, *options) == segment(name)
    missing = link.run("barman-wal-restore", HOST, "pg", segment_name(99), str(wals / "missing"))
    assert missing.rc == 1
    assert f"WAL file '{segment_name(99)}' not found in server 'pg'" in missing.err


def test_the_clients_of_the_original_pass_the_gateway(gateway: WalLink, wals: Path) -> None:
    link, config = gateway, str(gateway.home.config_file)
    programs = Path(find_upstream()).parent
    for program in ("archive", "restore"):
        script = link.directory / f"original-{program}"
        script.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {programs}/barman-wal-{program} "$@"\n')
        script.chmod(0o755)
    assert "Ready to accept" in link.run("original-archive", "-t", "-c", config, HOST, "pg", "DUMMY").ok().out
    assert "Ready to retrieve" in link.run("original-restore", "-t", HOST, "pg", "DUMMY", "DUMMY").ok().out
    for name, options in zip(NAMES, ((), ("--md5", "-z"), ("-c", config)), strict=False):
        link.run("original-archive", *options, HOST, "pg", str(wals / name)).ok()
    link.barman("archive-wal", "pg").ok()
    spool = str(wals / "spool")
    for name, options in zip(
        NAMES, (("-P", "-c", config), ("--keep-compression",), ("-z", "-p", "2", "--spool-dir", spool)), strict=False
    ):
        assert restore(link, "original-restore", name, *options) == segment(name)
    assert link.run("original-archive", HOST, "other", str(wals / NAMES[0])).rc == REFUSED
    # PostgreSQL stops at a code above 125: a key with the wrong server name never promotes it.
    assert link.run("original-restore", HOST, "other", NAMES[0], str(wals / "x")).rc == REFUSED


def test_whoever_has_the_key_can_do_nothing_else(gateway: WalLink, wals: Path) -> None:
    """Promise P26: every way out of the key that ssh knows, and no file of the Barman host changes."""
    link = gateway
    link.run("barman-wal-archive", HOST, "pg", str(wals / NAMES[0])).ok()
    before = everything(link)

    def as_intruder(*argv: str, stdin: bytes = b"") -> tuple[int, str]:
        done = subprocess.run(
            [str(link.directory / "ssh"), *argv] if argv[0] == HOST or argv[0].startswith("-") else list(argv),
            input=stdin, capture_output=True, check=False, timeout=60,
            env={**os.environ, "PATH": f"{link.directory}:{os.environ['PATH']}"},
            **({"user": USER, "group": None, "extra_groups": []} if os.geteuid() == 0 else {}),
        )  # fmt: skip
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    for command in (
        "id", "", "barman put-wal pg; touch /tmp/owned", "barman wal-errors pg --drop all",
        f"barman get-wal other {NAMES[0]}", f"barman get-wal -o {link.home.home} pg {NAMES[0]}",
        f"barman get-wal pg ../../other/incoming/{NAMES[0]}",
    ):  # fmt: skip
        code, said = as_intruder(HOST, *([command] if command else []))
        assert code == REFUSED, command
        assert "was refused by the ssh gateway of server 'pg'" in said
        assert "uid=" not in said
    assert as_intruder(HOST, "barman put-wal other", stdin=archive({NAMES[2]: segment(NAMES[2])}))[0] == REFUSED
    code, said = as_intruder(HOST, "barman put-wal pg", stdin=archive({NAMES[0]: segment(NAMES[0], seed=1)}))
    assert code == 1
    assert "another content" in said
    incoming = link.home.path("pg", "incoming")
    batch = link.directory / "batch"
    batch.write_text(f"put {wals / NAMES[1]} {incoming}/\n")
    for argv in (
        ("rsync", "-a", "--delete", str(wals) + "/", f"{HOST}:{link.home.home}/"),
        ("sftp", "-S", str(link.directory / "ssh"), "-b", str(batch), HOST),
        ("-W", f"127.0.0.1:{link.sshd.port}", HOST),
        ("-tt", HOST),
    ):
        code, said = as_intruder(*argv)
        assert code != 0, said
    after = everything(link)
    new = {path: after.pop(path) for path in set(after) - set(before)}
    assert after == before
    errors = str(link.home.path("pg", "errors"))
    assert {os.path.dirname(path) for path in new} == {errors}
    assert not os.path.exists("/tmp/owned")
    assert "'id' was refused by the ssh gateway of server 'pg'" in link.home.log_text()
    assert "(SSH host: 127.0.0.1)" in link.home.log_text()


def everything(link: WalLink) -> dict[str, bytes]:
    """Every file of the Barman home but locks."""
    files = (path for path in link.home.home.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path): path.read_bytes() for path in files}
