"""Copy files fast and make them durable later, together: for trees that nobody uses before the last file has landed.

`fs.durable` makes every single change durable. Here a caller promises that the tree is incomplete on purpose (a
restored cluster without its control file) until `sync_places` has returned. The kernel copies: reflink or in-kernel
copy where the file system can, else `sendfile`, else plain reads and writes. Threads may call everything here at once.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager

from barman.fs import durable
from barman.typing import IO, TYPE_CHECKING
from barman.workers import ordered_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_PIECE = 64 * 1024 * 1024
_BUFFER = 1024 * 1024
_EARLY_FLUSH = 1024 * 1024
_NOT_HERE = frozenset((errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.EIO))
_NO_LINKS = frozenset((errno.EMLINK, errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP))
_OPEN_TARGET = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


def ensure_directory(path: str, mode: int = 0o700) -> None:
    """Create one directory if it is missing; its parent must exist. Not durable yet. Raises OSError."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if os.path.islink(path) or not os.path.isdir(path):
            raise


def copy_attributes(source: os.stat_result, target: str) -> None:
    """Give a file or directory the mode and times of another and, when run by root, its owner."""
    if os.geteuid() == 0:
        os.chown(target, source.st_uid, source.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(source.st_mode):
        os.chmod(target, stat.S_IMODE(source.st_mode))
    os.utime(target, ns=(source.st_mtime_ns, source.st_mtime_ns), follow_symlinks=False)


def copy_file(source: str, target: str) -> int:
    """Copy content, mode, times (and, as root, owner) over `target`; return the bytes. Not durable yet.

    The target may exist; its modification time is set last. A link at the target is never followed. Raises OSError.
    """
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        info = os.fstat(reader)
        writer = os.open(target, _OPEN_TARGET, 0o600)
        try:
            with durable.naming(target):
                copied = _copy_content(reader, writer)
            if os.geteuid() == 0:
                os.fchown(writer, info.st_uid, info.st_gid)
            os.fchmod(writer, stat.S_IMODE(info.st_mode))
            os.utime(writer, ns=(info.st_mtime_ns, info.st_mtime_ns))
            start_writing_back(writer, copied)
        finally:
            os.close(writer)
    finally:
        os.close(reader)
    return copied


def write_file(path: str, pieces: Iterable[bytes], owner: os.stat_result, mode: int, mtime: float) -> int:
    """Write pieces over `path`, as `copy_file` does with a file; return the bytes. Not durable yet. Raises OSError."""
    writer = os.open(path, _OPEN_TARGET, 0o600)
    try:
        written = 0
        with durable.naming(path):
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(writer, view) :]
                written += len(piece)
        if os.geteuid() == 0:
            os.fchown(writer, owner.st_uid, owner.st_gid)
        os.fchmod(writer, mode)
        os.utime(writer, (mtime, mtime))
        start_writing_back(writer, written)
    finally:
        os.close(writer)
    return written


def set_attributes(path: str, owner: os.stat_result, mode: int) -> None:
    """Give a directory a mode and, when run by root, the owner of another path."""
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    os.chmod(path, mode)


def link_file(source: str, target: str) -> None:
    """Give a file a second name; it is copied where the file system has no (more) links. Not durable yet."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        copy_file(source, target)


def copy_link(source: str, target: str) -> None:
    """Copy a symbolic link as a link; an existing file or link at the target is replaced. Not durable yet."""
    try:
        os.unlink(target)
    except FileNotFoundError:
        pass
    os.symlink(os.readlink(source), target)
    copy_attributes(os.lstat(source), target)


def _copy_content(reader: int, writer: int) -> int:
    for method in (_by_range, _by_sendfile):
        try:
            return method(reader, writer)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            os.lseek(reader, 0, os.SEEK_SET)
            os.lseek(writer, 0, os.SEEK_SET)
    return _by_hand(reader, writer)


def _by_range(reader: int, writer: int) -> int:
    total = 0
    while count := os.copy_file_range(reader, writer, _PIECE):
        total += count
    return total


def _by_sendfile(reader: int, writer: int) -> int:
    total = 0
    while count := os.sendfile(writer, reader, None, _PIECE):
        total += count
    return total


def _by_hand(reader: int, writer: int) -> int:
    total = 0
    while piece := os.read(reader, _BUFFER):
        view = memoryview(piece)
        while view:
            view = view[os.write(writer, view) :]
        total += len(piece)
    return total


def start_writing_back(descriptor: int, size: int) -> None:
    """Let the kernel begin to write a large file out, so that a later fsync finds little to do."""
    if size >= _EARLY_FLUSH:
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError:
            pass  # advice only


@contextmanager
def new_file(path: str, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Open a file for writing from its beginning, whatever was there; a link is never followed. Not durable yet."""
    with durable.naming(path), os.fdopen(os.open(path, _OPEN_TARGET, mode), "wb") as file:
        yield file
        file.flush()
        start_writing_back(file.fileno(), file.tell())


def set_times(path: str, mtime: float) -> None:
    """Set the modification time of a file."""
    os.utime(path, (mtime, mtime))


def sync_places(roots: Iterable[str], jobs: int) -> None:
    """Make everything below some directories, and the directories' own names, durable.

    Thousands of fsyncs cost a journal commit each; one `syncfs(2)` a file system does the same at once. Before Linux
    5.8 that call hides write errors, so there, and where it does not exist, every file is synced by itself. Raises
    OSError.
    """
    roots = list(roots)
    # The name of a root is in its own file system, or it is a mount point, which was there before. Its parent need not
    # be readable.
    if not _sync_file_systems(roots):
        for root in roots:
            _sync_each(root, jobs)


def _sync_file_systems(paths: Sequence[str]) -> bool:
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if os.uname().sysname != "Linux" or release is None or (int(release[1]), int(release[2])) < (5, 8):
        return False
    import ctypes

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    for path in {os.stat(path).st_dev: path for path in paths}.values():
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), path)
        finally:
            os.close(descriptor)
    return True


def _sync_each(root: str, jobs: int) -> None:
    files = []
    directories = [root]
    for directory in directories:
        with os.scandir(directory) as found:
            for entry in found:
                if entry.is_file(follow_symlinks=False):
                    files.append(entry.path)
                elif entry.is_dir(follow_symlinks=False) and entry.name != "lost+found":
                    directories.append(entry.path)
    for _ in ordered_map(durable.sync_file, files, jobs, window=jobs * 8):
        pass
    for directory in (*reversed(directories), os.path.dirname(root)):
        durable.sync_directory(directory)


def own_like(path: str, other: str) -> None:
    """Give a new file or link, when run by root, the owner of another path: a server runs as one user."""
    if os.geteuid() == 0:
        info = os.stat(other)
        os.chown(path, info.st_uid, info.st_gid, follow_symlinks=False)
