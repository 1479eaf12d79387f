"""archive-wal: bring the WAL that waits in `incoming/` and `streaming/` into the archive.

Files are judged and encoded by all processors, and made visible in groups; a source goes only after its group is
durable and indexed (see `commit`). Every decision is reported when it has been carried out, not before.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from barman import clock, workers
from barman.compression.codec import Codec, CustomFilters, find_codec
from barman.errors import BarmanError, HookAborted, LockBusy, WalError
from barman.server.filters import configured_filters, gpg_of
from barman.typing import TYPE_CHECKING
from barman.values import dataclass
from barman.wal import quarantine
from barman.wal.admission import Decision
from barman.wal.archive_hooks import ArchiveHooks, archive_hooks_of
from barman.wal.cluster import known_cluster
from barman.wal.commit import Prepared, commit, listed_names
from barman.wal.incoming import IncomingSource
from barman.wal.source import Batch, Found, WalSource
from barman.wal.staging import Staging
from barman.wal.streaming import StreamingSource

if TYPE_CHECKING:
    from barman.catalog.catalog import Catalog
    from barman.clock import Deadline
    from barman.encryption.gpg import Gpg
    from barman.report import Reporter
    from barman.server.server import Server

GROUP = 32
"""Files that become durable together: enough to make syncing directories and the index cheap."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(slots=True)
class ArchiveResult:
    """What one run did, in numbers of files; `busy` when another process was archiving already.

    `duplicates` and `refused` went to the errors directory; `left` stay in the queue for the next run.
    """

    server_name: str
    busy: bool = False
    archived: int = 0
    identical: int = 0
    duplicates: int = 0
    refused: int = 0
    unknown: int = 0
    left: int = 0
    bytes_received: int = 0
    bytes_stored: int = 0


def archive_wal(
    server: Server,
    reporter: Reporter,
    *,
    quiet: bool = False,
    hooks: ArchiveHooks | None = None,
    whole: Deadline | None = None,
) -> ArchiveResult:
    """Archive one batch of every enabled source of a server: streaming first, then incoming.

    With `quiet`, sources that hold nothing are not mentioned. When another archiver is at work this says so and does
    nothing. Files that are refused are moved to the errors directory and reported as errors. Raises WalError when the
    archive cannot be written to, CodecError or EncryptionError when its files cannot be compressed or encrypted: what
    was archived by then stays archived, everything else stays in its queue. `hooks` are the configured scripts unless
    given.

    With `whole` all that waits is archived, whatever the size of a batch, and another archiver is waited for until
    then: for those who look into the archive next, and must not miss what has arrived.
    """
    lock = server.catalog.locks.archive_wal(wait=whole is not None, deadline=whole)
    try:
        lock.acquire()
    except LockBusy:
        reporter.info(
            f"Another archive-wal process is already running on server {server.name}. Skipping to the next server"
        )
        return ArchiveResult(server.name, busy=True)
    try:
        run = _Run(server, reporter, quiet, hooks or archive_hooks_of(server, reporter))
        return run.run(whole=whole is not None)
    except BrokenPipeError:
        raise  # nobody reads what is said: no matter of the archive
    except OSError as error:
        raise _explain(error, server.name) from error
    finally:
        lock.release()


def sources_of(server: Server) -> list[tuple[WalSource, int]]:
    """The enabled queues of a server, each with its batch size (0 is no limit). Passive nodes have none."""
    config, layout = server.config, server.catalog.layout
    found: list[tuple[WalSource, int]] = []
    if config.passive_node:
        return found
    if config.streaming_archiver:
        source = StreamingSource(layout.streaming_directory, partial(_is_archived, server.catalog))
        found.append((source, config.streaming_archiver_batch_size))
    if config.archiver:
        found.append((IncomingSource(layout.incoming_directory), config.archiver_batch_size))
    return found


def _is_archived(catalog: Catalog, name: str) -> bool:
    """Whether a file is in the archive and in its index."""
    return catalog.wals.exists(name) and bool(listed_names(catalog, [name]))


def _configured_codec(server: Server, custom: CustomFilters) -> Codec | None:
    config = server.config
    if not config.compression or config.compression == "none":
        return None
    if config.compression == "custom":
        custom.require_both()
    return find_codec(config.compression, level=config.compression_level, custom=custom, env=server.environment)


def _configured_encryption(server: Server) -> Gpg | None:
    """What encrypts, judged before the first file is touched. Raises EncryptionError."""
    if not server.config.encryption or server.config.encryption == "none":
        return None
    gpg = gpg_of(server.config)
    gpg.require_key()
    return gpg


