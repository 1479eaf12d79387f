"""Bring a directory here to what it is on another host, and compare the two byte by byte.

What an earlier attempt has brought stays: a file that is here with the size and the second of modification of the
source is complete, because rsync gives a file its time at the end, unless the operating system has stopped since (then
it is compared by content). A file that is here in part is continued in place. Nothing is ever written into a file that
has another name: it may belong to another backup. The source does not change while it is copied; what that is worth
is told by `differences`, which reads everything on both hosts.
"""

from __future__ import annotations

import os
import stat
import threading

from barman import clock
from barman.backup.copy_plan import select_files, share_of_bandwidth, share_out
from barman.backup.listing import ListedFile, Listing, find_argv, parse_find
from barman.clock import Deadline
from barman.errors import SyncError
from barman.fs import copying, durable
from barman.fs.tree import walk
from barman.process import find_program, last_line, tied_argv
from barman.report import Progress
from barman.transport.rsync import NAMED_FILES_FLAGS, Item, RsyncJob
from barman.transport.rsync_pool import PoolOptions, RsyncPool
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, replace
from barman.workers import ordered_map

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from barman.report import Reporter
    from barman.server.server import Server
    from barman.transport.host import Host

_SECOND = 1_000_000_000
_LINKERS = 4
_LISTING_SECONDS = 1800.0
SILENCE_SECONDS = 1800
"""A connection on which nothing moves for so long is dead: while it is waited for, nothing else is copied."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What is mirrored: a directory on the other host, its place here, and relative paths that are left alone."""

    source: str
    destination: str
    pruned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loan:
    """A directory here with the same tree in another state, whose files are taken `how`: `link` or `copy`.

    `begun`: equal times prove equal content for what was last modified before; None when they prove nothing.
    """

    how: str
    directory: str
    begun: datetime | None = None


@dataclass(slots=True)
class MirrorStatistics:
    """Files and bytes of the tree; how many files were here, were taken from others, and travelled with content."""

    files: int = 0
    size: int = 0
    present: int = 0
    reused: int = 0
    transferred: int = 0
    travelled: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Here:
    """A file that is here."""

    size: int
    second: int
    links: int


