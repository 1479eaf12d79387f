"""`xlog.db`: the index of the WAL archive, one line a file.

The index is a cache: the WAL directory is the truth, and whatever is wrong here can be rebuilt from it. So readers skip
what they cannot read, writers append whole groups of lines durably, and every other change replaces the file as a
whole. All of it happens under the xlogdb lock, which the original takes too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from barman.catalog.layout import Layout
from barman.catalog.wal_file import WalFile, parse_line
from barman.catalog.whole_lines import whole_lines
from barman.fs.durable import Temporary, append_lines, is_temporary, remove, sweep_temporaries, symlink
from barman.fs.lock import FileLock
from barman.postgres.wal_name import hash_directory, is_wal_name
from barman.typing import TYPE_CHECKING, BinaryIO, Protocol
from barman.values import dataclass, field

if TYPE_CHECKING:
    from barman.compression.codec import CustomFilters

_CHUNK = 1 << 20
_NOT_WAL = ("sync-wals.info", "xlog.db")
"""Files of the WAL directory that belong there and are not WAL: the state of a passive node, the index before 3.13."""


class XlogLock(Protocol):
    """What this module needs of `Locks`."""

    def xlogdb(self) -> FileLock:
        """The lock of the index; waits when busy."""


class Warner(Protocol):
    """What a rebuild needs of a reporter."""

    def warning(self, message: str, /) -> None:
        """Tell the operator."""


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """How many files of each kind a rebuild found."""

    server_name: str
    history: int = 0
    backup_labels: int = 0
    wal_file: int = 0
    partial: int = 0


@dataclass(slots=True)
class IndexProblems:
    """What a scan met that is not a line of the index. Filled while the scan goes on."""

    blank: int = 0
    garbage: int = 0
    torn: bool = False
    first_garbage: bytes = b""
    short_lines: int = 0
    """Lines of older releases, in three or four columns: fine, and counted for the curious."""

    @property
    def any(self) -> bool:
        """Whether the index needs a rebuild."""
        return bool(self.blank or self.garbage or self.torn)


@dataclass(slots=True)
class _Counts:
    by_kind: dict[str, int] = field(default_factory=lambda: {"history": 0, "labels": 0, "segments": 0, "partial": 0})

    def add(self, name: str) -> None:
        kind = {".history": "history", ".backup": "labels", ".partial": "partial"}
        self.by_kind[kind.get(os.path.splitext(name)[1], "segments")] += 1


class XlogDb:
    """The index of one server's WAL archive."""

    def __init__(self, layout: Layout, locks: XlogLock, filters: Callable[[], CustomFilters] | None = None):
        """`filters` tells, when an index is built, which formats there are besides those that are built in."""
        self.layout = layout
        self._locks = locks
        self._filters = filters

    @property
    def path(self) -> str:
        """Where the index lives."""
        return self.layout.xlogdb

    def append(self, files: Sequence[WalFile]) -> None:
        """Add the lines of files that were just archived: one write under the lock, synced before returning.

        The files must be durable in the archive already. A missing index is rebuilt first, so that no file is listed
        twice or forgotten.
        """
        if not files:
            return
        with self._locks.xlogdb():
            if self._is_lost():
                self._rebuild(None, {file.name: file for file in files})
            else:
                append_lines(self.path, b"".join(file.line() for file in files))
                self._link_legacy_name()

    def scan(self, problems: IndexProblems | None = None) -> Iterator[WalFile]:
        """Every file of the index in the order of its lines, which is nearly the order of names.

        Duplicated lines are yielded as they come; the last one of a name is the valid one. Blank lines, garbage and a
        torn last line are skipped and counted in `problems`. A missing index has no lines. What is appended after the
        start is not seen.
        """
        problems = problems if problems is not None else IndexProblems()
        stream = self._open()
        if stream is None:
            return
        with stream:
            whole, size = 0, os.fstat(stream.fileno()).st_size
            for lines, end in whole_lines(_pieces(stream, size)):
                whole = end
                for line in lines.split(b"\n")[:-1]:
                    found = _read_line(line, problems)
                    if found is not None:
                        yield found
            problems.torn = whole < size

    def remove(self, names: Collection[str]) -> int:
        """Drop all lines of these names; answer how many.

        The file is replaced atomically, garbage not taken along; if none of the names is there, it is left alone.
        """
        doomed = {name.encode("ascii") for name in names}
        with self._locks.xlogdb():
            try:
                source = open(self.path, "rb")  # noqa: SIM115 - closed below
            except FileNotFoundError:
                return 0
            dropped = 0
            sweep_temporaries(self.layout.xlogdb_directory)
            with source, Temporary(self.path, mode=os.fstat(source.fileno()).st_mode & 0o777) as new:
                for lines in _whole_lines(source):
                    kept = [line for line in lines if line.split(b"\t", 1)[0] not in doomed]
                    dropped += len(lines) - len(kept)
                    new.file.write(b"".join(kept))
                if dropped:
                    new.publish(replace=True)
            return dropped

    def ensure(self, reporter: Warner | None = None) -> bool:
        """Build the index if it is missing, or empty while the archive is not; answer whether it had to be built."""
        if not self._is_lost():
            return False
        with self._locks.xlogdb():
            if not self._is_lost():
                return False
            self._rebuild(reporter, {})
        return True

    def rebuild(self, reporter: Warner | None = None, custom: CustomFilters | None = None) -> RebuildResult:
        """Write the index anew from the files of the archive; partial files are listed too.

        The old index stays in place until the new one is durable. An archiver that runs meanwhile waits. Compression
        and encryption are recognised by content (`custom` adds the magic of configured filters), sizes and times are
        those of the files. Files that do not belong into the archive are named in warnings and left alone. Raises
        OSError.
        """
        with self._locks.xlogdb():
            return self._rebuild(reporter, {}, custom)

    def _open(self) -> BinaryIO | None:
        """Open the index between two writers: the original rewrites in place."""
        if not os.path.exists(self.path):
            return None
        with self._locks.xlogdb():
            try:
                return open(self.path, "rb", buffering=_CHUNK)
            except FileNotFoundError:
                return None

    def _is_lost(self) -> bool:
        """Whether there is no index, or an empty one (a crash of the original while it rewrote) over an archive."""
        try:
            if os.stat(self.path).st_size:
                return False
        except FileNotFoundError:
            return True
        return any(True for _ in archived_files(self.layout, None))

    def _link_legacy_name(self) -> None:
        """Let `wals/xlog.db` lead to the index: monitoring scripts from before 3.13 read it.

        The original leaves a link alone, and unlinks it when it builds the index anew.
        """
        if not os.path.lexists(self.layout.legacy_xlogdb):
            try:
                symlink(os.path.relpath(self.path, self.layout.wals_directory), self.layout.legacy_xlogdb)
            except OSError:
                return  # no links here: only such scripts miss it

    def _rebuild(
        self, reporter: Warner | None, known: dict[str, WalFile], custom: CustomFilters | None = None
    ) -> RebuildResult:
        """`known` are files whose line is known better than content can tell."""
        counts = _Counts()
        if custom is None and self._filters is not None:
            custom = self._filters()
        sweep_temporaries(self.layout.xlogdb_directory)
        with Temporary(self.path) as new:
            for file in archived_files(self.layout, reporter, custom):
                new.file.write(known.get(file.name, file).line())
                counts.add(file.name)
            new.commit_data()
            new.publish(replace=True)
        if os.path.isfile(self.layout.legacy_xlogdb) and not os.path.islink(self.layout.legacy_xlogdb):
            remove([self.layout.legacy_xlogdb])
        self._link_legacy_name()
        kinds = counts.by_kind
        return RebuildResult(
            self.layout.server_name, kinds["history"], kinds["labels"], kinds["segments"], kinds["partial"]
        )


