"""Unpack the archives of a backup, each straight to where its files belong.

Nothing is written outside the directory that an archive is unpacked into: names are judged by the reader, every
directory on the way was made, or looked at, by this very run, links are not made at all, and a file that the plan does
not know, or that is longer than the plan says, ends the restore.
"""

from __future__ import annotations

import os
import threading
from functools import partial

from barman.backup.tar_files import find_archives, opened
from barman.backup.tar_reader import DIRECTORY, LINK
from barman.errors import BackupError
from barman.fs import copying
from barman.postgres.data_directory import CONTROL_FILE, MANIFEST, is_left_out_of_restore
from barman.restore.facts import SourceTree
from barman.typing import TYPE_CHECKING
from barman.workers import is_abandoned, ordered_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from barman.backup.tar_files import Archive
    from barman.backup.tar_reader import TarMember, TarReader
    from barman.compression.codec import CustomFilters
    from barman.restore.step import TreeCopy, UnpackTrees
    from barman.restore.workbench import Workbench

_PRIVATE = 0o700


def unpack_trees(step: UnpackTrees, bench: Workbench) -> None:
    """Unpack every archive of the plan, several at once. Not durable yet.

    Raises BackupError for an archive that is damaged or not what the manifest says, CodecError, OSError.
    """
    bench.reporter.info("Copying the base backup.")
    meter = bench.meter("unpacking the backup", sum(tree.source.size for tree in step.trees))
    lock = threading.Lock()

    def count(size: int) -> None:
        with lock:
            meter.add(size)

    for _ in ordered_map(
        partial(_unpack, control_file=step.control, count=count, custom=bench.custom), step.trees, step.jobs
    ):
        pass
    data = step.trees[-1]
    manifest = os.path.join(data.source.root, MANIFEST)
    if os.path.isfile(manifest):
        copying.copy_file(manifest, os.path.join(data.target, MANIFEST))


def _unpack(tree: TreeCopy, *, control_file: str, count: Callable[[int], None], custom: CustomFilters | None) -> None:
    archives = find_archives(tree.source.root).values()
    archive = next((item for item in archives if item.path == tree.source.archive), None)
    if archive is None:
        raise BackupError(f"archive '{tree.source.archive}' is gone")
    _Unpacking(archive, tree.source, tree.target, control_file, count, custom).run()


class _Unpacking:
    """One archive on its way to one directory."""

    def __init__(
        self,
        archive: Archive,
        source: SourceTree,
        target: str,
        control_file: str,
        count: Callable[[int], None],
        custom: CustomFilters | None,
    ) -> None:
        self._archive = archive
        self._custom = custom
        self._target = target
        self._control_file = control_file
        self._count = count
        self._is_data = archive.oid is None
        self._expected = dict(source.files)
        # A restored cluster belongs to whom the backup belongs to.
        self._owner = os.stat(archive.path)
        self._directories = {""}

    def run(self) -> None:
        """Unpack; what the plan names and the archive does not have is a loss."""
        copying.set_attributes(self._target, self._owner, _PRIVATE)
        with opened(self._archive, custom=self._custom) as reader:
            for member in reader.members():
                if is_abandoned():
                    return
                self._take(member, reader)
        if self._expected:
            raise self._damaged(f"{len(self._expected)} files are missing, beginning with '{min(self._expected)}'")

    def _take(self, member: TarMember, reader: TarReader) -> None:
        name = member.name
        if member.kind == LINK:
            # Where tablespaces lie now was decided by the plan.
            if not self._is_data:
                raise self._damaged(f"it holds the link '{name}'")
        elif self._is_data and is_left_out_of_restore(name):
            pass
        elif member.kind == DIRECTORY:
            self._make(name, member.mode)
        else:
            self._write(member, reader)

    def _write(self, member: TarMember, reader: TarReader) -> None:
        name = member.name
        size = self._expected.pop(name, None)
        if size is None:
            raise self._damaged(f"it holds '{name}' twice, or the manifest does not name it")
        if size != member.size:
            raise self._damaged(f"'{name}' has {member.size} bytes, in the manifest {size}")
        directory = name.rpartition("/")[0]
        self._make(directory)
        is_control = self._is_data and name == CONTROL_FILE
        path = self._control_file if is_control else os.path.join(self._target, name)
        copying.write_file(path, self._pieces(reader), self._owner, member.mode, member.mtime)

    def _pieces(self, reader: TarReader) -> Iterator[bytes]:
        for piece in reader.content():
            if is_abandoned():
                return
            self._count(len(piece))
            yield piece

    def _make(self, name: str, mode: int = _PRIVATE) -> None:
        """Make a directory and those above it, once; one that is there must not be a link."""
        if name in self._directories:
            return
        self._make(name.rpartition("/")[0])
        path = os.path.join(self._target, name)
        copying.ensure_directory(path)
        copying.set_attributes(path, self._owner, mode | _PRIVATE)
        self._directories.add(name)

    def _damaged(self, reason: str) -> BackupError:
        return BackupError(f"archive '{self._archive.path}' is damaged: {reason}")
