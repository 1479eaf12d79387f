"""Let the system write a growing file to disk while it grows, so that the fsync at its end has little left to do."""

from __future__ import annotations

import os

_STEP = 1 << 20


class Writeback:
    """The progress of one file. Nothing is promised: fsync alone makes data durable."""

    __slots__ = ("_begun", "_descriptor", "_written")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = 0
        self._written = 0

    def wrote(self, size: int) -> None:
        """Tell that so many more bytes were written.

        Linux begins to write out the dirty pages of a range that is said not to be needed, and does not wait for them;
        pages that are not clean yet stay in the cache, where the archiver will want them.
        """
        self._written += size
        length = self._written - self._begun
        if length < _STEP:
            return
        try:
            os.posix_fadvise(self._descriptor, self._begun, length, os.POSIX_FADV_DONTNEED)
        except (AttributeError, OSError):
            pass  # a hint, which not every system and file system takes
        self._begun = self._written
