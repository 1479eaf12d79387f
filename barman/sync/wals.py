"""sync-wals: copy the WAL files that the primary has and this node lacks.

What is missing is told by set difference, so late timelines and filled holes come along. Files arrive in a private
directory that no reader of the archive looks into, and are judged there as the archiver judges what a server sends.
Then, a batch at a time, each step durable before the next: their bytes; their names in the archive; their lines in the
index, with the times that the primary has. `sync-wals.info` moves on only when all that was offered is here: killed
anywhere, the next run goes on with what is missing.
"""

from __future__ import annotations

import os
import stat

from barman import clock, workers
from barman.catalog.wal_content import recognise_file
from barman.catalog.wal_file import WalFile
from barman.compression.codec import CodecError
from barman.errors import BarmanError, CommandFailed, SyncError
from barman.fs import durable
from barman.fs.tree import walk
from barman.postgres.wal_name import hash_directory, is_segment_name
from barman.server.filters import configured_filters
from barman.sync.mirror import SILENCE_SECONDS, pool_options
from barman.sync.plan import plan_wals
from barman.sync.state import WALS, SyncPosition, note_failure, note_success, read_primary, read_record, write_position
from barman.transport.rsync import RsyncJob
from barman.transport.rsync_pool import RsyncPool
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, replace
from barman.wal import quarantine
from barman.wal.cluster import UNKNOWN, known_cluster
from barman.wal.commit import describe
from barman.wal.inspection import inspect
from barman.wal.source import Found

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.catalog.catalog import Catalog
    from barman.catalog.layout import Layout
    from barman.report import Reporter
    from barman.server.server import Server
    from barman.sync.protocol import SyncInfo

_BATCH_FILES = 1024
_BATCH_BYTES = 4 << 30
"""What may lie in the private directory, and be lost with it, at a time."""
_PARTS = ".partial"
_FLAGS = "-Lpts"
_SHOWN = 20
_MANY = 2000
"""More names than this are found faster in listings of the archive's directories."""


def sync_wals(server: Server, reporter: Reporter) -> None:
    """Copy what `primary.info` offers and a backup here needs; silent when all went well.

    Waits for another run. Raises SyncError when the copy is refused or breaks off; what has arrived by then is
    archived. A file that is not what its name says is set aside and reported as an error, and stops no other.
    """
    layout = server.catalog.layout
    with server.catalog.locks.sync_wal():
        try:
            # In this order: cron may save a newer answer meanwhile, which was asked for more backups.
            asked_for = read_record(layout).asked_for
            primary = read_primary(layout, server.name)
            _require_same_compression(server, primary)
            left = _Run(server, primary, asked_for, reporter).run()
        except OSError as error:
            place = f" '{error.filename}'" if error.filename else ""
            failure = _failure(server, f"{error.strerror or error}{place}", "Make room, or look at the disk.")
            note_failure(layout, WALS, failure.message)
            raise failure from error
        except BarmanError as error:
            note_failure(layout, WALS, error.message)
            raise
        if left:
            note_failure(layout, WALS, f"{left} WAL files of the primary cannot be taken into the archive")


def advance(layout: Layout, primary: SyncInfo, asked_for: frozenset[str]) -> None:
    """Remember that everything is here which the primary has offered; the caller holds the lock. Raises OSError.

    It was `asked_for` the backups that were here then: others may need older WAL.
    """
    if primary.last_name:
        # With 0 the original could not go on (D11); 1 is within the first line, and finds no other.
        position = SyncPosition(primary.last_name, max(primary.last_position, 1))
        write_position(layout, position, asked_for)
    note_success(layout, WALS)


def names_here(catalog: Catalog, primary: SyncInfo) -> frozenset[str]:
    """Return the names that the archive has, as far as an answer of the primary asks for them."""
    if len(primary.wals) > _MANY:
        return frozenset(catalog.wals.names())
    # A partial segment is of no use where the whole one is.
    asked = {name for wal in primary.wals for name in (wal.name, wal.name.removesuffix(".partial"))}
    return frozenset(name for name in asked if catalog.wals.exists(name))


def _require_same_compression(server: Server, primary: SyncInfo) -> None:
    """Refuse to mix: what this node compresses as a primary of others, or once it is promoted, goes by its option."""
    there, here = primary.compression or "none", server.config.compression or "none"
    if there != here:
        raise SyncError(
            f"WAL synchronisation for server {server.name} failed with: Compression method on server {server.name} "
            f"({primary.compression}) does not match local compression method ({server.config.compression})",
            hint=f"Set compression = {there} in section [{server.name}] of this node; levels may differ.",
        )


