"""Files that may be lost: what a client keeps so that it need not ask again, and what PostgreSQL makes durable itself.

As everywhere, a name never stands for half a file. Unlike `durable`, nothing is synced: after a power loss such a file
may be gone or empty, and whoever reads it must be able to tell.
"""

from __future__ import annotations

import os
import re

_TEMPORARY = re.compile(r"\.(.+)\.(\d+)\.tmp\Z", re.DOTALL)


class Draft:
    """A file that is written beside its place. As a context manager it goes unless it was published."""

    def __init__(self, path: str, mode: int = 0o600) -> None:
        directory, name = os.path.split(path)
        self.final_path = path
        self.path = os.path.join(directory, f".{name}.{os.getpid()}.tmp")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self.path, flags, mode)
        self._published = False

    def write(self, data: bytes) -> None:
        """Append."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def publish(self) -> None:
        """Give it its name, in place of whatever has it."""
        self.publish_as(self.final_path)

    def publish_as(self, path: str) -> None:
        """Give it another name in the same directory."""
        os.rename(self.path, path)
        self._published = True

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        if not self._published:
            discard(self.path)


def replace_file(path: str, data: bytes) -> None:
    """Write a small file as a whole, readable for us only."""
    with Draft(path) as draft:
        draft.write(data)
        draft.publish()


def discard(path: str) -> None:
    """Remove a file; a missing one is fine."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def make_private_directory(path: str) -> None:
    """Make a directory, and its missing parents, that only we can enter; an existing one stays as it is."""
    os.makedirs(path, mode=0o700, exist_ok=True)


def hand_over(source: str, target: str) -> None:
    """Move a file, across file systems too, so that the target is never incomplete."""
    import errno

    try:
        os.rename(source, target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    with open(source, "rb") as reader, Draft(target) as draft:
        while piece := reader.read(1 << 20):
            draft.write(piece)
        draft.publish()
    discard(source)


def sweep_drafts(directory: str, name: str = "") -> None:
    """Remove the drafts of processes that are gone; with `name` only those of that file."""
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for draft in names:
        match = _TEMPORARY.match(draft)
        if match and (not name or match.group(1) == name) and not _alive(int(match.group(2))):
            discard(os.path.join(directory, draft))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
