"""Where WAL waits to be archived: what a queue directory holds, and one batch of it."""

from __future__ import annotations

import os
import stat

from barman.errors import WalError
from barman.typing import Protocol
from barman.values import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a queue, as it was when the queue was read. A symbolic link is not `regular`, whatever it points to."""

    name: str
    path: str
    size: int
    time: float
    mode: int
    owner: int
    regular: bool = True
    keep: bool = False
    """Archive it, but leave it in the queue: somebody still needs to see it there."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one run takes from a queue: WAL files in their order, and everything that is no WAL file."""

    files: tuple[Found, ...] = ()
    foreign: tuple[Found, ...] = ()
    waiting: int = 0
    """How many WAL files could be archived now, those of the batch included."""

    @property
    def is_cut(self) -> bool:
        """Whether more is waiting than this run takes."""
        return self.waiting > len(self.files)


class WalSource(Protocol):
    """A queue of WAL files."""

    @property
    def title(self) -> str:
        """How messages name it: `streaming`, `file archival`."""

    @property
    def directory(self) -> str:
        """The directory of the queue."""

    def batch(self, limit: int) -> Batch:
        """At most `limit` files that can be archived now (0: all), and what does not belong into the queue.

        Files that cannot be archived never count against the limit.
        """


def cut(files: list[Found], foreign: list[Found], limit: int) -> Batch:
    """A batch of the first `limit` files."""
    return Batch(tuple(files[:limit] if limit > 0 else files), tuple(foreign), len(files))


def scan(directory: str) -> list[Found]:
    """Everything in a queue directory in the order of names; hidden files and `*.tmp` are somebody's work in progress.

    Files that vanish meanwhile are left out; a directory that does not exist is an empty queue. Raises WalError when it
    cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            found = [_describe(entry) for entry in entries if not is_hidden(entry.name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise WalError(
            f"cannot read WAL queue '{directory}': {error.strerror}", hint="Check its owner and permissions."
        ) from error
    return sorted((file for file in found if file is not None), key=lambda file: file.name)


def is_hidden(name: str) -> bool:
    """Whether a name in a queue is a temporary one."""
    return name.startswith(".") or name.endswith(".tmp")


def _describe(entry: os.DirEntry[str]) -> Found | None:
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Found(
        entry.name,
        entry.path,
        facts.st_size,
        facts.st_mtime,
        stat.S_IMODE(facts.st_mode),
        facts.st_uid,
        stat.S_ISREG(facts.st_mode),
    )
