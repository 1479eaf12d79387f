"""The only module that reads the clock or sleeps."""

from __future__ import annotations

import time
from datetime import datetime

from barman.errors import DeadlineExceeded


def now() -> datetime:
    """Return the current moment in the local time zone."""
    return datetime.now().astimezone()


def timestamp() -> float:
    """Return the seconds since the epoch."""
    return time.time()


def monotonic() -> float:
    """Return seconds that never go backwards."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Pause this thread."""
    time.sleep(seconds)


class Deadline:
    """A moment after which an operation must give up; `Deadline(None)` never comes."""

    __slots__ = ("_end", "seconds")

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        """Return the seconds left, never negative, or None when there is no limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def expired(self) -> bool:
        """Tell whether the moment has passed."""
        return self._end is not None and time.monotonic() >= self._end

    def check(self, what: str) -> None:
        """Raise DeadlineExceeded naming `what` when the moment has passed."""
        if self.expired:
            raise DeadlineExceeded(f"{what} took longer than {self.seconds:g} seconds")

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the deadline."""
        left = self.remaining()
        time.sleep(seconds if left is None else min(seconds, left))
