"""The only module that changes the file system, and the order in which it makes changes durable.

After a function returns, what it promises survives a power loss: data is fsynced before it gets its final name, and
the directory that holds the name is fsynced after. Temporaries are named `.<name>.<pid>.tmp` in the directory of the
final file, so that no reader ever sees half a file under a real name. See fsync(2), rename(2); a directory fsync that
the file system does not know (EINVAL) is forgiven, EIO never is.
"""

from __future__ import annotations

import errno
import os
import re
import stat

from barman.typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

_TEMPORARY = re.compile(r"\..+\.(\d+)(?:-\d+)?\.tmp\Z", re.DOTALL)
_COPY_CHUNK = 8 * 1024 * 1024
_TAIL = 64 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class naming:  # reads as a word: with naming(path)
    """Give an error of a full disk the path that was written: the kernel knows descriptors only."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(value, OSError) and value.filename is None and value.errno in _NO_ROOM:
            value.filename = self._path


# -- syncing ---------------------------------------------------------------------------------------------------------


def sync_file(path: str) -> None:
    """Make the content of an existing file durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def sync_directories(paths: Iterable[str]) -> None:
    """Make the names in several directories durable, each once."""
    for path in sorted(set(paths)):
        sync_directory(path)


def sync_tree(root: str) -> None:
    """Make a whole tree durable: files first, then directories from the leaves up, then the parent of the root."""
    directories = []
    pending = [root]
    while pending:
        directory = pending.pop()
        directories.append(directory)
        with os.scandir(directory) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    sync_file(entry.path)
    for directory in reversed(directories):
        sync_directory(directory)
    sync_directory(os.path.dirname(os.path.abspath(root)))


# -- directories -----------------------------------------------------------------------------------------------------


def make_directory(path: str, mode: int = 0o777) -> None:
    """Create a directory and its missing parents; each parent that got a new name is fsynced. Existing: nothing."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        make_directory(parent)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return
    sync_directory(parent)


def remove_empty_directory(path: str) -> bool:
    """Remove a directory if it is empty (rmdir only) and sync its parent; tell whether it went."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            return False
        raise
    sync_directory(os.path.dirname(os.path.abspath(path)))
    return True


def remove_tree(path: str) -> None:
    """Remove a tree and sync its parent; a link is removed, never followed; a missing path is fine."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            _remove_all(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        # Somebody else removed part of the tree meanwhile: what is asked for is its absence.
        if os.path.lexists(path):
            _remove_all(path)
    sync_directory(os.path.dirname(os.path.abspath(path)))


def _remove_all(path: str) -> None:
    import shutil  # rarely needed, and it loads every compression module

    shutil.rmtree(path)


def change_mode(path: str, mode: int) -> None:
    """Set the permission bits of a path."""
    os.chmod(path, mode)


# -- files -----------------------------------------------------------------------------------------------------------


def _temporary_path(final_path: str) -> str:
    directory, name = os.path.split(final_path)
    return os.path.join(directory, f".{name}.{os.getpid()}.tmp")


class Temporary:
    """A file being written beside its final place.

    Use as a context manager: leaving it without `publish` or `keep` discards the temporary. `file` is open for binary
    writing. The order is: write, `commit_data()`, then `publish()` here or `durable.publish()` for a batch.
    """

    def __init__(self, final_path: str, mode: int | None = None, *, suffix: str = "") -> None:
        self.final_path = final_path
        self.path = _temporary_path(final_path + suffix)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o666 if mode is None else mode)
        self.file: IO[bytes] = os.fdopen(descriptor, "w+b")
        self._kept = False

    def commit_data(self) -> None:
        """Flush, fsync and close the file: its bytes are durable, its name is still the temporary one."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def set_times(self, mtime: float) -> None:
        """Give the temporary the modification time of the file it is made from."""
        os.utime(self.path, (mtime, mtime))

    def set_mode(self, mode: int) -> None:
        """Set the permission bits."""
        os.chmod(self.path, mode)

    def publish(self, *, replace: bool = False) -> None:
        """Give the file its final name and sync the directory. Raises FileExistsError unless `replace`."""
        if not self.file.closed:
            self.commit_data()
        publish([(self.path, self.final_path)], replace=replace)
        self._kept = True

    def keep(self) -> None:
        """Leave the temporary in place: a batch `publish` takes it over."""
        self._kept = True

    def discard(self) -> None:
        """Remove the temporary, also when closing it fails because the disk is full."""
        try:
            with naming(self.path):
                if not self.file.closed:
                    self.file.close()
        finally:
            if not self._kept:
                self._kept = True
                try:
                    os.unlink(self.path)
                except FileNotFoundError:
                    pass

    def __enter__(self) -> Temporary:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        naming(self.path).__exit__(kind, value, trace)
        self.discard()


