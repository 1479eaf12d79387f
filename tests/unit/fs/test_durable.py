import os
import subprocess
import sys

import pytest

from barman.fs import copying, durable
from tests.support.needs import need_program, skip_if_not_traced, small_disk


def test_an_atomic_write_replaces_the_content_and_leaves_no_temporary(tmp_path):
    path = str(tmp_path / "file")
    durable.write_atomic(path, "one")
    durable.write_atomic(path, b"two", mode=0o640)
    assert (tmp_path / "file").read_bytes() == b"two"
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_write_leaves_the_old_content_and_no_temporary(tmp_path):
    path = str(tmp_path / "file")
    durable.write_atomic(path, "old")

    class Trouble(Exception):
        pass

    with pytest.raises(Trouble), durable.Temporary(path) as temporary:
        temporary.file.write(b"new")
        raise Trouble
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_publish_never_clobbers_a_name_that_exists(tmp_path):
    final = tmp_path / "000000010000000000000001"
    final.write_text("first")
    with durable.Temporary(str(final)) as temporary:
        temporary.file.write(b"second")
        temporary.commit_data()
        with pytest.raises(FileExistsError):
            temporary.publish()
    assert final.read_text() == "first"
    assert os.listdir(tmp_path) == [final.name]


def test_a_torn_last_line_is_cut_before_lines_are_appended(tmp_path):
    path = tmp_path / "index"
    path.write_bytes(b"one\ntwo\nthr")
    durable.append_lines(str(path), b"three\n")
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_torn_only_line_is_cut_too_even_when_it_is_long(tmp_path):
    path = tmp_path / "index"
    path.write_bytes(b"x" * 200_000)
    durable.append_lines(str(path), b"one\n")
    assert path.read_bytes() == b"one\n"


def test_move_refuses_to_clobber_and_keeps_both_files(tmp_path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        durable.move(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "a").read_text() == "a"
    assert (tmp_path / "b").read_text() == "b"


def test_make_directory_creates_parents_and_accepts_what_exists(tmp_path):
    path = str(tmp_path / "a" / "b" / "c")
    durable.make_directory(path)
    durable.make_directory(path)
    assert os.path.isdir(path)


def test_a_directory_with_content_is_not_removed(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    (tmp_path / "empty").mkdir()
    assert durable.remove_empty_directory(str(tmp_path / "full")) is False
    assert durable.remove_empty_directory(str(tmp_path / "empty")) is True
    assert durable.remove_empty_directory(str(tmp_path / "absent")) is False
    assert os.listdir(tmp_path) == ["full"]


def test_remove_tree_removes_a_link_and_not_what_it_points_to(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    durable.remove_tree(str(tmp_path / "link"))
    assert (tmp_path / "target" / "file").exists()


def test_only_temporaries_of_dead_writers_are_swept(tmp_path):
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead, alive = int(child.stdout), os.getpid()
    for name in (f".a.{dead}.tmp", f".b.{alive}.tmp", ".hidden", "plain.tmp"):
        (tmp_path / name).write_text("")
    assert durable.sweep_temporaries(str(tmp_path)) == 1
    assert sorted(os.listdir(tmp_path)) == sorted([f".b.{alive}.tmp", ".hidden", "plain.tmp"])


def test_data_is_synced_before_its_name_and_the_directory_after(tmp_path):
    """The order of system calls, as the kernel saw them."""
    trace = tmp_path / "trace"
    code = f"from barman.fs import durable; durable.write_atomic({str(tmp_path / 'file')!r}, 'x')"
    argv = [need_program("strace"), "-f", "-y", "-e", "trace=fsync,rename,renameat,renameat2", "-o", str(trace)]
    done = subprocess.run([*argv, sys.executable, "-c", code], check=False, capture_output=True)
    if done.returncode != 0:
        skip_if_not_traced(done.stderr)
    assert done.returncode == 0, done.stderr
    calls = [line for line in trace.read_text().splitlines() if str(tmp_path) in line]
    assert [("fsync" in calls[0]), ("rename" in calls[1]), ("fsync" in calls[2])] == [True, True, True]
    assert ".tmp>" in calls[0]
    assert f"<{tmp_path}>" in calls[2]


def test_a_full_disk_leaves_the_index_as_it_was(tmp_path):
    path = tmp_path / "index"
    path.write_bytes(b"one\n")
    code = (
        "import resource, signal, sys\nfrom barman.fs import durable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (6, 6))\n"
        f"try:\n    durable.append_lines({str(path)!r}, b'two\\nthree\\n')\nexcept OSError:\n    sys.exit(3)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 3
    assert path.read_bytes() == b"one\n"


@pytest.mark.parametrize(
    "write",
    [
        lambda path, source: durable.write_atomic(path, source.read_bytes()),
        lambda path, source: durable.append_lines(path, source.read_bytes()),
        lambda path, source: durable.copy_file(str(source), path),
        lambda path, source: copying.copy_file(str(source), path),
    ],
    ids=["write_atomic", "append_lines", "durable copy", "fast copy"],
)
def test_a_full_disk_is_told_with_the_file_that_was_written(tmp_path, write):
    (tmp_path / "source").write_bytes(bytes(1 << 20))
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, "256k"):
        with pytest.raises(OSError, match="No space left on device") as caught:
            write(str(disk / "file"), tmp_path / "source")
        assert os.path.basename(caught.value.filename).lstrip(".").startswith("file")
