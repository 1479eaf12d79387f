import os

from barman.fs.comparing import copy_if_different, has_same_content


def test_only_a_file_that_differs_is_written_and_its_other_names_keep_what_they_have(tmp_path):
    source, target, other = tmp_path / "source", tmp_path / "target", tmp_path / "other"
    source.write_bytes(b"x" * 3_000_000)
    os.chmod(source, 0o640)
    os.utime(source, (1, 1))
    assert copy_if_different(str(source), str(target)) == 3_000_000
    inode = target.stat().st_ino
    os.utime(target, (2, 2))
    assert copy_if_different(str(source), str(target)) == 0
    assert (target.stat().st_ino, target.stat().st_mtime, target.stat().st_mode & 0o777) == (inode, 1, 0o640)
    os.link(target, other)
    changed = b"x" * 2_999_999 + b"y"
    source.write_bytes(changed)
    os.utime(source, (1, 1))
    assert copy_if_different(str(source), str(target)) == 3_000_000
    assert target.read_bytes() == changed
    assert other.read_bytes() == b"x" * 3_000_000


def test_a_link_or_pipe_is_not_the_file_and_nothing_is_written_through_it(tmp_path):
    source = tmp_path / "source"
    source.write_text("new")
    (tmp_path / "real").write_text("new")
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "missing"):
        assert not has_same_content(str(source), str(tmp_path / name))
    assert copy_if_different(str(source), str(tmp_path / "link")) == 3
    assert not (tmp_path / "link").is_symlink()
    (tmp_path / "real").write_text("old")
    assert (tmp_path / "link").read_text() == "new"
