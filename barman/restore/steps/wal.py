"""Bring archived WAL to a restored cluster: decoded, whole, and under its own names."""

from __future__ import annotations

import os

from barman.compression.codec import copy_stream, decoded
from barman.errors import WalError
from barman.fs import copying
from barman.typing import TYPE_CHECKING, BinaryIO
from barman.workers import cpu_count, ordered_map

if TYPE_CHECKING:
    from barman.compression.codec import CustomFilters
    from barman.restore.step import DeliverWal, WalDelivery
    from barman.restore.workbench import Workbench

ARCHIVE_STATUS = "archive_status"


def deliver_wal(step: DeliverWal, bench: Workbench) -> None:
    """Deliver every file of the plan, in parallel. Not durable yet.

    Raises WalError for a segment that does not have its size when it is decoded, CodecError for one that cannot be
    decoded, OSError.
    """
    bench.reporter.info("Copying required WAL segments.")
    if step.partial:
        bench.reporter.info("Copying .partial WAL files.")
    copying.ensure_directory(step.directory)
    copying.own_like(step.directory, os.path.dirname(step.directory))
    status = os.path.join(step.directory, ARCHIVE_STATUS)
    copying.ensure_directory(status)
    copying.own_like(status, step.directory)
    meter = bench.meter("copying WAL", len(step.files), "segments")

    def deliver(item: WalDelivery) -> None:
        _deliver(item, step.directory, bench.custom)

    jobs = max(step.jobs, cpu_count())
    for _ in ordered_map(deliver, step.files, jobs, window=jobs * 4):
        meter.add(1)
    if step.mark_archived:
        bench.reporter.info("Generating archive status files")
        for item in step.files:
            path = os.path.join(status, f"{item.name}.done")
            with copying.new_file(path):
                pass
            copying.own_like(path, status)


def _deliver(item: WalDelivery, directory: str, custom: CustomFilters | None) -> None:
    target = os.path.join(directory, item.name)
    written = decode_wal(item, target, custom)
    copying.own_like(target, directory)
    copying.set_times(target, written)


def decode_wal(item: WalDelivery, target: str, custom: CustomFilters | None) -> float:
    """Write a file as PostgreSQL reads it, readable for its owner only; return the time of its last change.

    An unfinished segment may be finished, and archived, before it is its turn. Raises WalError, CodecError, OSError.
    """
    for source in (item.source, *item.later_paths):
        try:
            written = os.stat(source).st_mtime
            with decoded(source, custom) as stream:
                _write(item, source, stream, target)
            return written
        except FileNotFoundError as error:
            missing = error
    raise missing


def _write(item: WalDelivery, source: str, stream: BinaryIO, target: str) -> None:
    with copying.new_file(target) as file:
        size = copy_stream(stream, file.write)
        if size < item.content:
            raise WalError(f"WAL file '{source}' has lost content: {size} bytes, {item.content} when it was judged")
        if item.size is not None and size < item.size and source.endswith(".partial"):
            # A partial segment may have been cut after its last record; PostgreSQL wants whole files.
            file.truncate(item.size)
            size = item.size
    if item.size is not None and size != item.size:
        raise WalError(f"WAL file '{source}' is damaged: it has {size} bytes when decoded, not {item.size}")