class _Run:
    """One run over the sources of one server, under the archive lock."""

    def __init__(self, server: Server, reporter: Reporter, quiet: bool, hooks: ArchiveHooks | None) -> None:
        self._catalog = server.catalog
        self._reporter = reporter
        self._quiet = quiet
        self._hooks = hooks
        self._sources = sources_of(server)
        self._custom = configured_filters(server.config)
        codec = _configured_codec(server, self._custom)
        self._staging = Staging(server.catalog, codec, self._custom, _configured_encryption(server))
        self._result = ArchiveResult(server.name)
        self._jobs = workers.cpu_count()

    def run(self, *, whole: bool) -> ArchiveResult:
        with self._staging:
            for source, limit in self._sources:
                self._archive(source, source.batch(0 if whole else limit))
        return self._result

    def _archive(self, source: WalSource, batch: Batch) -> None:
        self._announce(source, batch)
        if batch.files:
            self._learn(batch.files)
        refused: list[Prepared] = []
        try:
            for group in self._groups(batch.files):
                self._commit(group)
                refused += [item for item in group if self._report(item)]
        except HookAborted as abortion:
            self._reporter.warning(
                f"WAL of server {self._result.server_name} from {source.title} stays in its queue: {abortion.message}"
            )
            return
        foreign = [*batch.foreign, *(item.found for item in refused)]
        if foreign:
            self._set_aside(foreign, {item.found.name: "; ".join(item.reasons) for item in refused})

    def _groups(self, files: Sequence[Found]) -> Iterator[list[Prepared]]:
        """Prepared files as they are committed: many at once, or one by one between hook scripts."""
        if self._hooks is None:
            prepared = workers.ordered_map(self._staging.prepare, files, self._jobs)
            yield from _grouped(prepared, GROUP, self._staging.keep_only)
            return
        for found in files:
            self._hooks.before(found)
            try:
                item = self._staging.prepare(found)
            except (OSError, BarmanError) as failure:
                self._hooks.failed(found, str(failure))
                raise
            yield [item]

    def _commit(self, group: list[Prepared]) -> None:
        error = ""
        try:
            commit(self._catalog, group, self._custom)
            self._staging.published(group)
        except (OSError, BarmanError) as failure:
            error = str(failure)
            raise
        finally:
            if self._hooks is not None:
                for item in group:
                    self._hooks.after(item, error)

    def _announce(self, source: WalSource, batch: Batch) -> None:
        if self._quiet and not batch.files and not batch.foreign:
            return
        suffix = f" (batch size: {len(batch.files)})" if batch.is_cut else ""
        self._reporter.info(f"Processing xlog segments from {source.title} for {self._result.server_name}{suffix}")
        if not batch.files:
            self._reporter.info("\tno file found")

    def _learn(self, files: Sequence[Found]) -> None:
        """Find out which cluster this server is; a queue may tell what another one could not."""
        if not self._staging.cluster.is_known:
            found = known_cluster(self._catalog, files, self._custom, self._reporter.warning)
            self._staging.cluster = self._staging.cluster.completed_by(found)

    def _report(self, item: Prepared) -> bool:
        """Say what became of a file and count it; whether it has to be set aside as unsound."""
        result, name = self._result, item.found.name
        if item.decision is Decision.FOREIGN:
            return True
        if item.decision is Decision.LEAVE:
            self._report_left(item)
            return False
        if item.decision is Decision.IDENTICAL:
            # Nothing new: mostly the segment that was kept in the queue for pg_receivewal.
            result.identical += 1
            return False
        self._reporter.info(f"\t{name}")
        if item.decision is Decision.CONFLICTING:
            self._report_conflict(item)
        elif item.wal is not None:
            result.archived += 1
            result.bytes_received += item.found.size
            result.bytes_stored += item.wal.size
        return False

    def _report_left(self, item: Prepared) -> None:
        if not item.reasons:
            # It vanished while the run went on: nothing to say.
            return
        self._result.left += 1
        say = self._reporter.error if item.failed else self._reporter.warning
        say(f"WAL file '{item.found.path}' is left in its queue: {'; '.join(item.reasons)}")

    def _report_conflict(self, item: Prepared) -> None:
        server_name, name = self._result.server_name, item.found.name
        path = self._move(item.found, "duplicate", "; ".join(item.reasons))
        self._result.duplicates += 1
        self._reporter.info(
            f"\tError: {name} is already present in server {server_name}. File moved to errors directory."
        )
        self._reporter.error(
            f"WAL file '{name}' of server {server_name} was not archived: {'; '.join(item.reasons)}; it is '{path}'"
        )

    def _set_aside(self, foreign: Sequence[Found], reasons: dict[str, str]) -> None:
        server_name = self._result.server_name
        self._reporter.info(
            f"Some unknown objects have been found while processing xlog segments for {server_name}. "
            "Objects moved to errors directory:"
        )
        for found in foreign:
            reason = reasons.get(found.name, "")
            try:
                path = self._move(found, "unknown", reason or "it is not a regular file with the name of a WAL file")
            except OSError as error:
                # A pipe or a directory, and errors/ on another file system: nothing else may wait for the operator.
                self._result.left += 1
                self._reporter.error(f"'{found.path}' does not belong there and cannot be moved: {error.strerror}")
                continue
            self._reporter.info(f"\t{found.name}")
            if reason:
                self._result.refused += 1
                self._reporter.error(
                    f"WAL file '{found.name}' of server {server_name} was not archived: {reason}; it is '{path}'"
                )
            else:
                self._result.unknown += 1

    def _move(self, found: Found, kind: str, reason: str) -> str:
        return quarantine.set_aside(found, self._catalog.layout.errors_directory, kind, reason, clock.now())


def _grouped(
    items: Iterable[Prepared], size: int, before_last: Callable[[list[Prepared]], None]
) -> Iterator[list[Prepared]]:
    """Groups of `size`. When an item fails, those before it still come as a last group before the error is raised."""
    group: list[Prepared] = []
    try:
        for item in items:
            group.append(item)
            if len(group) >= size:
                yield group
                group = []
    except (OSError, BarmanError):
        if group:
            before_last(group)
            yield group
        raise
    if group:
        yield group


def _explain(error: OSError, server_name: str) -> WalError:
    place = f" '{error.filename}'" if error.filename else ""
    hint = "The WAL that was not archived is still in its queue; the next run goes on with it."
    if error.errno in _NO_ROOM:
        hint = f"Make room, or make the file system writable. {hint}"
    reason = error.strerror or str(error)
    return WalError(f"cannot archive WAL of server {server_name}: {reason}{place}", hint=hint)
