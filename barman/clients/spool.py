"""Segments fetched ahead of the recovery that will ask for them, and the process that fetches them in the background.

A spool belongs to one data directory and one server on one Barman host. A name in it is always a whole, checked
segment. What is there may be lost at any time: it is then fetched again.
"""

from __future__ import annotations

import os
import sys

from barman.clients.fetching import OK, Fetcher, Unsound, check
from barman.clients.segment import is_plain_segment, is_segment_size
from barman.clients.ssh import private_directory
from barman.fs.spool import discard, hand_over, replace_file, sweep_drafts
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.clients.ssh import Remote

_AT_ONCE = 4
_WAIT_SECONDS = 30.0
_POLL_SECONDS = 0.01


class Spool:
    """The spool for one destination."""

    def __init__(self, directory: str, key: str, system_id: int | None) -> None:
        self.root = directory
        self.directory = os.path.join(directory, key)
        self._system_id = system_id

    @classmethod
    def for_destination(cls, directory: str, remote: Remote, destination: str, system_id: int | None) -> Spool:
        """Return the spool of the data directory that a destination lies in."""
        import hashlib

        place = os.path.dirname(os.path.abspath(destination))
        digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return cls(directory, f"{remote.key()}-{digest}", system_id)

    def path(self, name: str) -> str:
        """Return where a segment is spooled."""
        return os.path.join(self.directory, name)

    def take(self, name: str, destination: str) -> bool:
        """Move a spooled segment to its destination, if there is one and it is sound. Waits while it is being fetched.

        A file right in the spool directory is taken too, as the original does, but only if it is whole and ours.
        """
        if not is_plain_segment(name):
            return False
        self._await(name)
        for path in (self.path(name), os.path.join(self.root, name)):
            try:
                if os.path.islink(path):
                    continue
                check(path, name, self._system_id)
                hand_over(path, destination)
            except FileNotFoundError:
                continue
            except (Unsound, PermissionError):
                if path == self.path(name):
                    discard(path)
                continue
            return True
        return False

    def _await(self, name: str) -> None:
        """Let a transfer that is under way come to its end rather than doing it twice."""
        from barman.clock import Deadline

        deadline = Deadline(_WAIT_SECONDS)
        while not os.path.exists(self.path(name)) and self._is_coming(name) and not deadline.expired:
            deadline.sleep(_POLL_SECONDS)

    def _is_coming(self, name: str) -> bool:
        """Whether somebody is at work who will come to it: asking on our own costs another connection."""
        position = self._position()
        return position is not None and name in following(*position) and self.is_busy()

    def is_busy(self) -> bool:
        """Whether somebody fetches ahead just now."""
        from barman.fs.lock import who_holds

        return who_holds(self._lock_path) is not None

    @property
    def _lock_path(self) -> str:
        return os.path.join(self.directory, ".lock")

    def advance(self, name: str, segment_size: int, ahead: int, argv: Sequence[str]) -> None:
        """Note how far the recovery is, and start to fetch ahead in the background unless enough is there."""
        from barman.pipes import start_in_background

        private_directory(self.root)
        private_directory(self.directory)
        replace_file(os.path.join(self.directory, ".position"), f"{name} {segment_size} {ahead}\n".encode())
        enough = following(name, segment_size, max(1, ahead // 2))
        if all(os.path.exists(self.path(segment)) for segment in enough) or self.is_busy():
            return
        start_in_background([sys.executable, "-m", "barman.clients.wal_restore", "--fetch-ahead", *argv])

    def _position(self) -> tuple[str, int, int] | None:
        """The last segment that was asked for, its size, and how many to have ahead of it."""
        try:
            with open(os.path.join(self.directory, ".position"), encoding="ascii") as file:
                name, size, ahead = file.read(100).split()
        except (OSError, ValueError):
            return None
        sound = is_plain_segment(name) and size.isdigit() and is_segment_size(int(size)) and ahead.isdigit()
        return (name, int(size), int(ahead)) if sound else None

    def fill(self, fetcher: Fetcher, ahead: int) -> None:
        """Fetch what the recovery will ask for next, until enough is there or nothing more is. One process at a time.

        Nothing is told: what fails here is asked for again by the recovery itself.
        """
        from barman import workers
        from barman.errors import BarmanError, LockBusy
        from barman.fs.lock import FileLock

        try:
            with FileLock(self._lock_path):
                sweep_drafts(self.directory)
                tried: set[str] = set()
                while wanted := self._wanted(tried):
                    names = [name for name in fetcher.peek(wanted[0], ahead) if name in wanted]
                    tried.update(names or wanted)
                    jobs = min(_AT_ONCE, ahead)
                    done = workers.ordered_map(lambda name: fetcher.fetch(name, self.path(name)), names, jobs)
                    if not all(outcome.kind == OK for outcome in done):
                        return
        except (LockBusy, BarmanError, OSError):
            return

    def _wanted(self, tried: set[str]) -> list[str]:
        """The segments that are missing now; those that were passed are removed."""
        position = self._position()
        if position is None:
            return []
        window = following(*position)
        for name in os.listdir(self.directory):
            if is_plain_segment(name) and name not in window and name != position[0]:
                discard(self.path(name))
        return [name for name in window if name not in tried and not os.path.exists(self.path(name))]


def following(name: str, segment_size: int, count: int) -> list[str]:
    """Return the names of the next segments on the timeline."""
    from barman.postgres.wal_name import WalSegment

    segment, names = WalSegment.parse(name), []
    for _ in range(count):
        segment = segment.next(segment_size)
        names.append(segment.name)
    return names
