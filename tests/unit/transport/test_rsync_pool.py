"""Several runs of the real rsync at once."""

from pathlib import Path

import pytest

from barman.errors import CommandFailed
from barman.transport.rsync import RsyncJob
from barman.transport.rsync_pool import PoolOptions, RsyncPool


def job(source: Path, target: Path, **options) -> RsyncJob:
    target.mkdir(exist_ok=True)
    return RsyncJob(f"{source}/", f"{target}/", ignore_missing=False, label=target.name, **options)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    for number in range(3):
        (tmp_path / "source" / str(number)).write_bytes(bytes(2_000_000))
    return tmp_path / "source"


def running(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_text(errors="replace") if entry.name.isdigit() else ""
        except OSError:
            continue
        if text in words and words.startswith("rsync"):
            found.append(words)
    return found


def test_every_job_is_run_and_counted_in_order(source: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    ticks: list[None] = []
    pool = RsyncPool(
        PoolOptions(workers=2, start_batch_size=1, start_batch_period=0.2),
        on_item=lambda item: seen.append(item.size),
        on_tick=lambda: ticks.append(None),
    )
    jobs = [job(source, tmp_path / "a"), job(source, tmp_path / "b", names=("1", "2")), job(source, tmp_path / "c")]
    assert [result.files for result in pool.run(jobs)] == [3, 2, 3]
    assert seen.count(2_000_000) == 8
    assert ticks
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["1", "2"]
    assert pool.run([]) == []


def test_when_one_fails_no_other_goes_on_or_begins(source: Path, tmp_path: Path) -> None:
    slow = job(source, tmp_path / "slow", bandwidth_limit=10)
    lost = job(source, tmp_path / "lost", names=("0", "gone"))
    late = job(source, tmp_path / "late", bandwidth_limit=10)
    with pytest.raises(CommandFailed, match="rsync of lost ended with status 23"):
        RsyncPool(PoolOptions(workers=2)).run([slow, lost, late])
    assert running(str(tmp_path)) == []
    assert list((tmp_path / "late").iterdir()) == []
