"""rsync over a real sshd: what it copies, what its endings mean, and its bad days."""

import os
import random
import threading
import time
from pathlib import Path

import pytest

from barman.clock import Deadline
from barman.errors import CommandFailed, DeadlineExceeded
from barman.transport.host import Host, local_host, ssh_host
from barman.transport.rsync import NAMED_FILES_FLAGS, TREE_FLAGS, Item, RsyncCopy, RsyncJob, find_rsync_version
from tests.support.fix_postgres import wait_until
from tests.support.fix_sshd import Sshd


@pytest.fixture
def source(tmp_path: Path, sshd: Sshd) -> Path:
    """A directory on the other host, with names that shells dislike."""
    root = sshd.directory / "it's a source $x"
    (root / "sub dir").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "sub dir" / "a'b\"c").write_bytes(random.Random(1).randbytes(100_000))
    (root / "plain").write_text("x")
    (root / os.fsdecode(b"\xff")).write_text("not UTF-8")
    return root


def copy(
    host: Host, source: Path, target: Path, *, retries: int = 0, pause: float = 0.1, **options: object
) -> RsyncCopy:
    job = RsyncJob(host.rsync_path(f"{source}/"), str(target), host.rsync_shell, **options)  # type: ignore[arg-type]  # any field
    run = RsyncCopy(job)
    run.run(retries=retries, pause=pause)
    return run


def tree(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))
    }


@pytest.mark.parametrize("kind", ["local", "ssh"])
def test_a_tree_is_copied_whole(sshd: Sshd, source: Path, tmp_path: Path, kind: str) -> None:
    host = ssh_host(sshd.command) if kind == "ssh" else local_host()
    items: list[Item] = []
    job = RsyncJob(host.rsync_path(f"{source}/"), str(tmp_path / "copy"), host.rsync_shell)
    result = RsyncCopy(job, on_item=items.append).run()
    assert tree(tmp_path / "copy") == tree(source)
    assert (result.files, result.attempts, result.vanished) == (3, 1, ())
    assert result.travelled >= 100_000
    assert "sub dir/a'b\"c" in [item.name for item in items]


def test_a_tree_is_sent_to_the_other_host(sshd: Sshd, source: Path) -> None:
    place = sshd.directory / "place"
    place.mkdir()
    place.chmod(0o777)
    target = place / "the target"
    host = ssh_host(sshd.command)
    host.files.make_directory(str(target))
    job = RsyncJob(f"{source}/", host.rsync_path(f"{target}/"), host.rsync_shell, flags=TREE_FLAGS)
    RsyncCopy(job).run()
    assert tree(target) == tree(source)


