import os

import pytest

from barman.postgres.data_directory import (
    enclosing_data_directory,
    is_data_directory,
    is_left_out_of_restore,
    postmaster_pid,
)


@pytest.mark.parametrize(
    "path",
    ["log/x", "pg_log/x", "pg_wal/0001", "pg_xlog/a/b", "postmaster.pid", "recovery.conf", "tablespace_map"],
)
def test_what_belongs_to_another_life_is_left_out(path):
    assert is_left_out_of_restore(path)


@pytest.mark.parametrize("path", ["standby.signal", "recovery.signal"])
def test_a_backup_of_a_standby_is_no_standby_when_it_is_restored(path):
    assert is_left_out_of_restore(path)


@pytest.mark.parametrize("path", ["log", "pg_wal", "base/postmaster.pid", "postgresql.conf", "backup_label", "logs/x"])
def test_everything_else_goes_along(path):
    assert not is_left_out_of_restore(path)


def test_a_cluster_is_recognised_from_below(tmp_path):
    cluster = tmp_path / "cluster"
    (cluster / "global").mkdir(parents=True)
    assert not is_data_directory(str(cluster))
    (cluster / "PG_VERSION").write_text("15\n")
    assert is_data_directory(str(cluster))
    assert enclosing_data_directory(str(cluster / "base" / "x")) == str(cluster)
    assert enclosing_data_directory(str(cluster)) is None


def test_the_pid_of_a_server_is_read_and_garbage_is_none(tmp_path):
    assert postmaster_pid(str(tmp_path)) is None
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n/data\n")
    assert postmaster_pid(str(tmp_path)) == os.getpid()
    (tmp_path / "postmaster.pid").write_text("what\n")
    assert postmaster_pid(str(tmp_path)) is None
