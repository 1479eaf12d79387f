"""Places for what is needed for a moment, or is not yet what it will be.

Private directories: only we can enter them, and they go on every way out. And trees that are built from what comes from
outside, before they get their final place: only regular files and directories are made, each anew, so that a name that
is there twice is refused, and no link can lead anywhere.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager

from barman.fs.durable import make_directory, naming, remove_tree, sync_tree
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DIRECTORY, _FILE = 0o750, 0o640
"""Nothing is made wider than PostgreSQL would; the owner can always read and write."""


@contextmanager
def private_directory(path: str) -> Iterator[str]:
    """Make a directory with mode 0700 that did not exist, and remove it with all that is in it. Raises OSError."""
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def link(target: str, path: str) -> None:
    """Make a symbolic link."""
    os.symlink(target, path)


def sweep(parent: str, name: str) -> None:
    """Remove the directories `NAME-PID` of ours whose process is gone: it was killed."""
    pattern = re.compile(re.escape(name) + r"-(\d+)\Z")
    try:
        entries = list(os.scandir(parent))
    except OSError:
        return
    for entry in entries:
        match = pattern.match(entry.name)
        if match is None or not entry.is_dir(follow_symlinks=False):
            continue
        if entry.stat(follow_symlinks=False).st_uid == os.geteuid() and not _alive(int(match[1])):
            shutil.rmtree(entry.path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # An earlier process had our id.
        return pid != os.getpid()
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True


class UnpackingDirectory:
    """A tree below `root`. Paths are relative and made of checked names: no `..`, none empty."""

    def __init__(self, root: str) -> None:
        self.root = root
        remove_tree(root)
        make_directory(root, 0o700)

    def path(self, relative: str) -> str:
        """Where a file of the tree lies."""
        return os.path.join(self.root, relative)

    def directory(self, relative: str, mode: int = 0o700) -> None:
        """Make a directory with its parents; one that is there gets the mode."""
        path = self.path(relative)
        make_directory(path, 0o700)
        os.chmod(path, (mode & _DIRECTORY) | 0o700)

    def write(self, relative: str, content: Iterable[bytes], mode: int = 0o600, mtime: float | None = None) -> None:
        """Make a file with its parents. Raises FileExistsError, OSError."""
        path = self.path(relative)
        make_directory(os.path.dirname(path), 0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        with naming(path), os.fdopen(descriptor, "wb", buffering=0) as file:
            for piece in content:
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]
            os.fchmod(file.fileno(), (mode & _FILE) | 0o600)
        if mtime is not None:
            os.utime(path, (mtime, mtime))

    def finish(self, relative: str) -> None:
        """Make a part of the tree durable."""
        sync_tree(self.path(relative))

    def discard(self) -> None:
        """Remove the tree."""
        remove_tree(self.root)
