"""Segments fetched ahead of the recovery that will ask for them (see `ahead` for who fetches them).

A spool belongs to one data directory and one server on one Barman host. A name in it is always a whole, checked
segment. What is there may be lost at any time: it is then fetched again.
"""

from __future__ import annotations

import os

from barman.clients.fetching import Unsound, check
from barman.clients.segment import is_plain_segment, is_segment_size
from barman.clients.ssh import private_directory
from barman.fs.spool import discard, hand_over, replace_file
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.clients.ssh import Remote

_MARK_SECONDS = 3600.0
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

    def take(self, name: str, destination: str, ahead: int = 0) -> bool:
        """Move a spooled segment to its destination, if there is one and it is sound. Waits while it is being fetched.

        With `ahead` the recovery is noted to be there first, so that whoever fetches ahead does not find a segment
        missing that was taken. A file right in the spool directory is taken too, as the original does, but only if it
        is whole and ours.
        """
        if not is_plain_segment(name):
            return False
        self._await(name)
        for path in (self.path(name), os.path.join(self.root, name)):
            try:
                if os.path.islink(path):
                    continue
                size = check(path, name, self._system_id)
                if ahead:
                    self._try_note(name, size, ahead)
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
        position = self.position()
        return position is not None and name in following(*position) and self.is_busy()

    def is_busy(self) -> bool:
        """Whether somebody fetches ahead just now."""
        from barman.fs.lock import who_holds

        return who_holds(self.lock_path) is not None

    @property
    def lock_path(self) -> str:
        """Return the lock of whoever fetches ahead."""
        return os.path.join(self.directory, ".lock")

    def prepare(self) -> None:
        """Make sure that nobody else can put anything here. Raises PrivateDirectoryError."""
        private_directory(self.root)
        private_directory(self.directory)

    def is_unsupported(self) -> bool:
        """Whether the Barman host was seen lately to know no series."""
        return _is_recent(self._mark)

    def mark_unsupported(self) -> None:
        """Remember that the Barman host knows no series: asking costs a connection."""
        if not self.is_unsupported():
            replace_file(self._mark, b"")

    @property
    def _mark(self) -> str:
        return os.path.join(self.directory, ".one-by-one")

    # -- where the recovery is

    def note(self, name: str, segment_size: int, ahead: int) -> None:
        """Note which segment was asked for last, and how many to have ahead of it."""
        if self.position() != (name, segment_size, ahead):
            replace_file(os.path.join(self.directory, ".position"), f"{name} {segment_size} {ahead}\n".encode())

    def _try_note(self, name: str, segment_size: int, ahead: int) -> None:
        try:
            self.note(name, segment_size, ahead)
        except OSError:
            pass  # the segment is here all the same; what is wrong with the spool is told afterwards

    def position(self) -> tuple[str, int, int] | None:
        """The last segment that was asked for, its size, and how many to have ahead of it."""
        try:
            with open(os.path.join(self.directory, ".position"), encoding="ascii") as file:
                name, size, ahead = file.read(100).split()
        except (OSError, ValueError):
            return None
        sound = is_plain_segment(name) and size.isdigit() and is_segment_size(int(size)) and ahead.isdigit()
        return (name, int(size), int(ahead)) if sound else None

    def missing(self) -> list[str]:
        """The segments that should be here and are not; those that were passed are removed."""
        self.drop_passed()
        position = self.position()
        return [name for name in following(*position) if not os.path.exists(self.path(name))] if position else []

    def drop_passed(self) -> None:
        """Remove segments that the recovery has passed or that it has left aside."""
        position = self.position()
        if position is None:
            return
        window = following(*position)
        for name in os.listdir(self.directory):
            if is_plain_segment(name) and name not in window and name != position[0]:
                discard(self.path(name))

    def is_running_low(self, name: str, segment_size: int, ahead: int) -> bool:
        """Whether the next segments are neither here nor coming."""
        enough = following(name, segment_size, max(1, ahead // 2))
        return not all(os.path.exists(self.path(segment)) for segment in enough) and not self.is_busy()


def _is_recent(path: str) -> bool:
    from barman.clock import timestamp

    try:
        return 0 <= timestamp() - os.stat(path).st_mtime < _MARK_SECONDS
    except OSError:
        return False


def following(name: str, segment_size: int, count: int) -> list[str]:
    """Return the names of the next segments on the timeline."""
    from barman.postgres.wal_name import WalSegment

    segment, names = WalSegment.parse(name), []
    for _ in range(count):
        segment = segment.next(segment_size)
        names.append(segment.name)
    return names
