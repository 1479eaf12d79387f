"""Bring archived WAL to another host: decoded here, in a private directory, portion by portion while others travel."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial

from barman.catalog.wal_content import recognise_file
from barman.fs import copying, staging
from barman.restore.remote.transfer import FLAT_FILES_FLAGS
from barman.restore.steps.wal import ARCHIVE_STATUS, decode_wal
from barman.transport.files import run_script
from barman.typing import TYPE_CHECKING
from barman.values import replace
from barman.workers import cpu_count, ordered_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from barman.compression.codec import CustomFilters
    from barman.restore.step import DeliverWal, WalDelivery
    from barman.restore.workbench import Workbench
    from barman.transport.rsync import CopyResult, RsyncJob
    from barman.transport.rsync_pool import RsyncPool

_PORTION_BYTES = 256 * 1024 * 1024
_PORTION_FILES = 64
STAGE_NAME = "barman-restore"

_PREPARE = r"""
for path in "$1" "$1/$2"; do [ -d "$path" ] || mkdir -m 700 "$path" || exit 1; done
"""
# The names come as lines; a link that is cut makes fewer of them.
_MARK = r"""
umask 077; count=0
while IFS= read -r name; do : > "$1/$name.done" || exit 1; count=$((count + 1)); done
[ "$count" -eq "$2" ] || refuse "the names did not arrive whole"
"""


def deliver_wal(step: DeliverWal, bench: Workbench) -> None:
    """Send every file of the plan, in parallel. Not durable yet.

    Raises WalError for a segment that does not have its size when it is decoded, CodecError for one that cannot be
    decoded, CommandFailed, OSError.
    """
    host, transfer = bench.remote
    bench.reporter.info("Copying required WAL segments.")
    if step.partial:
        bench.reporter.info("Copying .partial WAL files.")
    run_script(host.runner, f"create '{step.directory}'", _PREPARE, [step.directory, ARCHIVE_STATUS])
    meter = bench.meter("copying WAL", len(step.files) * (step.files[0].size or 0) if step.files else 0)
    pool = transfer.pool(meter)
    with _stage(transfer.staging) as stage:
        portions = list(divide(step.files, transfer.options.workers))
        limits = [transfer.bandwidth_limit] * len(portions)
        jobs = [
            transfer.job(host, os.path.join(stage, str(number)), step.directory, None, FLAT_FILES_FLAGS + "r", "WAL")
            for number in range(len(portions))
        ]
        tasks: list[Callable[[], CopyResult]] = []
        for number, job in enumerate(transfer.limited(jobs, limits)):
            # Whatever the archive allows its readers, PostgreSQL alone reads this copy; and what an unfinished restore
            # left is no reason to send nothing.
            private = replace(job, extra=("--chmod=D700,F600", "--ignore-times", "--whole-file"))
            tasks.append(partial(_send, pool, private, portions[number], bench.custom))
        pool.call(tasks)
    if step.mark_archived:
        bench.reporter.info("Generating archive status files")
        names = "".join(f"{item.name}\n" for item in step.files).encode("ascii")
        status = f"{step.directory}/{ARCHIVE_STATUS}"
        run_script(host.runner, f"mark WAL in '{status}'", _MARK, [status, str(len(step.files))], stdin=names)


def divide(files: Sequence[WalDelivery], workers: int) -> Iterator[list[WalDelivery]]:
    """Yield portions that keep all workers busy, each small enough to be staged."""
    largest = max((item.size or 0 for item in files), default=0)
    count = max(1, min(_PORTION_FILES, _PORTION_BYTES // largest if largest else _PORTION_FILES))
    count = max(1, min(count, -(-len(files) // max(1, workers))))
    for start in range(0, len(files), count):
        yield list(files[start : start + count])


def room_needed(files: Sequence[WalDelivery], workers: int) -> int:
    """Return the bytes that the stage holds at most."""
    largest = sorted((sum(item.size or 0 for item in portion) for portion in divide(files, workers)), reverse=True)
    return sum(largest[: max(1, workers)])


def _send(pool: RsyncPool, job: RsyncJob, files: Sequence[WalDelivery], custom: CustomFilters | None) -> CopyResult:
    directory = job.source.rstrip("/")
    with staging.private_directory(directory):
        for _ in ordered_map(lambda item: _put(item, directory, custom), files, cpu_count()):
            pass
        return pool.copy(job)


def _put(item: WalDelivery, directory: str, custom: CustomFilters | None) -> None:
    """Put a file into the stage: as a link when the archive has the very bytes, else decoded."""
    if not item.source.endswith(".partial") and recognise_file(item.source, custom) == (None, None):
        staging.link(item.source, os.path.join(directory, item.name))
        return
    target = os.path.join(directory, item.name)
    written = decode_wal(item, target, custom)
    copying.set_times(target, written)


@contextmanager
def _stage(parent: str) -> Iterator[str]:
    """Make a private directory, and take away what killed restores left of theirs."""
    staging.sweep(parent, STAGE_NAME)
    with staging.private_directory(os.path.join(parent, f"{STAGE_NAME}-{os.getpid()}")) as path:
        yield path
