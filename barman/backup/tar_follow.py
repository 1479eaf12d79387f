"""Read archives while pg_basebackup is still writing them.

Whether an archive can be read to its end, and has what the manifest names, is known soon after its last byte has come,
instead of after another pass over all of it. Nothing here slows the program down but the processor time that it takes.
"""

from __future__ import annotations

import io
import threading

from barman.backup.tar_files import find_archives, read_content
from barman.errors import BackupError
from barman.typing import TYPE_CHECKING, Any, BinaryIO, cast
from barman.workers import Task

if TYPE_CHECKING:
    from types import TracebackType

    from barman.backup.tar_files import Archive, Content

_GLANCE_SECONDS = 0.05
_BUFFER = 1 << 18


class ArchiveFollower:
    """Follows the archives in a directory; a context manager around the program that writes them there."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._complete = threading.Event()
        self._given_up = threading.Event()
        self._readers: dict[str, tuple[Archive, Task[Content]]] = {}
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def contents(self) -> list[tuple[Archive, Content]]:
        """Wait until all archives are read; to be called when the program has ended well.

        Raises BackupError, CodecError, OSError for an archive that cannot be read.
        """
        self._watcher.join()
        return [(archive, task.result()) for archive, task in self._readers.values()]

    def __enter__(self) -> ArchiveFollower:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._given_up.set()
        self._complete.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._complete.wait(_GLANCE_SECONDS):
            self._look()
        if not self._given_up.is_set():
            self._look()

    def _look(self) -> None:
        try:
            archives = find_archives(self._directory)
        except (BackupError, OSError):
            return  # said by whoever looks next
        for archive in archives.values():
            if archive.path not in self._readers:
                self._readers[archive.path] = archive, self._begin(archive)

    def _begin(self, archive: Archive) -> Task[Content]:
        def read() -> Content:
            with _Growing(archive.path, self._complete, self._given_up) as growing:
                return read_content(archive, cast(BinaryIO, io.BufferedReader(growing, _BUFFER)))

        return Task(read)


class _Growing(io.RawIOBase):
    """A file whose end is the end only when it is complete."""

    def __init__(self, path: str, complete: threading.Event, given_up: threading.Event) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  closed by close()
        self._complete = complete
        self._given_up = given_up

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with what there is, once there is something; 0 at the end."""
        while not self._given_up.is_set():
            # Asked before reading: what was written until then is seen.
            complete = self._complete.is_set()
            count = self._file.readinto(buffer)
            if count or complete:
                return count or 0
            self._complete.wait(_GLANCE_SECONDS)
        return 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