def _failure(server: Server, reason: str, hint: str) -> SyncError:
    return SyncError(f"WAL synchronisation for server {server.name} failed: {reason}", hint=hint)


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A file in the private directory. `line` is what the index will say of it; without one it does not enter."""

    wal: WalFile
    found: Found
    line: WalFile | None = None
    reasons: tuple[str, ...] = ()
    unreadable: str = ""
    """Why nothing can be told of it here."""


class _Run:
    """One run, under the lock."""

    def __init__(self, server: Server, primary: SyncInfo, asked_for: frozenset[str], reporter: Reporter) -> None:
        self._server = server
        self._asked_for = asked_for
        self._catalog = server.catalog
        self._layout = server.catalog.layout
        self._primary = primary
        self._reporter = reporter
        self._custom = configured_filters(server.config)
        self._cluster = UNKNOWN
        self._left = 0

    def run(self) -> int:
        """Copy; return how many files could not be taken in."""
        view = self._catalog.snapshot()
        if not view.copy_done:
            self._reporter.warning(f"No base backup for server {self._server.name}")
            return 0
        present = names_here(self._catalog, self._primary)
        self._list_the_unlisted(present)
        wanted = plan_wals(self._primary, present, view)
        self._clear(wanted)
        if not wanted and (old := self._first_not_needed(present)):
            self._reporter.warning(
                f"Skipping WAL synchronisation for server {self._server.name}: no available local backup for {old}"
            )
        for batch in _batches(self._without_refused(wanted)):
            self._copy(batch)
        if not self._left:
            durable.remove_tree(self._layout.sync_staging)
            advance(self._layout, self._primary, self._asked_for)
        return self._left

    def _first_not_needed(self, present: frozenset[str]) -> str | None:
        missing = (wal.name for wal in self._primary.wals if is_segment_name(wal.name) and wal.name not in present)
        return min(missing, default=None)

    def _list_the_unlisted(self, present: frozenset[str]) -> None:
        """Give files that a killed run has published, but not listed, their lines."""
        offered = [wal for wal in self._primary.wals if wal.name in present]
        if not offered:
            return
        listed = {file.name for file in self._catalog.xlogdb.scan()}
        lines = []
        for wal in offered:
            if wal.name not in listed:
                described = describe(wal.name, self._layout.wal_path(wal.name), self._custom)
                lines.append(replace(described, time=wal.time))
        self._catalog.xlogdb.append(lines)

    def _clear(self, wanted: Sequence[WalFile]) -> None:
        """Remove what an earlier run left and this one does not want; what it does, rsync continues or keeps."""
        durable.make_directory(self._layout.backup_directory)
        durable.make_directory(self._layout.sync_staging, 0o700)
        names = {wal.name for wal in wanted}
        doomed = [
            entry.path
            for entry in walk(self._layout.sync_staging)
            if not entry.is_directory and os.path.basename(entry.relative) not in names
        ]
        durable.remove(doomed)

    def _without_refused(self, wanted: Sequence[WalFile]) -> list[WalFile]:
        """Leave out what was fetched before and set aside: it would be fetched, and set aside, every minute."""
        refused = {
            (file.wal_name, file.size, int(os.lstat(file.path).st_mtime))
            for file in quarantine.list_refused(self._layout.errors_directory)
            if os.path.lexists(file.path)
        }
        left = [wal for wal in wanted if (wal.name, wal.size, int(wal.time)) not in refused]
        if len(left) < len(wanted):
            taken = {wal.name for wal in left}
            names = ", ".join([wal.name for wal in wanted if wal.name not in taken][:_SHOWN])
            self._left += len(wanted) - len(left)
            self._reporter.error(
                f"{len(wanted) - len(left)} WAL files of server {self._server.name} were refused before and are not "
                f"fetched again until they change on the primary, or are removed from "
                f"'{self._layout.errors_directory}': {names}"
            )
        return left

    # --- one batch

    def _copy(self, batch: Sequence[WalFile]) -> None:
        """Fetch, judge and archive a batch; what arrived of one that broke off, too."""
        failure: CommandFailed | None = None
        try:
            self._fetch(batch)
        except CommandFailed as error:
            failure = error
        arrived = [found for wal in batch if (found := self._found(wal)) is not None]
        if arrived and not self._cluster.is_known:
            queue = [found for _, found in arrived]
            self._cluster = self._cluster.completed_by(
                known_cluster(self._catalog, queue, self._custom, self._reporter.warning)
            )
        judged = list(workers.ordered_map(self._judge, arrived))
        self._publish([item for item in judged if item.line is not None])
        for item in judged:
            if item.reasons:
                self._refuse(item)
            elif item.unreadable:
                self._left += 1
                self._reporter.error(f"WAL file '{item.wal.name}' cannot be verified here: {item.unreadable}")
        if failure is not None:
            if "No space left on device" in failure.stderr:
                # A part that waits to be continued would keep the last bytes from everybody.
                durable.remove_tree(self._layout.sync_staging)
            raise _failure(self._server, failure.message, failure.hint) from failure
        missing = sorted({wal.name for wal in batch} - {item.wal.name for item in judged})
        if missing:
            self._reporter.warning(
                f"{len(missing)} WAL files of server {self._server.name} have gone on the primary meanwhile: "
                f"{', '.join(missing[:_SHOWN])}"
            )

    def _fetch(self, batch: Sequence[WalFile]) -> None:
        host, config = self._server.primary_host, self._server.config
        job = RsyncJob(
            source=host.rsync_path(f"{self._primary.wals_directory}/"),
            destination=f"{self._layout.sync_staging}/",
            shell=host.rsync_shell,
            flags=_FLAGS,
            names=tuple(_relative(wal.name) for wal in batch),
            # Never in place: what has its name is whole. What was cut off goes on from where it was.
            inplace=False,
            compress=config.network_compression,
            bandwidth_limit=config.bandwidth_limit or None,
            silence_seconds=SILENCE_SECONDS,
            extra=(f"--partial-dir={_PARTS}",),
            label=f"WAL of server {self._server.name}",
        )
        RsyncPool(replace(pool_options(self._server), workers=1)).run([job])

    def _found(self, wal: WalFile) -> tuple[WalFile, Found] | None:
        path = os.path.join(self._layout.sync_staging, _relative(wal.name))
        try:
            facts = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        mode, regular = stat.S_IMODE(facts.st_mode), stat.S_ISREG(facts.st_mode)
        return wal, Found(wal.name, path, facts.st_size, facts.st_mtime, mode, facts.st_uid, regular)

    def _judge(self, arrived: tuple[WalFile, Found]) -> _Arrived:
        """Judge one file by its content, and make its bytes durable if it enters."""
        wal, found = arrived
        if not found.regular:
            return _Arrived(wal, found, reasons=("it is not a file",))
        compression, encryption = recognise_file(found.path, self._custom)
        if encryption is not None or "custom" in (compression, wal.compression):
            # Without the key, or without trusting a program with it, nothing of the content can be judged: it is what
            # the primary has, rsync has seen to that, and it has the size that the primary's index says.
            reasons: tuple[str, ...] = ()
            if found.size != wal.size:
                reasons = (f"its size is {found.size}, the primary says {wal.size}",)
            compression = compression or wal.compression
        else:
            try:
                reasons = inspect(found, self._cluster, self._custom).defects
            except CodecError as error:
                return _Arrived(wal, found, unreadable=f"{error.message} {error.hint}".strip())
        if reasons:
            return _Arrived(wal, found, reasons=reasons)
        durable.sync_file(found.path)
        return _Arrived(wal, found, WalFile(wal.name, found.size, wal.time, compression, encryption))

    def _publish(self, group: Sequence[_Arrived]) -> None:
        """Give the files of a group their names in the archive, then their lines in the index."""
        if not group:
            return
        pairs = [(item.found.path, self._layout.wal_path(item.wal.name)) for item in group]
        directories = sorted({os.path.dirname(final) for _, final in pairs})
        for directory in directories:
            durable.make_directory(directory)
        if os.stat(self._layout.sync_staging).st_dev == os.stat(self._layout.wals_directory).st_dev:
            self._move(pairs)
        else:
            for staged, final in pairs:
                durable.copy_file(staged, final)
        self._catalog.xlogdb.append([item.line for item in group if item.line is not None])
        durable.remove(staged for staged, _ in pairs)

    def _move(self, pairs: Sequence[tuple[str, str]]) -> None:
        for last_attempt in (False, True):
            try:
                durable.publish([(staged, final) for staged, final in pairs if os.path.lexists(staged)])
                return
            except FileNotFoundError:
                if last_attempt:
                    raise
                # A removal of old WAL has emptied a directory, and taken it away before the first file was in it.
                for directory in sorted({os.path.dirname(final) for _, final in pairs}):
                    durable.make_directory(directory)

    def _refuse(self, item: _Arrived) -> None:
        self._left += 1
        reason = "; ".join(item.reasons)
        path = quarantine.set_aside(
            item.found, self._layout.errors_directory, "unknown", f"from the primary: {reason}", clock.now()
        )
        self._reporter.error(
            f"WAL file '{item.wal.name}' of server {self._server.name} was not archived: {reason}; it is '{path}'"
        )


def _relative(name: str) -> str:
    """Where a WAL file lies below a WAL directory. Raises InvalidWalName, so that no name becomes a foreign path."""
    group = hash_directory(name)
    return f"{group}/{name}" if group else name


def _batches(files: Sequence[WalFile]) -> Iterator[Sequence[WalFile]]:
    begin, size = 0, 0
    for number, wal in enumerate(files):
        if number > begin and (number - begin >= _BATCH_FILES or size + wal.size > _BATCH_BYTES):
            yield files[begin:number]
            begin, size = number, 0
        size += wal.size
    if files[begin:]:
        yield files[begin:]