def test_named_files_are_copied_and_missing_ones_are_no_error(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    names = ("plain", "sub dir/a'b\"c", "gone", os.fsdecode(b"\xff"))
    copy(ssh_host(sshd.command), source, tmp_path / "copy", names=names, flags=NAMED_FILES_FLAGS)
    assert set(tree(tmp_path / "copy")) == {"plain", "sub dir", "sub dir/a'b\"c", os.fsdecode(b"\xff")}


def test_unchanged_files_are_linked_to_the_reference(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    host = ssh_host(sshd.command)
    copy(host, source, tmp_path / "one")
    (source / "plain").write_text("changed")
    copy(host, source, tmp_path / "two", reuse="link", reference=str(tmp_path / "one"))
    assert (tmp_path / "two/sub dir/a'b\"c").samefile(tmp_path / "one/sub dir/a'b\"c")
    assert not (tmp_path / "two/plain").samefile(tmp_path / "one/plain")
    assert (tmp_path / "one/plain").read_text() == "x"


def test_a_host_without_rsync_is_told_apart_and_not_tried_again(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    sshd.behave(
        'PATH=/nowhere; export PATH; case $SSH_ORIGINAL_COMMAND in rsync*) eval "$SSH_ORIGINAL_COMMAND"; exit;; esac'
    )
    sshd.restart()
    host = ssh_host(sshd.command)
    with pytest.raises(CommandFailed, match="rsync: not found") as caught:
        copy(host, source, tmp_path / "copy", retries=5, pause=60)
    assert "Install rsync" in caught.value.hint
    with pytest.raises(CommandFailed, match="no usable rsync"):
        find_rsync_version(host.link)


def test_the_version_on_both_sides_is_found(sshd: Sshd) -> None:
    assert find_rsync_version(ssh_host(sshd.command).runner) == find_rsync_version(local_host().runner) >= (3, 1)


def test_a_shell_that_talks_is_said_to_talk(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    sshd.behave("echo Welcome to this host, which is property of somebody")
    sshd.restart()
    with pytest.raises(CommandFailed) as caught:
        copy(ssh_host(sshd.command), source, tmp_path / "copy")
    assert "must print nothing" in caught.value.hint


def test_an_unreadable_file_is_a_failure_that_names_it(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    (source / "secret").write_text("x")
    (source / "secret").chmod(0)
    with pytest.raises(CommandFailed, match=r"secret.*Permission denied"):
        copy(ssh_host(sshd.command), source, tmp_path / "copy", retries=5, pause=60)


def test_a_missing_source_is_a_failure(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="No such file or directory"):
        copy(ssh_host(sshd.command), source / "nothing", tmp_path / "copy", ignore_missing=False)


def test_an_unreachable_host_is_tried_as_often_as_asked(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    sshd.stop()
    with pytest.raises(CommandFailed, match=r"Connection refused.*attempt 3"):
        copy(ssh_host(sshd.command), source, tmp_path / "copy", retries=2)


def test_a_copy_that_is_cut_goes_on_in_the_next_attempt(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    (source / "big").write_bytes(os.urandom(3_000_000))
    cuts: list[int] = []

    def cut() -> None:
        wait_until(lambda: list((tmp_path / "copy").glob("*big*")), "the copy has begun")
        cuts.append(sshd.cut())

    thread = threading.Thread(target=cut)
    thread.start()
    host = ssh_host(sshd.command)
    job = RsyncJob(
        host.rsync_path(f"{source}/"), str(tmp_path / "copy"), host.rsync_shell, bandwidth_limit=1500, label="the data"
    )
    result = RsyncCopy(job).run(retries=2, pause=0.1)
    thread.join()
    assert cuts[0] > 0
    assert result.attempts == 2
    assert tree(tmp_path / "copy") == tree(source)


def slow_job(host: Host, source: Path, target: Path) -> RsyncJob:
    (source / "big").write_bytes(os.urandom(5_000_000))
    return RsyncJob(host.rsync_path(f"{source}/"), str(target), host.rsync_shell, bandwidth_limit=200, label="the data")


def test_a_copy_ends_at_its_deadline(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="the data"):
        RsyncCopy(slow_job(ssh_host(sshd.command), source, tmp_path / "copy")).run(deadline=Deadline(1.5))
    assert time.monotonic() - began < 8


def test_a_copy_is_cancelled_by_another_thread(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    run = RsyncCopy(slow_job(ssh_host(sshd.command), source, tmp_path / "copy"))
    threading.Timer(1, run.cancel).start()
    began = time.monotonic()
    with pytest.raises(CommandFailed, match="the data was cancelled"):
        run.run(retries=5)
    assert time.monotonic() - began < 8


def test_a_file_that_vanishes_while_it_is_copied_is_no_failure(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    (source / "a-big").write_bytes(os.urandom(2_000_000))
    (source / "z-gone").write_text("x")

    def remove() -> None:
        wait_until(lambda: list((tmp_path / "copy").glob("*a-big*")), "the copy has begun")
        (source / "z-gone").unlink()

    thread = threading.Thread(target=remove)
    thread.start()
    host = ssh_host(sshd.command)
    job = RsyncJob(host.rsync_path(f"{source}/"), str(tmp_path / "copy"), host.rsync_shell, bandwidth_limit=1000)
    result = RsyncCopy(job).run()
    thread.join()
    assert [os.path.basename(name) for name in result.vanished] == ["z-gone"]