def publish(pairs: Sequence[tuple[str, str]], *, replace: bool = False) -> None:
    """Give synced temporaries their final names, then sync each directory once.

    Without `replace` a name that exists is never clobbered: FileExistsError is raised, names published before it stay.
    """
    for temporary, final in pairs:
        if replace:
            os.rename(temporary, final)
        else:
            _rename_new(temporary, final)
    sync_directories(os.path.dirname(final) for _, final in pairs)


def _rename_new(source: str, target: str) -> None:
    """Rename without ever clobbering. link + unlink does that on every POSIX file system with hard links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        # No hard links here (some network and FUSE file systems): the callers hold the lock that owns the directory.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target)
    else:
        os.unlink(source)


def write_atomic(path: str, data: bytes | str, mode: int | None = None) -> None:
    """Replace or create a file so that readers see the old or the new content, and the new one survives a crash."""
    content = data.encode() if isinstance(data, str) else data
    with Temporary(path, mode) as temporary:
        if mode is not None:
            temporary.set_mode(mode)
        temporary.file.write(content)
        temporary.publish(replace=True)


def append_lines(path: str, data: bytes) -> None:
    """Append whole lines with one write, then fsync; a torn last line of a crashed writer is cut off first.

    The caller holds the lock that owns the file. A new file's directory is fsynced too. When the write fails half way
    (disk full) the file is cut back to its old length before the error is raised.
    """
    if not data:
        return
    existed = os.path.exists(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        end = _end_of_last_line(descriptor)
        try:
            with naming(path):
                written = 0
                while written < len(data):
                    written += os.pwrite(descriptor, data[written:], end + written)
                os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
    if not existed:
        sync_directory(os.path.dirname(os.path.abspath(path)))


def _end_of_last_line(descriptor: int) -> int:
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - _TAIL)
        position = os.pread(descriptor, end - start, start).rfind(b"\n")
        if position >= 0:
            end = start + position + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
    return end


def remove(paths: Iterable[str]) -> None:
    """Unlink files, then sync each directory once; what is already gone is fine."""
    directories = set()
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        directories.add(os.path.dirname(os.path.abspath(path)))
    sync_directories(directories)


def move(source: str, target: str) -> None:
    """Give a file another name or directory, never clobbering: FileExistsError.

    Regular files and links can go to another file system; a link is not followed, and what is neither stays: OSError.
    """
    try:
        _rename_new(source, target)
    except OSError as error:
        mode = os.lstat(source).st_mode
        if error.errno != errno.EXDEV or not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(source), target)
        else:
            copy_file(source, target)
        os.unlink(source)
    sync_directories([os.path.dirname(os.path.abspath(target)), os.path.dirname(os.path.abspath(source))])


def replace(source: str, target: str) -> None:
    """Rename over whatever has the name, and sync the directories."""
    os.rename(source, target)
    sync_directories([os.path.dirname(os.path.abspath(target)), os.path.dirname(os.path.abspath(source))])


def copy_file(source: str, target: str, mode: int | None = None) -> None:
    """Copy content, mode (unless given) and times through a temporary; never clobbers; durable."""
    with open(source, "rb") as reader, Temporary(target) as temporary:
        info = os.fstat(reader.fileno())
        while chunk := reader.read(_COPY_CHUNK):
            temporary.file.write(chunk)
        temporary.set_mode(stat.S_IMODE(info.st_mode) if mode is None else mode)
        temporary.file.flush()
        temporary.set_times(info.st_mtime)
        temporary.publish()


def symlink(target: str, path: str) -> None:
    """Create a symbolic link and sync its directory."""
    os.symlink(target, path)
    sync_directory(os.path.dirname(os.path.abspath(path)))


def truncate(path: str, size: int) -> None:
    """Cut a file to `size` bytes and sync it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- temporaries of others -------------------------------------------------------------------------------------------


def is_temporary(name: str) -> bool:
    """Tell whether a file name is one of our temporaries."""
    return _TEMPORARY.match(name) is not None


def sweep_temporaries(directory: str) -> int:
    """Remove temporaries whose writer is gone; the caller holds the lock that owns the directory. Return how many."""
    doomed = []
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return 0
    for name in names:
        match = _TEMPORARY.match(name)
        if match and not _alive(int(match.group(1))):
            doomed.append(os.path.join(directory, name))
    remove(doomed)
    return len(doomed)


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
