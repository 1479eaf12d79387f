"""Carry out a copy plan: list the source once, take what is unchanged from the reference, let rsync fetch the rest.

A tree costs one command over the control connection and at most one rsync for each worker. Nothing is durable before
the whole backup is synced, and nothing is written outside the destinations of the plan.
"""

from __future__ import annotations

import os
import threading
from functools import partial

from barman import clock, process
from barman.backup.copy_plan import (
    select_files,
    share_by_directory,
    share_of_bandwidth,
    share_out,
    walk_filters,
)
from barman.backup.listing import Listing, find_argv, only_vanished, parse_find, parse_rsync
from barman.errors import BackupError, FileMissing
from barman.fs import copying, durable
from barman.report import Progress
from barman.transport.local import LocalRunner
from barman.transport.rsync import BACKUP_FLAGS, NAMED_FILES_FLAGS, CopyResult, Item, RsyncJob
from barman.transport.rsync_pool import RsyncPool
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, field, replace
from barman.workers import ordered_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from barman.backup.copy_plan import CopyPlan, DirectoryCopy, FileCopy
    from barman.backup.listing import ListedFile
    from barman.report import Reporter
    from barman.transport.host import Host
    from barman.transport.rsync_pool import PoolOptions

_LINKERS = 4
_READINGS = 20


@dataclass(frozen=True, slots=True)
class Reference:
    """A backup, or what a broken-off one left, that unchanged files are taken from, `how`: `link` or `copy`.

    `directories` maps destinations of the plan to the same trees there. `begun` is when it began, by the clock of the
    host that is copied now; None when equal times prove nothing: then everything is compared by content.
    """

    how: str
    directories: Mapping[str, str]
    begun: datetime | None


@dataclass(slots=True)
class CopyStatistics:
    """What was done: files and bytes of the copy, how they came, and seconds by label."""

    files: int = 0
    size: int = 0
    reused: int = 0
    transferred: int = 0
    travelled: int = 0
    vanished: tuple[str, ...] = ()
    rsyncs: int = 0
    workers: int = 1
    total_seconds: float = 0.0
    analysis_seconds: dict[str, float] = field(default_factory=dict)
    copy_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Reuse:
    """What one reference gives to one tree: files that are certainly its own, and files that look the same."""

    how: str
    directory: str
    unchanged: tuple[ListedFile, ...]
    doubtful: tuple[ListedFile, ...]


@dataclass(frozen=True, slots=True)
class _Survey:
    tree: DirectoryCopy
    listing: Listing
    reuses: tuple[_Reuse, ...]
    changed: tuple[ListedFile, ...]


