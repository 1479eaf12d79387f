"""Bring a backup that is tar archives to another host: unpacked here, in a private directory, and sent from there.

The other host would need programs for every compression, and a tar that can be trusted with a hostile archive.
"""

from __future__ import annotations

import os

from barman.fs import copying
from barman.fs.tree import walk
from barman.restore.facts import SourceTree
from barman.restore.remote.copy import copy_trees
from barman.restore.step import CopyTrees, TreeCopy, UnpackTrees
from barman.restore.unpack import staged_data
from barman.restore.unpack_files import unpack_trees
from barman.typing import TYPE_CHECKING
from barman.values import replace

if TYPE_CHECKING:
    from barman.restore.workbench import Workbench


def unpack_and_send(step: UnpackTrees, bench: Workbench) -> None:
    """Unpack into the stage, which exists and is empty, and send what it holds then. Not durable yet.

    Raises BackupError, CodecError, OSError, CommandFailed.
    """
    assert step.stage is not None
    staged = []
    for tree in step.trees:
        oid = os.path.basename(tree.source.archive).partition(".")[0]
        place = staged_data(step.stage) if tree is step.trees[-1] else os.path.join(step.stage, oid)
        staged.append(TreeCopy(tree.source, place, tree.bandwidth_limit))
        copying.ensure_directory(staged[-1].target)
    unpack_trees(replace(step, trees=tuple(staged)), bench)
    trees = [
        TreeCopy(_listed(inner.target), outer.target, outer.bandwidth_limit)
        for inner, outer in zip(staged, step.trees, strict=True)
    ]
    copy_trees(CopyTrees(tuple(trees), step.jobs, compare=step.compare), bench)


def _listed(root: str) -> SourceTree:
    files: dict[str, int] = {}
    directories = []
    for entry in walk(root):
        if entry.is_directory:
            directories.append(entry.relative)
        else:
            files[entry.relative] = entry.size
    return SourceTree(root, files, directories=tuple(directories))
