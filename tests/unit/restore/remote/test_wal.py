import os
import stat

import pytest

from barman.fs import staging
from barman.restore.remote.wal import divide, room_needed
from barman.restore.step import WalDelivery

MB = 1 << 20


def deliveries(count, size=16 * MB):
    return [WalDelivery(f"/wals/{number}", str(number), size) for number in range(count)]


@pytest.mark.parametrize(("count", "workers"), [(0, 2), (1, 2), (5, 2), (100, 2), (7, 3), (1000, 4)])
def test_portions_hold_every_file_once_keep_all_workers_busy_and_fit_into_the_stage(count, workers):
    files = deliveries(count)
    portions = list(divide(files, workers))
    assert [file for portion in portions for file in portion] == files
    assert len(portions) >= min(count, workers)
    assert max((len(portion) for portion in portions), default=0) <= 16
    assert room_needed(files, workers) <= workers * 256 * MB


def test_a_segment_larger_than_a_portion_travels_alone():
    files = deliveries(4, 1024 * MB)
    assert [len(portion) for portion in divide(files, 2)] == [1, 1, 1, 1]
    assert room_needed(files, 2) == 2048 * MB
    assert room_needed([WalDelivery("/h", "00000002.history", None)], 2) == 0


def test_a_stage_is_private_goes_on_every_way_out_and_what_killed_ones_left_is_swept(tmp_path):
    path = tmp_path / "stage"
    with pytest.raises(KeyboardInterrupt), staging.private_directory(str(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "wal").write_text("x")
        raise KeyboardInterrupt
    assert not path.exists()
    names = {f"stage-{pid}": pid for pid in (4194304, os.getpid(), os.getppid())}
    for name in (*names, "stage-x", "other-4194304"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "wal").write_text("x")
    (tmp_path / "stage-4194303").symlink_to(tmp_path / "other-4194304")
    staging.sweep(str(tmp_path), "stage")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"stage-{os.getppid()}", "stage-x", "other-4194304", "stage-4194303"}
    assert (tmp_path / "other-4194304" / "wal").exists()