def archived_files(layout: Layout, reporter: Warner | None, custom: CustomFilters | None = None) -> Iterator[WalFile]:
    """Every WAL file of the archive directory, in the order of names, described from the file itself.

    A file that vanishes meanwhile is left out. What does not belong there is told to `reporter`. A missing directory is
    an empty archive.
    """
    index = os.path.basename(layout.xlogdb)
    for entry in _sorted_entries(layout.wals_directory):
        if entry.is_dir(follow_symlinks=True):
            found = _own_files(_sorted_entries(entry.path), entry.name, layout, reporter)
        elif not entry.name.startswith(index) and entry.name not in _NOT_WAL:
            found = _own_files([entry], "", layout, reporter)
        else:
            continue
        for file in found:
            try:
                yield _describe(file, custom)
            except FileNotFoundError:
                continue


def _own_files(
    entries: Iterable[os.DirEntry[str]], directory: str, layout: Layout, reporter: Warner | None
) -> Iterator[os.DirEntry[str]]:
    for entry in entries:
        if is_temporary(entry.name):
            continue
        if not is_wal_name(entry.name) or hash_directory(entry.name) != directory or not entry.is_file():
            if reporter is not None:
                reporter.warning(
                    f"unexpected file '{entry.path}' in the WAL archive of server '{layout.server_name}': left out"
                )
            continue
        yield entry


def _describe(entry: os.DirEntry[str], custom: CustomFilters | None) -> WalFile:
    from barman.catalog.wal_content import recognise_file

    facts = entry.stat()
    compression, encryption = recognise_file(entry.path, custom)
    return WalFile(entry.name, facts.st_size, facts.st_mtime, compression, encryption)


def _sorted_entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _pieces(source: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := source.read(min(_CHUNK, size))):
        yield piece
        size -= len(piece)


def _read_line(line: bytes, problems: IndexProblems) -> WalFile | None:
    found = parse_line(line)
    if found is None:
        if line.strip():
            problems.garbage += 1
            problems.first_garbage = problems.first_garbage or line[:80]
        else:
            problems.blank += 1
    elif line.count(b"\t") < 4:
        problems.short_lines += 1
    return found


def _whole_lines(source: BinaryIO) -> Iterator[list[bytes]]:
    """The lines of the index, many at once and normalised to five columns; a torn last line is left out."""
    for text, _ in whole_lines(_pieces(source, os.fstat(source.fileno()).st_size)):
        lines = text.splitlines(keepends=True)
        if text.count(b"\t") != 4 * len(lines) or b"\n\n" in text:
            lines = [found.line() for line in lines if (found := parse_line(line)) is not None]
        yield lines
