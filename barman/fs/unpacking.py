"""A directory in which a tree is built from what comes from outside, before it gets its final place.

Only regular files and directories are made, each anew: a name that is there twice is refused, and no link can lead
anywhere. What is built is private to its owner and not durable before `finish`.
"""

from __future__ import annotations

import os

from barman.fs.durable import make_directory, naming, remove_tree, sync_tree
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_DIRECTORY, _FILE = 0o750, 0o640
"""Nothing is made wider than PostgreSQL would; the owner can always read and write."""


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
