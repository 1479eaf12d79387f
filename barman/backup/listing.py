"""What a directory on a host contains: the command that lists it, and how to read the answer. Pure.

One command lists a whole tree, links followed as the copy follows them. GNU find answers with nanoseconds; where it is
missing, rsync lists with whole seconds.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

from barman.errors import BackupError
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SECOND = 1_000_000_000
_NAMES = ("utf-8", "surrogateescape")  # how Python has the names of files as text
_FORMAT = r"%y %m %s %T@ %P\0"
_RSYNC_LINE = re.compile(
    r"([-dlspbc])([-rwxsStT]{9})\S*\s+([\d,.]+) (\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) (.*)\Z", re.DOTALL
)
_RSYNC_ESCAPE = re.compile(rb"\\#([0-7]{3})")
_KINDS = frozenset((b"f", b"d", b"l", b"p", b"s", b"c", b"b", b"D", b"L", b"N", b"U", b"?"))
_GONE = re.compile(r".*: No such file or directory\Z")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A plain file; `path` is relative to the root of the listing, `mtime_ns` may be a whole second."""

    path: str
    size: int
    mtime_ns: int
    mode: int

    @property
    def second(self) -> int:
        """Return the second of the modification time: what rsync compares."""
        return self.mtime_ns // _SECOND


@dataclass(frozen=True, slots=True)
class Listing:
    """The content of a tree: files, directories with their modes, and what is neither (dangling links, sockets)."""

    files: Mapping[str, ListedFile] = field(default_factory=dict)
    directories: Mapping[str, int] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self.files.values())


def find_argv(root: str, pruned: Sequence[str] = (), only: str = "") -> list[str]:
    """Return the command that lists a tree on the host that has it.

    `pruned` paths (relative) are not entered; with `only`, nothing at the top that does not match that pattern is.
    """
    top = root.rstrip("/") + "/"
    prune: list[str] = []
    for path in pruned:
        prune += ["-path", _escape(top + path), "-prune", "-o"]
    if only:
        prune += ["!", "-path", _escape(top) + only, "-prune", "-o"]
    return ["env", "LC_ALL=C", "find", "-L", top, "-mindepth", "1", *prune, "-printf", _FORMAT]


def _escape(path: str) -> str:
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def parse_find(output: bytes) -> Listing:
    """Read what the command of `find_argv` printed. Raises BackupError when it is cut short or is something else."""
    if output and not output.endswith(b"\0"):
        raise BackupError("the list of files on the host of PostgreSQL is incomplete")
    files: dict[str, ListedFile] = {}
    directories: dict[str, int] = {}
    others = []
    for entry in output.split(b"\0")[:-1]:
        try:
            kind, mode, size, mtime, name = entry.split(b" ", 4)
            if kind not in _KINDS:
                raise ValueError(kind)
            path = _text(name)
            if kind == b"f":
                files[path] = ListedFile(path, int(size), _nanoseconds(mtime), int(mode, 8))
            elif kind == b"d":
                directories[path] = int(mode, 8)
            else:
                others.append(path)
        except ValueError:
            shown = entry[:80].decode("utf-8", "replace")
            raise BackupError(
                f"cannot read the list of files on the host of PostgreSQL: '{shown}'",
                hint="The start-up files of the remote shell must print nothing when no terminal is there.",
            ) from None
    return Listing(files, directories, tuple(others))


def _text(name: bytes) -> str:
    return name.decode(*_NAMES)


def _nanoseconds(text: bytes) -> int:
    seconds, _, fraction = text.partition(b".")
    return int(seconds) * _SECOND + int(fraction[:9].ljust(9, b"0") or b"0")


def only_vanished(stderr: str, root: str) -> bool:
    """Tell whether find complains of nothing but files that went away while it looked; never of the root itself."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    missing = f"'{root.rstrip('/')}/': "
    return bool(lines) and all(_GONE.match(line) and missing not in line for line in lines)


def parse_rsync(output: bytes) -> Listing:
    """Read what `rsync --list-only --no-human-readable` printed with TZ=UTC; lines about nothing are skipped."""
    files: dict[str, ListedFile] = {}
    directories: dict[str, int] = {}
    others = []
    for line in _text(output).split("\n"):
        match = _RSYNC_LINE.match(line)
        if match is None:
            continue
        path = _text(_RSYNC_ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), match[5].encode(*_NAMES)))
        if path == ".":
            continue
        if match[1] == "-":
            moment = datetime.strptime(match[4], "%Y/%m/%d %H:%M:%S").replace(tzinfo=timezone.utc)
            size = int(re.sub("[,.]", "", match[3]))
            files[path] = ListedFile(path, size, int(moment.timestamp()) * _SECOND, _mode(match[2]))
        elif match[1] == "d":
            directories[path] = _mode(match[2])
        else:
            others.append(path)
    return Listing(files, directories, tuple(others))


def _mode(letters: str) -> int:
    mode = 0
    for position, letter in enumerate(letters):
        if letter in "rwxst":
            mode |= 1 << (8 - position)
        if letter in "sStT":
            mode |= (0o4000, 0o2000, 0o1000)[position // 3]
    return mode
