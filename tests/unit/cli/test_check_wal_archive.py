"""`check-wal-archive` on a server that nobody has used yet."""

from tests.support.offline import OfflineHome


def test_an_archive_that_does_not_exist_yet_is_empty(tmp_path):
    home = OfflineHome(tmp_path)
    with home.config_file.open("a") as file:
        file.write("[new]\nbackup_method = postgres\narchiver = on\nconninfo = host=/nonexistent\n")
    done = home.run("check-wal-archive", "new")
    assert (done.rc, done.out) == (0, "Server new:\n - WAL archive check for server new passed\n"), done.said
