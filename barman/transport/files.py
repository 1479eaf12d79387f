"""Files on a host, here or behind a runner: the same questions and changes with the same answers and errors.

Every failure is a FileFailed (FileMissing when the path does not exist) that names path, host and reason; a host that
cannot be reached raises what its runner raises. Remote files need a POSIX shell and its programs only.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager

from barman.errors import FileFailed, FileMissing
from barman.fs import durable
from barman.process import last_line
from barman.typing import TYPE_CHECKING, Protocol
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.clock import Deadline
    from barman.transport.runner import CommandRunner

READ_LIMIT = 64 * 1024 * 1024
"""A file larger than this is not read into memory."""


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What a path is; a link is itself, not what it points to. `mtime` in whole seconds."""

    mode: int
    size: int
    mtime: int
    uid: int
    gid: int

    @property
    def is_directory(self) -> bool:
        """Tell whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Tell whether it is a plain file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Tell whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)


class Files(Protocol):
    """The files of one host; paths are absolute. Changes are durable when a method returns."""

    def exists(self, path: str) -> bool:
        """Tell whether the path exists; a dangling link does."""

    def is_directory(self, path: str) -> bool:
        """Tell whether the path is a directory, or a link to one."""

    def is_writable(self, path: str) -> bool:
        """Tell whether this user may create files in the directory."""

    def status(self, path: str) -> FileStatus | None:
        """Return what the path is, None when it does not exist."""

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory, hidden ones too."""

    def read(self, path: str, limit: int = READ_LIMIT) -> bytes:
        """Return the content of a file; more than `limit` bytes is a FileFailed."""

    def read_link(self, path: str) -> str:
        """Return what a symbolic link points to."""

    def write(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Create or replace a file: readers see the old or the whole new content."""

    def make_directory(self, path: str, mode: int = 0o700) -> None:
        """Create a directory and its missing parents; an existing one is left as it is."""

    def make_link(self, target: str, path: str) -> None:
        """Create a symbolic link; an existing path is a FileFailed."""

    def set_mode(self, path: str, mode: int) -> None:
        """Set the permission bits."""

    def move(self, source: str, target: str) -> None:
        """Rename; an existing target file is replaced, an existing directory is a FileFailed."""

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files and links; what does not exist is fine, a directory is a FileFailed."""

    def remove_tree(self, path: str) -> None:
        """Remove a file, a link (never followed) or a whole tree; what does not exist is fine."""

    def remove_content(self, path: str) -> None:
        """Remove everything in a directory and keep the directory."""

    def free_space(self, path: str) -> int:
        """Return the bytes this user may still write to the file system of an existing path."""

    def sync(self, path: str) -> None:
        """Make the file system that holds the path durable."""


class LocalFiles:
    """The files of this host."""

    _host = "this host"

    def exists(self, path: str) -> bool:
        """Tell whether the path exists."""
        return os.path.lexists(path)

    def is_directory(self, path: str) -> bool:
        """Tell whether the path is a directory, or a link to one."""
        return os.path.isdir(path)

    def is_writable(self, path: str) -> bool:
        """Tell whether this user may create files in the directory."""
        return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)

    def status(self, path: str) -> FileStatus | None:
        """Return what the path is, None when it does not exist."""
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _local_failure("look at", path, error) from error
        return FileStatus(found.st_mode, found.st_size, int(found.st_mtime), found.st_uid, found.st_gid)

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory."""
        with _translated("list", path):
            return sorted(os.listdir(path))

    def read(self, path: str, limit: int = READ_LIMIT) -> bytes:
        """Return the content of a file."""
        with _translated("read", path), open(path, "rb") as file:
            data = file.read(limit + 1)
        return _limited(data, path, self._host, limit)

    def read_link(self, path: str) -> str:
        """Return what a symbolic link points to."""
        with _translated("read link", path):
            return os.readlink(path)

    def write(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Create or replace a file."""
        with _translated("write", path):
            durable.write_atomic(path, data, mode)

    def make_directory(self, path: str, mode: int = 0o700) -> None:
        """Create a directory and its missing parents."""
        with _translated("create directory", path):
            durable.make_directory(path, mode)

    def make_link(self, target: str, path: str) -> None:
        """Create a symbolic link."""
        with _translated("create link", path):
            durable.symlink(target, path)

    def set_mode(self, path: str, mode: int) -> None:
        """Set the permission bits."""
        with _translated("set the mode of", path):
            durable.change_mode(path, mode)

    def move(self, source: str, target: str) -> None:
        """Rename."""
        with _translated("move to", target):
            durable.replace(source, target)

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files and links."""
        with _translated("remove", ", ".join(paths)):
            durable.remove(paths)

    def remove_tree(self, path: str) -> None:
        """Remove a file, a link or a whole tree."""
        with _translated("remove", path):
            if os.path.lexists(path):
                durable.remove_tree(path)

    def remove_content(self, path: str) -> None:
        """Remove everything in a directory."""
        with _translated("empty", path):
            for name in os.listdir(path):
                durable.remove_tree(os.path.join(path, name))

    def free_space(self, path: str) -> int:
        """Return the bytes that may still be written."""
        with _translated("look at the file system of", path):
            found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def sync(self, path: str) -> None:
        """Make the file system that holds the path durable."""
        with _translated("sync", path):
            os.stat(path)
            os.sync()


# Each script gets its values as positional parameters and prints after the mark, so that nothing that the start-up
# files of the remote shell say gets into an answer. Statuses below 64 are the scripts' own.
_MARK = b"--barman--\n"
_MISSING = 44
_REFUSED = 45
_PREAMBLE = (
    "LC_ALL=C; export LC_ALL; printf '%s\\n' --barman--; "
    f'missing() {{ [ -e "$1" ] || [ -L "$1" ] || exit {_MISSING}; }}; '
    f"refuse() {{ printf '%s\\n' \"$1\" >&2; exit {_REFUSED}; }}; "
    # sync of GNU and busybox takes files; elsewhere everything is synced.
    'flush() { sync "$@" 2>/dev/null || sync; }; '
)
_STATUS = (
    '[ -e "$1" ] || [ -L "$1" ] || exit 0; '
    "stat -c '%f %s %Y %u %g' -- \"$1\" 2>/dev/null || stat -f '%Xp %z %m %u %g' -- \"$1\""
)
_NAMES = (
    'missing "$1"; cd -- "$1" || exit 1; ls >/dev/null || exit 1; '
    'for name in * .[!.]* ..?*; do if [ -e "$name" ] || [ -L "$name" ]; then printf \'%s\\000\' "$name"; fi; done'
)
_READ = 'missing "$1"; [ -d "$1" ] && refuse "it is a directory"; exec head -c "$2" -- "$1"'
_READ_LINK = (
    'missing "$1"; [ -L "$1" ] || refuse "it is not a link"; '
    'if command -v readlink >/dev/null; then exec readlink -- "$1"; fi; ls -ld -- "$1" | sed \'s/^.* -> //\''
)
# A connection that breaks looks like the end of the input: the size tells.
_WRITE = (
    '[ -d "$1" ] && refuse "it is a directory"; umask 077; new="$2/.$3.$$.tmp"; trap \'rm -f -- "$new"\' EXIT; '
    'cat > "$new" || exit 1; [ "$(wc -c < "$new")" -eq "$4" ] || refuse "the content did not arrive whole"; '
    'chmod "$5" "$new" && flush "$new" && mv -f -- "$new" "$1" && flush "$2"'
)
_MAKE_DIRECTORY = (
    '[ -d "$1" ] && exit 0; parent=$(dirname -- "$1"); mkdir -p -- "$parent" && '
    '{ mkdir -m "$2" -- "$1" || [ -d "$1" ]; } && flush "$parent"'
)
_MAKE_LINK = (
    'if [ -e "$2" ] || [ -L "$2" ]; then refuse "File exists"; fi; ln -s -- "$1" "$2" && flush "$(dirname -- "$2")"'
)
_SET_MODE = 'missing "$1"; chmod "$2" "$1"'
_MOVE = (
    'missing "$1"; [ -d "$2" ] && refuse "it is a directory"; '
    'mv -f -- "$1" "$2" && flush "$(dirname -- "$1")" "$(dirname -- "$2")"'
)
_REMOVE = (
    'for path do if [ -d "$path" ] && [ ! -L "$path" ]; then refuse "$path is a directory"; fi; done; '
    'rm -f -- "$@" && for path do flush "$(dirname -- "$path")"; done'
)
_REMOVE_TREE = 'if [ -e "$1" ] || [ -L "$1" ]; then rm -rf -- "$1" && flush "$(dirname -- "$1")"; fi'
_REMOVE_CONTENT = (
    'missing "$1"; cd -- "$1" || exit 1; '
    'for name in * .[!.]* ..?*; do if [ -e "$name" ] || [ -L "$name" ]; then rm -rf -- "./$name" || exit 1; fi; done; '
    "flush ."
)
_FREE_SPACE = 'missing "$1"; df -Pk -- "$1"'
_SYNC = 'missing "$1"; sync -f -- "$1" 2>/dev/null || sync'


class RemoteFiles:
    """The files of another host, one command of its shell for each question or change."""

    def __init__(self, runner: CommandRunner, deadline: Deadline | None = None) -> None:
        self._runner = runner
        self._deadline = deadline

    def exists(self, path: str) -> bool:
        """Tell whether the path exists."""
        return self._tell('[ -e "$1" ] || [ -L "$1" ]', path)

    def is_directory(self, path: str) -> bool:
        """Tell whether the path is a directory, or a link to one."""
        return self._tell('[ -d "$1" ]', path)

    def is_writable(self, path: str) -> bool:
        """Tell whether this user may create files in the directory."""
        return self._tell('[ -d "$1" ] && [ -w "$1" ] && [ -x "$1" ]', path)

    def status(self, path: str) -> FileStatus | None:
        """Return what the path is, None when it does not exist."""
        answer = self._ask("look at", path, _STATUS, path).split()
        if not answer:
            return None
        try:
            mode, size, mtime, uid, gid = answer
            return FileStatus(int(mode, 16), int(size), int(mtime), int(uid), int(gid))
        except ValueError as error:
            raise self._unreadable("look at", path, b" ".join(answer)) from error

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory."""
        return sorted(os.fsdecode(name) for name in self._ask("list", path, _NAMES, path).split(b"\0") if name)

    def read(self, path: str, limit: int = READ_LIMIT) -> bytes:
        """Return the content of a file."""
        data = self._ask("read", path, _READ, path, str(limit + 1))
        return _limited(data, path, self._runner.description, limit)

    def read_link(self, path: str) -> str:
        """Return what a symbolic link points to."""
        return os.fsdecode(self._ask("read link", path, _READ_LINK, path).removesuffix(b"\n"))

    def write(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Create or replace a file."""
        directory, name = os.path.split(path)
        self._ask("write", path, _WRITE, path, directory, name, str(len(data)), f"{mode:o}", stdin=data)

    def make_directory(self, path: str, mode: int = 0o700) -> None:
        """Create a directory and its missing parents."""
        self._ask("create directory", path, _MAKE_DIRECTORY, path, f"{mode:o}")

    def make_link(self, target: str, path: str) -> None:
        """Create a symbolic link."""
        self._ask("create link", path, _MAKE_LINK, target, path)

    def set_mode(self, path: str, mode: int) -> None:
        """Set the permission bits."""
        self._ask("set the mode of", path, _SET_MODE, path, f"{mode:o}")

    def move(self, source: str, target: str) -> None:
        """Rename."""
        self._ask("move to", target, _MOVE, source, target)

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files and links."""
        if paths:
            self._ask("remove", ", ".join(paths), _REMOVE, *paths)

    def remove_tree(self, path: str) -> None:
        """Remove a file, a link or a whole tree."""
        self._ask("remove", path, _REMOVE_TREE, path)

    def remove_content(self, path: str) -> None:
        """Remove everything in a directory."""
        self._ask("empty", path, _REMOVE_CONTENT, path)

    def free_space(self, path: str) -> int:
        """Return the bytes that may still be written."""
        answer = self._ask("look at the file system of", path, _FREE_SPACE, path)
        try:
            # A long device name may stand on a line of its own on old systems; available is third from the end... of
            # `blocks used available capacity% mount`, and the mount point may hold blanks: count from the percentage.
            words = answer.decode("utf-8", "replace").split("\n", 1)[1].split()
            place = next(index for index, word in enumerate(words) if index >= 3 and word.endswith("%"))
            return int(words[place - 1]) * 1024
        except (IndexError, ValueError, StopIteration) as error:
            raise self._unreadable("look at the file system of", path, answer) from error

    def sync(self, path: str) -> None:
        """Make the file system that holds the path durable."""
        self._ask("sync", path, _SYNC, path)

    def _tell(self, script: str, path: str) -> bool:
        answer = self._ask("look at", path, f"if {script}; then echo yes; else echo no; fi", path)
        if answer not in (b"yes\n", b"no\n"):
            raise self._unreadable("look at", path, answer)
        return answer == b"yes\n"

    def _ask(self, verb: str, path: str, script: str, *values: str, stdin: bytes | None = None) -> bytes:
        """Run a script with values as `$1`, `$2` … and return what it prints."""
        return run_script(self._runner, f"{verb} '{path}'", script, values, stdin=stdin, deadline=self._deadline)

    def _unreadable(self, verb: str, path: str, answer: bytes) -> FileFailed:
        return _unexpected(self._runner, f"{verb} '{path}'", answer)


def run_script(
    runner: CommandRunner,
    doing: str,
    script: str,
    values: Sequence[str],
    *,
    stdin: bytes | None = None,
    deadline: Deadline | None = None,
) -> bytes:
    """Run a script of the POSIX shell with values as `$1`, `$2` … and return what it prints.

    The script may call `missing PATH` (ends it when the path does not exist), `refuse TEXT` and `flush [PATH...]`
    (makes files and directories durable). `doing` says in messages what cannot be done. Raises FileMissing, FileFailed
    with the script's own words, and what the runner raises.
    """
    done = runner.run(
        ["/bin/sh", "-c", _PREAMBLE + script, "sh", *values],
        stdin=stdin,
        deadline=deadline,
        check=False,
        doing=f"trying to {doing}",
    )
    _, mark, answer = done.stdout.partition(_MARK)
    if done.returncode == _MISSING:
        raise FileMissing(f"cannot {doing} on {runner.description}: No such file or directory")
    if done.returncode != 0:
        raise FileFailed(f"cannot {doing} on {runner.description}: {_reason(done.error_text)}")
    if not mark:
        raise _unexpected(runner, doing, done.stdout)
    return answer


def _unexpected(runner: CommandRunner, doing: str, answer: bytes) -> FileFailed:
    shown = answer[-200:].decode("utf-8", "replace").strip()
    return FileFailed(
        f"cannot {doing} on {runner.description}: unexpected answer '{shown}'",
        hint="The shell of the ssh user must run commands as they are given.",
    )


def _reason(text: str) -> str:
    """Return the program's last word on the matter, without the names in front of it."""
    line = last_line(text)
    return line.rpartition(": ")[2] or line


def _limited(data: bytes, path: str, host: str, limit: int) -> bytes:
    if len(data) > limit:
        raise FileFailed(f"cannot read '{path}' on {host}: it is larger than {limit} bytes")
    return data


def _local_failure(verb: str, path: str, error: OSError) -> FileFailed:
    kind = FileMissing if isinstance(error, FileNotFoundError | NotADirectoryError) else FileFailed
    return kind(f"cannot {verb} '{path}' on this host: {error.strerror}")


@contextmanager
def _translated(verb: str, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _local_failure(verb, path, error) from error