class Copier:
    """Copies from one host. `cancel` may be called by any thread and makes `copy` raise."""

    def __init__(
        self,
        host: Host,
        options: PoolOptions,
        reporter: Reporter,
        watch: Callable[[], None] | None = None,
        *,
        compress: bool = False,
    ) -> None:
        """Get ready. `watch` is called twice a second while files travel: what it raises ends the copy."""
        self._host = host
        self._watch = watch or _nothing_to_watch
        self._options = options
        self._compress = compress
        self._reporter = reporter
        self._lock = threading.Lock()
        self._pool = RsyncPool(options, on_item=self._on_item, on_tick=self._on_tick)
        self._statistics = CopyStatistics(workers=options.workers)
        self._progress = Progress("Copying", 0, 0)

    def copy(self, plan: CopyPlan, references: Sequence[Reference] = ()) -> CopyStatistics:
        """Copy everything, the control file after all else; of several references the first that has a file gives it.

        Raises BackupError when the source is not what the server says, CommandFailed, FileFailed, Unreachable; no rsync
        is left running then.
        """
        began = clock.monotonic()
        surveys = [self._survey(tree, references) for tree in plan.directories]
        statistics = self._statistics
        statistics.files = sum(len(survey.listing.files) for survey in surveys) + len(plan.files) + 1
        statistics.size = sum(survey.listing.size for survey in surveys)
        self._progress = Progress("Copying", 0, statistics.size, started_at=clock.monotonic())
        for survey in surveys:
            self._prepare(survey)
        self._run_all([(survey.tree.label, job) for survey in surveys for job in self._jobs(survey)])
        for survey in surveys:
            # A walk has given it the mode of the source.
            durable.change_mode(survey.tree.destination, 0o700)
        for item in (*plan.files, plan.control_file):
            self._copy_file(item)
        statistics.total_seconds = clock.monotonic() - began
        return statistics

    def cancel(self) -> None:
        """End every rsync and start no other."""
        self._pool.cancel()

    # -- what there is

    def _survey(self, tree: DirectoryCopy, references: Sequence[Reference]) -> _Survey:
        began = clock.monotonic()
        listing = tree.wanted(self._list_source(tree))
        if not (listing.files or listing.directories):
            raise BackupError(
                f"nothing to copy in '{tree.source}' ({tree.label}) on {self._host.description}",
                hint="Check that the file system is mounted there.",
            )
        for path in listing.others:
            self._reporter.warning(f"'{tree.source}/{path}' is not a file and was not copied")
        reuses, changed = [], tuple(listing.files.values())
        for reference in references:
            directory = reference.directories.get(tree.destination)
            copies = _list_local(directory, tree.pruned) if directory else None
            if directory is None or copies is None:
                continue
            wanted = Listing({file.path: file for file in changed})
            selection = select_files(wanted, copies, reference.begun)
            reuses.append(_Reuse(reference.how, directory, selection.unchanged, selection.doubtful))
            changed = selection.changed
        self._statistics.analysis_seconds[tree.label] = clock.monotonic() - began
        return _Survey(tree, listing, tuple(reuses), changed)

    def _list_source(self, tree: DirectoryCopy) -> Listing:
        doing = f"listing '{tree.source}'"
        argv = find_argv(tree.source, tree.pruned, tree.only)
        done = self._host.runner.run(argv, check=False, doing=doing)
        if done.returncode == 0 or only_vanished(done.error_text, tree.source):
            return parse_find(done.stdout)
        if done.returncode == 127 or "-printf" in done.error_text:
            return self._list_with_rsync(tree)
        raise BackupError(
            f"cannot list '{tree.source}' ({tree.label}) on {self._host.description}: "
            f"{process.last_line(done.error_text)}"
        )

    def _list_with_rsync(self, tree: DirectoryCopy) -> Listing:
        """List where there is no GNU find: in whole seconds."""
        environment = {**(self._options.environment or os.environ), "TZ": "UTC", "LC_ALL": "C"}
        argv = [
            self._options.program,
            *(("-e", self._host.rsync_shell) if self._host.rsync_shell else ()),
            "-rLs",
            "--list-only",
            "--no-human-readable",
            *(f"--filter=- /{path}" for path in tree.pruned),
            *(f"--filter={rule.text}" for rule in tree.rules),
            "--",
            self._host.rsync_path(f"{tree.source}/"),
        ]
        return parse_rsync(process.run(argv, env=environment).stdout)

    # -- what is here already

    def _prepare(self, survey: _Survey) -> None:
        """Create the directories, and take from the references what is certainly unchanged."""
        began = clock.monotonic()
        destination = survey.tree.destination
        durable.make_directory(destination, 0o700)
        for path in sorted(survey.listing.directories):
            copying.ensure_directory(f"{destination}/{path}", survey.listing.directories[path] | 0o700)
        for reuse in survey.reuses:
            self._reuse(reuse.unchanged, reuse.directory, destination, link=reuse.how == "link")
        self._statistics.copy_seconds[survey.tree.label] = clock.monotonic() - began

    def _reuse(self, files: Sequence[ListedFile], source: str, destination: str, *, link: bool) -> None:
        take: Callable[[str, str], object] = copying.link_file if link else copying.copy_file

        def one(file: ListedFile) -> int:
            take(f"{source}/{file.path}", f"{destination}/{file.path}")
            return file.size

        for size in ordered_map(one, files, min(_LINKERS, max(1, self._options.workers)), window=64):
            self._statistics.reused += 1
            self._progress.done += size

    # -- what travels

    def _jobs(self, survey: _Survey) -> Iterable[RsyncJob]:
        if not survey.reuses:
            shares = share_by_directory(survey.changed, self._options.workers)
            if shares:
                yield from self._walks(survey, shares)
                return
        yield from self._named(survey)

    def _walks(self, survey: _Survey, shares: Sequence[Sequence[str]]) -> Iterable[RsyncJob]:
        """Let rsync walk: it begins to copy while it still looks, and nobody has to name 25,000 files."""
        for number in range(len(shares)):
            yield replace(
                self._job(survey, (), None, f"{survey.tree.label} ({number + 1} of {len(shares)})"),
                names=None,
                flags=BACKUP_FLAGS,
                filters=tuple(walk_filters(survey.tree, survey.listing.others, shares, number)),
                ignore_missing=False,
            )

    def _named(self, survey: _Survey) -> Iterable[RsyncJob]:
        tree = survey.tree
        shares = share_out(survey.changed, self._options.workers)
        # What has changed in part travels in part: the first reference is the basis of the difference.
        basis = survey.reuses[0] if survey.reuses else None
        for number, share in enumerate(shares, 1):
            yield self._job(survey, share, basis, f"{tree.label} ({number} of {len(shares)})")
        for reuse in survey.reuses:
            if reuse.doubtful:
                job = self._job(survey, reuse.doubtful, reuse, f"{tree.label} (compared by content)")
                yield replace(job, checksum=True)

    def _job(self, survey: _Survey, files: Sequence[ListedFile], basis: _Reuse | None, label: str) -> RsyncJob:
        # With link, files at the destination may be other backups' too.
        linked = any(reuse.how == "link" for reuse in survey.reuses)
        return RsyncJob(
            source=self._host.rsync_path(f"{survey.tree.source}/"),
            destination=f"{survey.tree.destination}/",
            shell=self._host.rsync_shell,
            flags=NAMED_FILES_FLAGS,
            names=tuple(file.path for file in files),
            reuse=basis.how if basis is not None else None,
            reference=basis.directory if basis is not None else None,
            # What is linked must be replaced, never written into.
            inplace=not linked,
            compress=self._compress,
            bandwidth_limit=survey.tree.bandwidth_limit,
            label=label,
        )

    def _run_all(self, jobs: Sequence[tuple[str, RsyncJob]]) -> None:
        workers = max(1, min(self._options.workers, len(jobs)))
        self._statistics.rsyncs = len(jobs)
        limited = [
            (label, replace(job, bandwidth_limit=share_of_bandwidth(job.bandwidth_limit, workers)))
            for label, job in jobs
        ]
        self._pool.call([partial(self._run_one, label, job) for label, job in limited])

    def _run_one(self, label: str, job: RsyncJob) -> CopyResult:
        began = clock.monotonic()
        result = self._pool.copy(job)
        with self._lock:
            seconds = self._statistics.copy_seconds
            seconds[label] = seconds.get(label, 0.0) + clock.monotonic() - began
            self._statistics.transferred += result.files
            self._statistics.travelled += result.travelled
            self._statistics.vanished += result.vanished
        return result

    def _on_tick(self) -> None:
        self._watch()
        self._reporter.progress(self._progress)

    def _on_item(self, item: Item) -> None:
        if item.code[1] == "f":
            with self._lock:
                self._progress.done += item.size

    def _copy_file(self, item: FileCopy) -> None:
        began = clock.monotonic()
        try:
            content = self._read_still(item.source)
            status = self._host.files.status(item.source)
        except FileMissing:
            if item.optional:
                return
            raise
        mode = status.mode & 0o777 if status is not None and status.is_file else 0o600
        with copying.new_file(item.destination, mode) as file:
            file.write(content)
        durable.change_mode(item.destination, mode)
        if status is not None:
            copying.set_times(item.destination, status.mtime)
        self._statistics.copy_seconds[item.label] = clock.monotonic() - began

    def _read_still(self, path: str) -> bytes:
        """Read until two readings agree: the server rewrites the control file in place, and a reader may see half."""
        content = self._host.files.read(path)
        for _ in range(_READINGS):
            again = self._host.files.read(path)
            if again == content:
                return content
            content = again
        raise BackupError(f"'{path}' on {self._host.description} changes all the time: no reading is like the other")


def _nothing_to_watch() -> None:
    pass


def _list_local(directory: str, pruned: Sequence[str]) -> Listing | None:
    """List a tree of a reference; None when it cannot be listed: then it is not used."""
    done = LocalRunner().run(find_argv(directory, pruned), check=False)
    return parse_find(done.stdout) if done.returncode == 0 else None
