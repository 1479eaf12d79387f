"""Let pg_combinebackup make one backup of a chain, and move its result to where it belongs."""

from __future__ import annotations

import os
import re
from collections import deque

from barman.errors import CommandFailed
from barman.fs import durable, moving
from barman.fs.tree import walk
from barman.logs import Log
from barman.postgres.data_directory import CONTROL_FILE, TABLESPACE_LINKS, is_left_out_of_restore
from barman.postgres.programs import combinebackup_argv
from barman.process import Child, describe_status, tied_argv
from barman.restore.combine import may_fall_back
from barman.restore.facts import SourceTree
from barman.restore.unpack_files import unpack_trees
from barman.typing import TYPE_CHECKING
from barman.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.restore.step import ChainMember, CombineBackups, CopyTrees, MoveTrees
    from barman.restore.workbench import Workbench

_LOG = Log(__name__)
_KEPT_LINES = 50
# What pg_combinebackup says where the file system, or its own build, cannot do what a mode needs (copy_file.c).
_CANNOT = re.compile(r"could not clone|cloning|copy_file_range|copying file range")


def combine_backups(step: CombineBackups, bench: Workbench) -> None:
    """Combine a chain, whose archives are unpacked first. Not durable yet.

    A mode that the file system turns out not to know is replaced by copying. Raises CommandFailed, OSError, and what
    unpacking raises.
    """
    _clear(step)
    for archives in step.unpacking:
        for tree in archives.trees:
            durable.make_directory(tree.target, 0o700)
        unpack_trees(archives, bench)
    for member in step.members:
        _point_links(member)
    what = f"combining backup via pg_combinebackup for backup {step.backup_id}"
    bench.reporter.info(f"Start {what} on {step.output}")
    try:
        _run(step, step.mode)
    except CommandFailed as error:
        if not may_fall_back(step.mode) or not _CANNOT.search(error.stderr):
            raise
        bench.reporter.warning(f"combine mode {step.mode} is not used, files are copied: {error.message}")
        _clear(step)
        _run(step, "copy")
    bench.reporter.info(f"End {what}")


def _clear(step: CombineBackups) -> None:
    for path in step.leftovers:
        if os.path.lexists(path):
            durable.remove_tree(path)


def _point_links(member: ChainMember) -> None:
    """Let the tablespace links of a backup lead to its own tablespaces: pg_combinebackup reads them by these alone.

    After the repository was moved, or copied to another host, they lead elsewhere.
    """
    for oid, directory in member.tablespaces.items():
        links = os.path.join(member.data, TABLESPACE_LINKS)
        path = os.path.join(links, str(oid))
        if os.path.islink(path):
            if os.readlink(path) == directory:
                continue
            durable.remove([path])
        elif os.path.lexists(path):
            continue  # a tablespace in place
        durable.make_directory(links, 0o700)
        durable.symlink(directory, path)
        _LOG.info("'%s' leads to '%s' now", path, directory)


def _run(step: CombineBackups, mode: str) -> None:
    data = [member.data for member in step.members]
    argv = combinebackup_argv(
        step.program, data, step.output, tablespaces=dict(step.tablespaces), copy_mode=mode, sync=False
    )
    _LOG.info("running %s", " ".join(argv))
    tail: deque[str] = deque(maxlen=_KEPT_LINES)

    def hear(line: str) -> None:
        _LOG.info("pg_combinebackup: %s", line)
        tail.append(line)

    # Tied to this process: after a SIGKILL nobody else would keep it from writing where the next restore writes.
    tied = tied_argv(*argv)
    with Child(tied, env={**os.environ, "LC_ALL": "C"}, on_stdout=hear, on_stderr=hear) as child:
        status = child.wait()
    if status != 0:
        lines = (
            [line for line in tail if "error:" in line] or list(tail) or [f"it ended with {describe_status(status)}"]
        )
        raise CommandFailed(
            lines[0].strip() if status > 0 else f"pg_combinebackup was ended by {describe_status(status)}",
            returncode=status,
            stderr="\n".join(tail),
        )


def listed(step: CopyTrees) -> CopyTrees:
    """Return the step with the trees as they are now: of what was in archives, empty directories were not known."""
    *spaces, data = step.trees
    trees = [replace(tree, source=_list(tree.source.root, lambda _: False)) for tree in spaces]
    return replace(step, trees=(*trees, replace(data, source=_list(data.source.root, is_left_out_of_restore))))


def _list(root: str, left_out: Callable[[str], bool]) -> SourceTree:
    entries = [entry for entry in walk(root) if not left_out(entry.relative)]
    return SourceTree(
        root,
        {entry.relative: entry.size for entry in entries if entry.is_file},
        tuple(entry.relative for entry in entries if entry.is_link),
        tuple(entry.relative for entry in entries if entry.is_directory),
    )


def move_trees(step: MoveTrees, bench: Workbench) -> None:
    """Move every tree up to its place, the control file to where it waits. Not durable yet. Raises OSError."""
    *tablespaces, data = step.trees
    for tree in tablespaces:
        moving.merge_tree(tree.source.root, tree.target, lambda *_: False)
        durable.remove_tree(tree.source.root)
    root = data.source.root
    moving.merge_tree(root, data.target, _stays)
    moving.move_file(os.path.join(root, CONTROL_FILE), step.control)
    durable.remove_tree(root)
    bench.reporter.debug(f"'{root}' is moved to '{data.target}'")


def _stays(relative: str, is_link: bool) -> bool:
    """Tell what of a combined data directory is not moved with the rest; its tablespace links are made anew."""
    if relative == CONTROL_FILE or is_left_out_of_restore(relative):
        return True
    return is_link and os.path.dirname(relative) == TABLESPACE_LINKS
