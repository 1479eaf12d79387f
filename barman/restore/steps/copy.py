"""Copy the files of a backup to their places, and make the result durable."""

from __future__ import annotations

import os

from barman.fs import copying, durable
from barman.fs.comparing import copy_if_different
from barman.postgres.data_directory import CONTROL_FILE, MANIFEST, TABLESPACE_LINKS
from barman.typing import TYPE_CHECKING
from barman.units import format_size
from barman.workers import ordered_map

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.restore.step import CopyTrees, RecordOrigin, SyncPlaces, TreeCopy
    from barman.restore.workbench import Meter, Workbench

_LARGE = 8 * 1024 * 1024
_SYNC_JOBS = 8


def copy_trees(step: CopyTrees, bench: Workbench) -> None:
    """Copy everything but the control file, in parallel, large files first. Not durable yet.

    Raises OSError.
    """
    if step.made:
        from barman.restore.steps.combine import listed

        step = listed(step)
    bench.reporter.info("Copying the base backup.")
    meter = bench.meter("copying the backup", sum(tree.source.size for tree in step.trees))
    for tree in step.trees:
        _make_directories(tree)
    if step.compare:
        _copy_what_differs(step, bench, meter)
    else:
        for count in ordered_map(_copy, _files(step), step.jobs, window=step.jobs * 8):
            meter.add(count)
    for tree in step.trees:
        for relative in tree.source.links:
            if os.path.dirname(relative) != TABLESPACE_LINKS:
                copying.copy_link(os.path.join(tree.source.root, relative), os.path.join(tree.target, relative))
        _finish_directories(tree)


def _copy(pair: tuple[str, str]) -> int:
    return copying.copy_file(*pair)


def _copy_what_differs(step: CopyTrees, bench: Workbench, meter: Meter) -> None:
    def copy(pair: tuple[str, str]) -> tuple[int, int]:
        return os.path.getsize(pair[0]), copy_if_different(*pair)

    files = changed = written = 0
    for size, count in ordered_map(copy, _files(step), step.jobs, window=step.jobs * 8):
        meter.add(size)
        files, changed, written = files + 1, changed + (count > 0), written + count
    bench.reporter.info(f"{changed} of {files} files differed, {format_size(written)} copied")


def _files(step: CopyTrees) -> Iterator[tuple[str, str]]:
    """Yield pairs of source and target: a large file that came last would leave one thread at work alone."""
    for large in (True, False):
        for tree in step.trees:
            for relative, size in tree.source.files.items():
                if (size >= _LARGE) == large and relative != CONTROL_FILE:
                    yield os.path.join(tree.source.root, relative), os.path.join(tree.target, relative)


def _make_directories(tree: TreeCopy) -> None:
    for relative in tree.source.directories:
        copying.ensure_directory(os.path.join(tree.target, relative))


def _finish_directories(tree: TreeCopy) -> None:
    for relative in (*reversed(tree.source.directories), ""):
        source = os.path.join(tree.source.root, relative) if relative else tree.source.root
        target = os.path.join(tree.target, relative) if relative else tree.target
        copying.copy_attributes(os.stat(source), target)


def record_origin(step: RecordOrigin, _bench: Workbench) -> None:
    """Leave the backup's record, and rename its manifest, which the restored cluster does not match any more."""
    target = os.path.join(step.destination, ".barman-recover.info")
    copying.copy_file(step.record, target)
    manifest = os.path.join(step.destination, MANIFEST)
    if os.path.exists(manifest):
        durable.replace(manifest, f"{manifest}.{step.backup_id}")


def sync_places(step: SyncPlaces, bench: Workbench) -> None:
    """Make all that was restored durable."""
    bench.reporter.debug("syncing what was restored")
    copying.sync_places(step.directories, max(step.jobs, _SYNC_JOBS))
