import os

import pytest

from barman.fs import copying


@pytest.mark.parametrize("size", [0, 1, 8192, 3_000_001])
def test_a_copy_has_content_mode_and_time_of_its_source(tmp_path, size):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(size))
    source.chmod(0o640)
    os.utime(source, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    assert copying.copy_file(str(source), str(target)) == size
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o640
    assert target.stat().st_mtime_ns == 1_600_000_000_123_456_789


@pytest.mark.parametrize("method", [copying._by_range, copying._by_sendfile, copying._by_hand])
def test_every_way_of_copying_copies(tmp_path, method):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(2_500_000))
    reader, writer = os.open(source, os.O_RDONLY), os.open(target, os.O_WRONLY | os.O_CREAT)
    try:
        assert method(reader, writer) == 2_500_000
    finally:
        os.close(reader)
        os.close(writer)
    assert target.read_bytes() == source.read_bytes()


def test_an_old_longer_file_leaves_nothing_behind(tmp_path):
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"old and longer")
    copying.copy_file(str(tmp_path / "source"), str(tmp_path / "target"))
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_link_at_the_target_is_not_followed(tmp_path):
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "target").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        copying.copy_file(str(tmp_path / "source"), str(tmp_path / "target"))
    with pytest.raises(OSError, match="symbolic links"), copying.new_file(str(tmp_path / "target")):
        pass
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_link_is_copied_as_a_link_and_again(tmp_path):
    (tmp_path / "link").symlink_to("somewhere")
    for _ in range(2):
        copying.copy_link(str(tmp_path / "link"), str(tmp_path / "copy"))
    assert os.readlink(tmp_path / "copy") == "somewhere"


def test_a_directory_may_exist_but_a_link_to_one_is_none(tmp_path):
    copying.ensure_directory(str(tmp_path / "new"))
    copying.ensure_directory(str(tmp_path / "new"))
    (tmp_path / "link").symlink_to(tmp_path / "new")
    with pytest.raises(FileExistsError):
        copying.ensure_directory(str(tmp_path / "link"))


def test_a_tree_is_synced_either_way(tmp_path):
    (tmp_path / "root" / "below").mkdir(parents=True)
    (tmp_path / "root" / "below" / "file").write_bytes(b"x")
    copying.sync_places([str(tmp_path / "root")], 2)
    copying._sync_each(str(tmp_path / "root"), 2)
    with pytest.raises(FileNotFoundError):
        copying.sync_places([str(tmp_path / "absent")], 2)
