"""A private directory for the length of one operation, where temporary files belong; nothing in it is worth keeping."""

from __future__ import annotations

import os
import shutil

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class ScratchDirectory:
    """A new directory (0700) below TMPDIR or /tmp; a context manager that removes it, links in it never followed."""

    def __init__(self, purpose: str) -> None:
        """Create it. `purpose` becomes a part of the name. Raises OSError."""
        parent = os.environ.get("TMPDIR") or "/tmp"
        self.path = os.path.join(parent, f"barman-{purpose}-{os.getpid()}-{os.urandom(6).hex()}")
        os.mkdir(self.path, 0o700)

    def directory(self, relative: str) -> str:
        """Create a directory in it and return its path."""
        path = os.path.join(self.path, relative)
        os.mkdir(path, 0o700)
        return path

    def link(self, target: str, relative: str) -> None:
        """Make `relative` a symbolic link to a target."""
        os.symlink(target, os.path.join(self.path, relative))

    def __enter__(self) -> ScratchDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