class Mirror:
    """One tree. `cancel` may be called by any thread and makes `copy` raise."""

    def __init__(
        self,
        host: Host,
        tree: Tree,
        options: PoolOptions,
        reporter: Reporter,
        *,
        compress: bool = False,
        bandwidth_limit: int | None = None,
    ) -> None:
        """Get ready. `bandwidth_limit` (kB/s) is that of all workers together."""
        self._host = host
        self._tree = tree
        self._options = options
        self._reporter = reporter
        self._compress = compress
        self._limit = bandwidth_limit
        self._lock = threading.Lock()
        self._progress = Progress("Copying", 0, 0)
        self._surveyed: Listing | None = None
        self.statistics = MirrorStatistics()

    def survey(self) -> Listing:
        """Look at what there is to copy. From now on the source must not change. Raises SyncError."""
        self._surveyed = None
        self._surveyed = self._list_source()
        for path in self._surveyed.others:
            self._reporter.warning(f"'{self._tree.source}/{path}' on the primary is not a file and was not copied")
        return self._surveyed

    def copy(self, loans: Sequence[Loan] = (), *, intact: bool = False) -> None:
        """Copy everything that is missing or different here, and remove what the source does not have. Not durable.

        `intact`: files that are here are as they were written. Raises SyncError, CommandFailed, OSError.
        """
        began = clock.monotonic()
        source = self._surveyed or self.survey()
        here = self._make_room(source)
        statistics = self.statistics
        statistics.files, statistics.size = len(source.files), source.size
        self._progress = Progress("Copying", 0, source.size, started_at=clock.monotonic())
        absent: dict[str, ListedFile] = {}
        begun: list[ListedFile] = []
        doubtful: list[ListedFile] = []
        for path, file in source.files.items():
            found = here.get(path)
            if found is None:
                absent[path] = file
            elif (found.size, found.second) != (file.size, file.second):
                begun.append(file)
            elif intact:
                statistics.present += 1
                self._progress.done += file.size
            else:
                doubtful.append(file)
        # What is continued in place must have no other name.
        durable.remove(self._place(file.path) for file in begun if here[file.path].links > 1)
        jobs = [*self._jobs(begun, "continued"), *self._jobs(doubtful, "compared", checksum=True, inplace=False)]
        left = Listing(absent)
        basis: Loan | None = None
        for loan in loans:
            lent = _list_loan(loan.directory)
            if lent is None:
                continue
            basis = basis or loan
            selection = select_files(left, lent, loan.begun)
            self._take(selection.unchanged, loan)
            jobs += self._jobs(selection.doubtful, "compared with another backup", loan=loan, checksum=True)
            left = Listing({file.path: file for file in selection.changed})
        jobs += self._jobs(tuple(left.files.values()), "copied", loan=basis)
        self._run(jobs)
        for path in sorted(source.directories, reverse=True):
            durable.change_mode(self._place(path), source.directories[path] | 0o700)
        statistics.seconds = clock.monotonic() - began

    def differences(self, known: Collection[str] = ()) -> tuple[str, ...]:
        """Compare by checksums that both hosts compute; return relative paths that differ, are missing, or too many.

        What is `known` to be right is compared by name and size only. Raises SyncError, CommandFailed, OSError.
        """
        source, here = self._list_source(), self._list_here()
        wrong = {*source.files.keys() ^ here.files.keys(), *source.directories.keys() ^ here.directories.keys()}
        both = source.files.keys() & here.files.keys()
        wrong |= {path for path in both if source.files[path].size != here.files[path].size}
        found: set[str] = set()

        def on_item(item: Item) -> None:
            if item.code[0] in "<>c":
                found.add(item.name)

        files = [source.files[path] for path in sorted(both - wrong - set(known))]
        jobs = [
            replace(job, extra=("--dry-run",), ignore_missing=False)
            for job in self._jobs(files, "compared", checksum=True, inplace=False)
        ]
        self._pool(on_item).run(jobs)
        return tuple(sorted(wrong | found))

    def repair(self) -> None:
        """Bring again every byte that differs, whatever size and time say. Not durable."""
        source = self._list_source()
        here = self._make_room(source)
        alone = [file for path, file in source.files.items() if path not in here or here[path].links == 1]
        shared = [file for path, file in source.files.items() if path in here and here[path].links > 1]
        self._run(
            [*self._jobs(alone, "repaired", checksum=True), *self._jobs(shared, "", checksum=True, inplace=False)]
        )

    # -- what there is

    def _list_source(self) -> Listing:
        tree = self._tree
        done = self._host.runner.run(
            find_argv(tree.source, tree.pruned),
            check=False,
            deadline=Deadline(_LISTING_SECONDS),
            doing=f"listing '{tree.source}'",
        )
        if done.returncode != 0:
            raise SyncError(f"cannot list '{tree.source}' on the primary: {last_line(done.error_text)}")
        found = parse_find(done.stdout)
        for path in (*found.files, *found.directories):
            _require_inside(path)
        files = {path: file for path, file in found.files.items() if not durable.is_temporary(path)}
        changed = _changed(self._surveyed.files, files) if self._surveyed is not None else []
        if changed:
            raise SyncError(
                f"'{tree.source}' changes on the primary while it is copied: {len(changed)} files, '{changed[0]}' "
                "among them"
            )
        return Listing(files, found.directories, found.others)

    def _list_here(self) -> Listing:
        files, directories, others = {}, {}, []
        for entry in walk(self._tree.destination):
            path = entry.relative
            if _is_below(path, self._tree.pruned) or durable.is_temporary(path):
                continue
            if entry.is_directory:
                directories[path] = stat.S_IMODE(entry.mode)
            elif entry.is_file:
                files[path] = ListedFile(path, entry.size, int(entry.mtime) * _SECOND, stat.S_IMODE(entry.mode))
            else:
                others.append(path)
        return Listing(files, directories, tuple(others))

    def _make_room(self, source: Listing) -> dict[str, _Here]:
        """Remove what is here and not there, a link or a directory in the place of a file too; make the directories."""
        files: dict[str, _Here] = {}
        doomed: list[str] = []
        gone = ""
        for entry in walk(self._tree.destination):
            path = entry.relative
            if _is_below(path, self._tree.pruned) or durable.is_temporary(path) or (gone and path.startswith(gone)):
                continue
            if entry.is_file and path in source.files:
                files[path] = _Here(entry.size, int(entry.mtime // 1), entry.links)
            elif not (entry.is_directory and path in source.directories):
                doomed.append(entry.path)
                gone = path + "/"
        for place in doomed:
            durable.remove_tree(place)
        for path in sorted(source.directories):
            copying.ensure_directory(self._place(path), source.directories[path] | 0o700)
        return files

    def _place(self, path: str) -> str:
        return os.path.join(self._tree.destination, path)

    # -- how it gets here

    def _take(self, files: Sequence[ListedFile], loan: Loan) -> None:
        take: Callable[[str, str], object] = copying.link_file if loan.how == "link" else copying.copy_file

        def one(file: ListedFile) -> int:
            take(os.path.join(loan.directory, file.path), self._place(file.path))
            return file.size

        for size in ordered_map(one, files, min(_LINKERS, max(1, self._options.workers)), window=64):
            self.statistics.reused += 1
            self._progress.done += size

    def _jobs(
        self,
        files: Sequence[ListedFile],
        label: str,
        *,
        loan: Loan | None = None,
        checksum: bool = False,
        inplace: bool = True,
    ) -> Iterable[RsyncJob]:
        for share in share_out(files, self._options.workers) if files else ():
            yield RsyncJob(
                source=self._host.rsync_path(f"{self._tree.source}/"),
                destination=f"{self._tree.destination}/",
                shell=self._host.rsync_shell,
                flags=NAMED_FILES_FLAGS,
                names=tuple(file.path for file in share),
                reuse=loan.how if loan is not None else None,
                reference=loan.directory if loan is not None else None,
                checksum=checksum,
                # What may be linked to another backup is replaced, never written into.
                inplace=inplace and loan is None,
                compress=self._compress,
                bandwidth_limit=self._limit,
                # Both sides may compute checksums for longer than that without a word.
                silence_seconds=0 if checksum else SILENCE_SECONDS,
                label=f"files of '{self._tree.source}' ({label})",
            )

    def _run(self, jobs: Sequence[RsyncJob]) -> None:
        workers = max(1, min(self._options.workers, len(jobs)))
        limited = [replace(job, bandwidth_limit=share_of_bandwidth(job.bandwidth_limit, workers)) for job in jobs]
        for result in self._pool(self._on_item).run(limited):
            self.statistics.transferred += result.files
            self.statistics.travelled += result.travelled

    def _pool(self, on_item: Callable[[Item], None]) -> RsyncPool:
        return RsyncPool(self._options, on_item=on_item, on_tick=self._on_tick)

    def _on_tick(self) -> None:
        self._reporter.progress(self._progress)

    def _on_item(self, item: Item) -> None:
        if item.code[1] == "f":
            with self._lock:
                self._progress.done += item.size


def _changed(before: Mapping[str, ListedFile], now: Mapping[str, ListedFile]) -> list[str]:
    """Return what was added, removed or resized; a backup that is being deleted must not be followed to its end."""
    return sorted(
        path
        for path in before.keys() | now.keys()
        if path not in before or path not in now or before[path].size != now[path].size
    )


def _require_inside(path: str) -> None:
    """The other host names the files: none of the names may lead out of the directory."""
    if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        raise SyncError(f"the primary names a file that is in no backup: {path!r:.80}")


def _is_below(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(top + "/") for top in tops)


def _list_loan(directory: str) -> Listing | None:
    """The files of another backup; None when it cannot be read: then it is not used."""
    files = {}
    try:
        for entry in walk(directory):
            if entry.is_file:
                mode, mtime = stat.S_IMODE(entry.mode), int(entry.mtime // 1) * _SECOND
                files[entry.relative] = ListedFile(entry.relative, entry.size, mtime, mode)
    except OSError:
        return None
    return Listing(files)


def pool_options(server: Server) -> PoolOptions:
    """Return how rsync is run on this node. Raises SyncError when it is not installed."""
    config = server.config
    program = find_program(["rsync"], server.search_path)
    if program is None:
        raise SyncError("rsync is not installed", hint="Install it, or set path_prefix.")
    return PoolOptions(
        workers=config.parallel_jobs,
        start_batch_size=config.parallel_jobs_start_batch_size,
        start_batch_period=config.parallel_jobs_start_batch_period,
        retries=config.basebackup_retry_times,
        pause=config.basebackup_retry_sleep,
        program=program,
        # After a SIGKILL nobody else would keep it from filling the disk, or a deleted backup.
        launcher=tied_argv(),
        environment=server.environment,
    )
