import pytest

from barman.restore.remote.transfer import FLAT_FILES_FLAGS, TREE_ENTRIES_FLAGS, transfer_of
from barman.restore.request import RestoreRequest
from barman.transport.host import ssh_host
from barman.values import replace

REQUEST = RestoreRequest("latest", "/dest", jobs=3, bandwidth_limit=1000, retry_times=2, network_compression=True)
HOST = ssh_host("ssh pg@db")


@pytest.mark.parametrize(("jobs", "count"), [(3, 9), (3, 2), (1, 5)])
def test_what_runs_at_once_keeps_one_limit(jobs, count):
    transfer = transfer_of(replace(REQUEST, jobs=jobs), "rsync", None)
    one = transfer.job(HOST, "/b", "/dest", ["x"], TREE_ENTRIES_FLAGS, "x")
    limited = transfer.limited([one] * count, [1000] * count)
    at_once = min(jobs, count)
    assert all(sum(job.bandwidth_limit for job in limited[start:][:at_once]) <= 1000 for start in range(count))
    assert transfer.limited([one], [None])[0].bandwidth_limit is None


def test_rsync_is_told_what_is_in_the_plan_and_nothing_else():
    transfer = transfer_of(REQUEST, "rsync", None)
    job = transfer.job(HOST, "/b/it's", "/dest/$(id)", ["a", "b\nc"], TREE_ENTRIES_FLAGS, "x")
    argv = job.argv()
    assert argv[-3:] == ["--", "/b/it's/", ":/dest/$(id)/"]
    assert "-lpts" in argv
    assert "-z" in argv
    assert not [word for word in argv if word.startswith(("--delete", "--ignore-missing"))]
    assert job.stdin == b"a\0b\nc\0"
    assert "r" not in TREE_ENTRIES_FLAGS + FLAT_FILES_FLAGS
    assert transfer.options.retries == 2


def test_compressed_wal_is_decoded_where_the_configuration_says(monkeypatch):
    assert transfer_of(replace(REQUEST, staging_path="/stage"), "rsync", None).staging == "/stage"
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert transfer_of(REQUEST, "rsync", None).staging == "/elsewhere"
    monkeypatch.delenv("TMPDIR")
    assert transfer_of(REQUEST, "rsync", None).staging == "/tmp"
