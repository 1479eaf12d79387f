"""Lock files: the flock is the lock, the pid in the file is information. Lock files are never unlinked here."""

from __future__ import annotations

import errno
import fcntl
import os

from barman.clock import sleep
from barman.errors import BarmanError, LockBusy
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from barman.clock import Deadline

_POLL_SECONDS = 0.05
_PROBES_OUTLASTED = 5


class FileLock:
    """An flock on a whole file, exclusive unless `shared`.

    `wait`: block until it is free, or until `deadline`; otherwise LockBusy is raised once it is sure that somebody
    holds the lock: both programs look at locks by taking them for an instant, and a command must not fail because
    another one looked. The lock is not inherited by children (the descriptor is close-on-exec). Compatible with the
    locks of the original, so both programs exclude each other on one host.
    """

    def __init__(
        self, path: str, *, wait: bool = False, deadline: Deadline | None = None, shared: bool = False
    ) -> None:
        self.path = path
        self.wait = wait
        self.deadline = deadline
        self.shared = shared
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Tell whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock. Raises LockBusy, or BarmanError when the file cannot be opened.

        The original removes lock files that nobody holds: a lock on a file which lost its name meanwhile excludes
        nobody, and is taken again.
        """
        while True:
            descriptor = self._open()
            try:
                self._lock(descriptor)
                if _has_name(descriptor, self.path):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        self._descriptor = descriptor
        if not self.shared:
            _write_pid(descriptor)

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise BarmanError(
                f"cannot open lock file '{self.path}': {error.strerror}",
                hint="Check owner and permissions of barman_lock_directory.",
            ) from error

    def _lock(self, descriptor: int) -> None:
        kind = fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX
        if self.wait and self.deadline is None:
            fcntl.flock(descriptor, kind)
            return
        outlasted = 0
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            if self.wait and self.deadline is not None and not self.deadline.expired:
                sleep(_POLL_SECONDS)
            elif outlasted < _PROBES_OUTLASTED and who_holds(self.path) is None:
                outlasted += 1
                sleep(_POLL_SECONDS / 10)
            else:
                raise LockBusy(self.path, _read_pid(descriptor))

    def release(self) -> None:
        """Give the lock back; the file stays."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            try:
                # Closing is not enough while a child that another thread forks has not called exec yet.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                os.close(descriptor)

    def leave_to_child(self) -> None:
        """Close our descriptor without unlocking: the lock is that of a child that was forked while it was held."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _write_pid(descriptor: int) -> None:
    text = f"{os.getpid()}\n".encode()
    try:
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
    except OSError:
        return  # the flock is the lock; on a full disk a deletion must be possible all the same


def _has_name(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _read_pid(descriptor: int) -> int | None:
    try:
        text = os.pread(descriptor, 32, 0).split(b"\n", 1)[0].strip()
        return int(text) if text else None
    except (OSError, ValueError):
        return None


def who_holds(path: str) -> int | None:
    """Return the pid of the process that holds the lock exclusively, None when nobody does, 0 when it cannot be told.

    The probe takes a shared lock for an instant: it never makes another probe see "busy", and `FileLock` tries again
    when it meets one.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read_pid(descriptor) or 0
    else:
        return None
    finally:
        os.close(descriptor)
