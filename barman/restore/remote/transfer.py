"""How files travel to another host: rsync over OpenSSH, several at once, one limit for all of them together."""

from __future__ import annotations

import os
import threading

from barman.backup.copy_plan import share_of_bandwidth
from barman.process import tied_argv
from barman.transport.rsync import RsyncJob
from barman.transport.rsync_pool import PoolOptions, RsyncPool
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.restore.request import RestoreRequest
    from barman.restore.workbench import Meter
    from barman.transport.host import Host
    from barman.transport.rsync import CopyResult, Item

TREE_ENTRIES_FLAGS = "-lpts"
"""Exactly the named entries: links as links, directories without their content, with permissions and times."""
FLAT_FILES_FLAGS = "-Lpts"
"""The content of links, permissions and times."""
_SILENCE_SECONDS = 600
"""A receiver that writes nothing for so long is gone."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """The settings of one restore onto another host; `staging` is where compressed WAL is decoded on this one."""

    options: PoolOptions
    staging: str
    compress: bool = False
    bandwidth_limit: int | None = None

    def pool(self, meter: Meter | None = None) -> RsyncPool:
        """Return a pool that counts the bytes of files on a meter."""
        counter = _Counter(meter) if meter is not None else None
        return RsyncPool(
            self.options,
            on_item=counter.take if counter else None,
            on_tick=counter.show if counter else None,
        )

    def job(
        self, host: Host, source: str, target: str, names: Sequence[str] | None, flags: str, label: str
    ) -> RsyncJob:
        """Return a job that sends named entries of a directory to a directory of the other host."""
        return RsyncJob(
            source=f"{source}/",
            destination=host.rsync_path(f"{target}/"),
            shell=host.rsync_shell,
            flags=flags,
            names=None if names is None else tuple(names),
            # What the plan names must be there: a file that is gone is a loss.
            ignore_missing=False,
            compress=self.compress,
            silence_seconds=_SILENCE_SECONDS,
            label=label,
        )

    def limited(self, jobs: Sequence[RsyncJob], limits: Sequence[int | None]) -> list[RsyncJob]:
        """Give every job its share of its limit: those that run at once keep it together."""
        at_once = max(1, min(self.options.workers, len(jobs)))
        return [
            replace(job, bandwidth_limit=share_of_bandwidth(limit, at_once))
            for job, limit in zip(jobs, limits, strict=True)
        ]


class _Counter:
    """Adds up what several threads report, for one that shows it."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._lock = threading.Lock()
        self._waiting = 0

    def take(self, item: Item) -> None:
        if item.code[1] == "f":
            with self._lock:
                self._waiting += item.size

    def show(self) -> None:
        with self._lock:
            count, self._waiting = self._waiting, 0
        self._meter.add(count)


def transfer_of(request: RestoreRequest, program: str, environment: Mapping[str, str] | None) -> Transfer:
    """Return the settings that a request asks for; `program` is rsync on this host."""
    options = PoolOptions(
        workers=max(1, request.jobs),
        start_batch_size=request.start_batch_size,
        start_batch_period=request.start_batch_period,
        retries=request.retry_times,
        pause=request.retry_sleep,
        program=program,
        # After a SIGKILL nobody else would keep it from writing into a destination that is restored anew.
        launcher=tied_argv(),
        environment=environment,
    )
    staging = request.staging_path or os.environ.get("TMPDIR") or "/tmp"
    return Transfer(options, staging, request.network_compression, request.bandwidth_limit)


def total(results: Sequence[CopyResult]) -> tuple[int, int]:
    """Return how many files travelled, and how many bytes."""
    return sum(result.files for result in results), sum(result.travelled for result in results)
