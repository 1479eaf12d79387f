"""Overwrite files only where they differ. Like `copying`: durable later, together."""

from __future__ import annotations

import os
import stat

from barman.fs import copying

_BUFFER = 1024 * 1024
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def copy_if_different(source: str, target: str) -> int:
    """Make `target` like `source` in content, mode and times; return the bytes that were written.

    A file that differs is replaced, never written into: other names of it (hard links) keep what they have. Raises
    OSError.
    """
    if has_same_content(source, target):
        copying.copy_attributes(os.stat(source), target)
        return 0
    try:
        os.unlink(target)
    except FileNotFoundError:
        pass
    return copying.copy_file(source, target)


def has_same_content(one: str, other: str) -> bool:
    """Tell whether two plain files have the same bytes: a link is no plain file, and what is missing is no other."""
    try:
        with open(os.open(other, _OPEN), "rb", buffering=0) as right:
            found = os.fstat(right.fileno())
            with open(one, "rb", buffering=0) as left:
                if not stat.S_ISREG(found.st_mode) or found.st_size != os.fstat(left.fileno()).st_size:
                    return False
                while piece := left.read(_BUFFER):
                    if piece != right.read(len(piece)):
                        return False
                return True
    except OSError:
        return False
