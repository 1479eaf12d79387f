import os
import random
import subprocess

import pytest

from barman.backup.listing import Listing, find_argv, only_vanished, parse_find, parse_rsync
from barman.errors import BackupError
from tests.support.needs import need_program


def list_tree(root, pruned=(), only=""):
    done = subprocess.run(find_argv(str(root), pruned, only), capture_output=True, check=True)
    return parse_find(done.stdout)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "it's [a] tree"
    (root / "base" / "1").mkdir(parents=True)
    (root / "empty").mkdir(mode=0o700)
    for name in ["base/1/1259", "a b", "c\nd", "é", os.fsdecode(b"\xff\xfe"), "-n", "back\\slash", "#1"]:
        (root / name).write_bytes(random.Random(1).randbytes(len(name) * 100))
        os.utime(root / name, ns=(0, 1_700_000_000_123_456_789 + len(name)))
    (root / "base/1/1259").chmod(0o640)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("x")
    (root / "pg_wal").symlink_to(tmp_path / "elsewhere")
    (root / "dangling").symlink_to("/nowhere")
    os.mkfifo(root / "pipe")
    return root


def test_a_tree_is_listed_whole_and_links_are_followed(tree):
    found = list_tree(tree)
    assert set(found.files) == {
        "base/1/1259", "a b", "c\nd", "é", os.fsdecode(b"\xff\xfe"), "-n", "back\\slash", "#1", "pg_wal/file",
    }  # fmt: skip
    assert set(found.directories) == {"base", "base/1", "empty", "pg_wal"}
    assert set(found.others) == {"dangling", "pipe"}
    for path, file in found.files.items():
        status = os.stat(tree / path)
        assert (file.size, file.mtime_ns, file.mode) == (status.st_size, status.st_mtime_ns, status.st_mode & 0o7777)
    assert found.directories["empty"] == 0o700
    assert found.size == sum(file.size for file in found.files.values())


@pytest.mark.parametrize("noise", [b"Welcome\n", b"Welcome to db\n", b"\n", b"x\0"])
def test_what_a_shell_says_before_a_list_is_not_taken_for_a_file(noise):
    with pytest.raises(BackupError, match="cannot read the list of files") as raised:
        parse_find(noise + b"f 600 1 1700000000.0 a\0f 600 1 1700000000.0 b\0")
    assert "must print nothing" in raised.value.hint


def test_pruned_directories_are_not_entered(tree):
    found = list_tree(tree, ["base/1", "pg_wal"])
    assert not [path for path in found.files if path.startswith(("base", "pg_wal"))]
    assert "base" in found.directories


def test_a_data_directory_that_is_a_link_is_listed(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree)
    assert list_tree(tmp_path / "link").files == list_tree(tree).files


def test_rsync_lists_the_same_in_whole_seconds(tree):
    need_program("rsync")
    argv = ["rsync", "-rL", "--list-only", "--no-human-readable", f"{tree}/"]
    (tree / "dangling").unlink()
    done = subprocess.run(argv, capture_output=True, check=True, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"})
    one, other = list_tree(tree), parse_rsync(done.stdout)
    assert {path: (file.size, file.second, file.mode) for path, file in other.files.items()} == {
        path: (file.size, file.second, file.mode) for path, file in one.files.items()
    }
    assert other.directories == one.directories


@pytest.mark.parametrize(
    "output", [b"f 644 1 2.0 a", b"f 644 1 2.0 a\0f 644", b"hello\0", b"f x y z a\0", b"Welcome\n"]
)
def test_what_is_no_list_is_an_error(output):
    with pytest.raises(BackupError):
        parse_find(output)


def test_an_empty_tree_is_empty():
    assert parse_find(b"") == Listing()


def test_files_that_went_away_are_no_failure():
    assert only_vanished("find: '/a/b': No such file or directory\n", "/a")
    assert not only_vanished("find: '/a/b': Permission denied\nfind: '/c': No such file or directory\n", "/a")
    assert not only_vanished("", "/a")


def test_a_root_that_is_gone_is_a_failure():
    done = subprocess.run(find_argv("/nowhere/at all"), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert not only_vanished(done.stderr, "/nowhere/at all")


def test_only_what_is_asked_for_is_entered(tree):
    (tree / "PG_15_1" / "x").mkdir(parents=True)
    (tree / "PG_15_1" / "x" / "file").touch()
    found = list_tree(tree, only="PG_15_*")
    assert set(found.directories) == {"PG_15_1", "PG_15_1/x"}
    assert set(found.files) == {"PG_15_1/x/file"}
