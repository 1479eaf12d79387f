"""One restore at a time into a directory: two at once would mix their files, and each would report success."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager

from barman.errors import LockBusy, RestoreRefused
from barman.fs.lock import FileLock
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from barman.catalog.layout import Layout


@contextmanager
def claimed(layout: Layout, places: Iterable[str], *, on: str | None = None) -> Iterator[None]:
    """Hold directories, which need not exist yet, against other restores under the same lock directory.

    `on` is what tells another host from this one and the rest: its paths are taken as they are written. To be entered
    before the directories are looked at. The lock files lie with the others: nothing may be written to a destination
    that has not been judged. Raises RestoreRefused when another restore fills one of them.
    """
    locks: list[FileLock] = []
    try:
        for real in sorted({os.path.realpath(path) if on is None else os.path.normpath(path) for path in places}):
            digest = hashlib.sha256(os.fsencode(real if on is None else f"{on}\0{real}")).hexdigest()[:32]
            # Without a hyphen: what precedes one is read as the name of a server.
            lock = FileLock(layout.global_lock(f"restoring_{digest}"))
            try:
                lock.acquire()
            except LockBusy as busy:
                who = f" (process {busy.holder})" if busy.holder else ""
                raise RestoreRefused([f"another restore{who} is filling '{real}'"]) from None
            locks.append(lock)
        yield
    finally:
        for lock in reversed(locks):
            lock.release()
