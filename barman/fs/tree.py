"""Look at directory trees: entries, sizes, and sizes with hard-linked files counted once elsewhere."""

from __future__ import annotations

import os
import stat

from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory, link or special file below a root; `relative` is its path from the root."""

    path: str
    relative: str
    mode: int
    size: int
    mtime: float
    links: int

    @property
    def is_directory(self) -> bool:
        """Tell whether it is a directory (not a link to one)."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """Tell whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        """Tell whether it is a regular file."""
        return stat.S_ISREG(self.mode)


@dataclass(frozen=True, slots=True)
class TreeSize:
    """`size`: bytes of all regular files; `deduplicated_size`: of those with one link only; `files`: how many."""

    size: int
    deduplicated_size: int
    files: int


def walk(root: str) -> Iterator[Entry]:
    """Yield every entry below `root`, directories before their content, names sorted, links not followed.

    What vanishes meanwhile is passed over. Raises OSError when a directory cannot be read.
    """
    yield from _walk(root, "")


def _walk(path: str, prefix: str) -> Iterator[Entry]:
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        try:
            info = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        relative = prefix + entry.name
        yield Entry(entry.path, relative, info.st_mode, info.st_size, info.st_mtime, info.st_nlink)
        if stat.S_ISDIR(info.st_mode):
            yield from _walk(entry.path, relative + "/")


def measure(root: str) -> TreeSize:
    """Return the sizes of the regular files below `root`; a missing root counts as empty."""
    size = deduplicated = files = 0
    pending = [root]
    while pending:
        try:
            found = os.scandir(pending.pop())
        except FileNotFoundError:
            continue
        with found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    info = entry.stat(follow_symlinks=False)
                    size += info.st_size
                    files += 1
                    if info.st_nlink == 1:
                        deduplicated += info.st_size
    return TreeSize(size, deduplicated, files)
