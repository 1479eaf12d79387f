"""Send the files of a backup to another host."""

from __future__ import annotations

import os

from barman.backup.copy_plan import share_out
from barman.backup.listing import ListedFile
from barman.postgres.data_directory import CONTROL_FILE, TABLESPACE_LINKS
from barman.restore.remote.transfer import TREE_ENTRIES_FLAGS, total
from barman.typing import TYPE_CHECKING
from barman.units import format_size
from barman.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.restore.step import CopyTrees, TreeCopy
    from barman.restore.workbench import Workbench
    from barman.transport.rsync import RsyncJob


def copy_trees(step: CopyTrees, bench: Workbench) -> None:
    """Send everything but the control file, in parallel. Not durable yet.

    A file of a cluster that is overwritten is replaced when it differs, so that other names of it (hard links) keep
    what they have. Raises CommandFailed.
    """
    host, transfer = bench.remote
    if step.made:
        from barman.restore.steps.combine import listed

        step = listed(step)
    bench.reporter.info("Copying the base backup.")
    meter = bench.meter("copying the backup", sum(tree.source.size for tree in step.trees))
    pool = transfer.pool(meter)
    pool.run(
        [
            transfer.job(host, tree.source.root, tree.target, _entries(tree), TREE_ENTRIES_FLAGS, _label(tree))
            for tree in step.trees
        ]
    )
    jobs: list[RsyncJob] = []
    limits: list[int | None] = []
    for tree in step.trees:
        files = [ListedFile(name, size, 0, 0) for name, size in tree.source.files.items() if name != CONTROL_FILE]
        for share in share_out(files, transfer.options.workers) if files else ():
            names = [file.path for file in share]
            job = transfer.job(host, tree.source.root, tree.target, names, TREE_ENTRIES_FLAGS, _label(tree))
            if step.compare:
                # Reading all of both sides may take longer than any silence means something.
                job = replace(job, checksum=True, inplace=step.in_place, silence_seconds=0)
            jobs.append(job)
            limits.append(tree.bandwidth_limit)
    files_sent, travelled = total(pool.run(transfer.limited(jobs, limits)))
    if step.compare:
        files_there = sum(len(tree.source.files) for tree in step.trees) - 1
        bench.reporter.info(f"{files_sent} of {files_there} files differed, {format_size(travelled)} sent")


def _label(tree: TreeCopy) -> str:
    return f"'{tree.source.root}' to '{tree.target}'"


def _entries(tree: TreeCopy) -> tuple[str, ...]:
    """Return what must be there before files are sent: directories, the outer ones first, and links."""
    return (".", *sorted(tree.source.directories), *_links(tree))


def _links(tree: TreeCopy) -> Iterator[str]:
    return (name for name in tree.source.links if os.path.dirname(name) != TABLESPACE_LINKS)
