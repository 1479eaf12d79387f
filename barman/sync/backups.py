"""sync-backup: copy one backup from the primary.

The record says SYNCING, and `passive` for its mode, before the first byte arrives; a copy that broke off is known by
that, and the next attempt continues it. The order at the end: the tree durable; its content compared; the parent knows
its child; the keep mark; then the record, with the mode that the primary has, says DONE if every segment from begin to
end is archived here, else WAITING_FOR_WALS: `check-backup`, which cron runs, makes it DONE when they have come.
"""

from __future__ import annotations

import os
import posixpath
from contextlib import ExitStack

from barman.backup.complete import judge_archive
from barman.backup.delete import delete_backup
from barman.backup.manifest import link_tablespaces
from barman.backup.record import change_record, first_line, log_status
from barman.backup.references import is_intact, leave_word, take_back_word
from barman.catalog import backup_info_file
from barman.catalog.backup_info import BackupStatus, BackupType
from barman.errors import BarmanError, ConfigError, FileMissing, LockBusy, SyncError
from barman.fs import copying, durable
from barman.fs.tree import measure
from barman.logs import Log
from barman.postgres.backup_label import parse_backup_label
from barman.sync.adopt import adopt_identity, another_cluster, kept_there, primary_files
from barman.sync.mirror import Loan, Mirror, Tree, pool_options
from barman.sync.plan import Action, decide_backup, merged_children
from barman.sync.standing import local_rules
from barman.sync.state import BACKUP, note_failure, note_success, read_primary
from barman.sync.verify import verify_by_manifest
from barman.typing import TYPE_CHECKING
from barman.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.backup.listing import Listing
    from barman.catalog.backup_id import BackupId
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import CatalogView
    from barman.report import Reporter
    from barman.server.server import Server
    from barman.sync.plan import BackupDecision, LocalRules
    from barman.sync.protocol import SyncInfo

_LOG = Log(__name__)
_SHOWN = 5
DAMAGED = "the backup is damaged on the primary"
"""How the reason of a failure begins that no other attempt will mend."""
_TOLERANCE = 1 << 20
"""Sizes of backups are counted in more than one way."""
_MODE = "passive"
"""The mode of a record whose copy is not complete; the original gives it to all its copies (D9)."""


def sync_backup(server: Server, backup_id: BackupId, reporter: Reporter) -> None:
    """Copy a backup of which `primary.info` speaks, or say why that is not needed.

    Takes the lock of this copy and, shared, that of the backup. Raises SyncError when the copy is refused or fails; the
    record says FAILED, and why, by then.
    """
    primary = read_primary(server.catalog.layout, server.name)
    decision = _decide(server, primary, backup_id)
    if decision.action != Action.COPY:
        _settle(decision, server, reporter)
        return
    lock = server.catalog.locks.sync_backup(backup_id)
    try:
        lock.acquire()
    except LockBusy as error:
        text = f"Another synchronisation process for backup {backup_id} of server {server.name} is already running."
        raise SyncError(text) from error
    try:
        # Whoever held the lock until now may have done the work.
        decision = _decide(server, primary, backup_id)
        if decision.action != Action.COPY:
            _settle(decision, server, reporter)
            return
        if decision.after is not None:
            raise SyncError(
                f"backup {backup_id} of server {server.name} is not copied: its parent {decision.after} is not here",
                hint=f"Run 'barman sync-backup {server.name} {decision.after}' before.",
            )
        _Copy(server, primary, primary.backups[backup_id], reporter).run()
    except OSError as error:
        note_failure(server.catalog.layout, BACKUP, first_line(error))
        place = f" '{error.filename}'" if error.filename else ""
        raise SyncError(
            f"backup {backup_id} of server {server.name} cannot be copied: {error.strerror or error}{place}",
            hint="Make room, or look at the disk; the next run of cron tries again.",
        ) from error
    except BarmanError as error:
        note_failure(server.catalog.layout, BACKUP, first_line(error))
        raise
    finally:
        lock.release()


def rules_of(server: Server) -> LocalRules | None:
    """Return the retention rules of this node; None where nothing is enforced, be it that they cannot be read."""
    try:
        return local_rules(server.config)
    except (ConfigError, ValueError) as error:
        _LOG.warning("retention of server %s is not enforced: %s", server.name, error)
        return None


def purge(server: Server, decision: BackupDecision, reporter: Reporter) -> None:
    """Delete what a broken copy left of a backup that the primary has no more. Raises BackupError."""
    reporter.warning(decision.text)
    delete_backup(server, decision.backup_id, reporter)


def _decide(server: Server, primary: SyncInfo, backup_id: BackupId) -> BackupDecision:
    return decide_backup(primary, server.catalog.snapshot(), backup_id, rules_of(server))


def _settle(decision: BackupDecision, server: Server, reporter: Reporter) -> None:
    if decision.action == Action.PURGE:
        purge(server, decision, reporter)
    elif decision.action in (Action.PRESENT, Action.LOCAL_ONLY, Action.OBSOLETE):
        reporter.info(decision.text)
    else:
        raise SyncError(decision.text)


# --- one copy


class _Copy:
    """One backup being copied, under its lock."""

    def __init__(self, server: Server, primary: SyncInfo, theirs: BackupInfo, reporter: Reporter) -> None:
        self._server = server
        self._catalog = server.catalog
        self._layout = server.catalog.layout
        self._primary = primary
        self._theirs = theirs
        self._reporter = reporter
        self._info = theirs

    def run(self) -> None:
        """Copy, compare, record. Raises SyncError; what was interrupted is recorded as FAILED."""
        adopt_identity(self._server, self._primary)
        self._require_own_cluster()
        backup_id = self._theirs.backup_id
        with ExitStack() as locks:
            # Shared: the backup can be verified, and is not deleted meanwhile.
            locks.enter_context(self._catalog.locks.backup_id(backup_id, shared=True))
            self._begin()
            try:
                self._copy()
            except (BarmanError, OSError) as error:
                reason = self._what_the_primary_says() or first_line(error)
                self._fail(reason)
                hint = error.hint if isinstance(error, BarmanError) else "The next run of cron continues the copy."
                text = f"failure syncing server {self._server.name} backup {backup_id}: {reason}"
                raise SyncError(text, hint=hint) from error
            except BaseException as error:
                self._fail(first_line(error))
                raise
        note_success(self._layout, BACKUP, backup_id=backup_id)

    def _require_own_cluster(self) -> None:
        recorded = self._catalog.identity.read()
        systemid = self._theirs.systemid
        if recorded is not None and systemid is not None and recorded.systemid != systemid:
            raise another_cluster(self._server, recorded.systemid, f"backup {self._theirs.backup_id}", systemid)

    def _begin(self) -> None:
        self._catalog.ensure_directories()
        directory = self._layout.backup_directory_of(self._theirs.backup_id)
        durable.make_directory(directory)
        durable.sweep_temporaries(directory)
        view = self._catalog.snapshot()
        self._save(
            replace(
                self._theirs,
                server_name=self._server.name,
                status=BackupStatus.SYNCING,
                mode=_MODE,
                error=None,
                children_backup_ids=self._children(self._theirs.backup_id, view),
                source={},
            )
        )

    def _children(self, backup_id: BackupId, view: CatalogView) -> tuple[BackupId, ...]:
        """Children that are here: the original cannot delete a backup that lists others."""
        here = {*view.backups, self._theirs.backup_id}
        return tuple(child for child in merged_children(backup_id, self._primary, view) if child in here)

    def _copy(self) -> None:
        backup_id, layout, config = self._theirs.backup_id, self._layout, self._server.config
        directory = layout.backup_directory_of(backup_id)
        intact = is_intact(layout, backup_id)
        if set(os.listdir(directory)) <= {"backup.info"}:
            # Not for files of an earlier life of the system: they were never compared since.
            leave_word(layout, backup_id)
        mirror = Mirror(
            self._server.primary_host,
            Tree(posixpath.join(self._primary.basebackups_directory, backup_id), directory, tuple(self._left_out())),
            pool_options(self._server),
            self._reporter,
            compress=config.network_compression,
            bandwidth_limit=config.bandwidth_limit or None,
        )
        self._require_whole(mirror.survey())
        with ExitStack() as lenders:  # no longer: the parent may be one of them, and is to know its child
            mirror.copy(list(self._loans(lenders)), intact=intact)
        if self._theirs.compression is None and self._theirs.backup_type != BackupType.RSYNC:
            link_tablespaces(layout, self._info)
        copying.sync_places([directory], config.parallel_jobs)
        self._verify(mirror)
        given_up = self._what_the_primary_says()
        if given_up:
            raise SyncError(given_up)
        take_back_word(layout, backup_id)
        statistics = mirror.statistics
        _LOG.info(
            "backup %s of server %s is copied: %d files (%d bytes), %d here before, %d of other backups, %d bytes came",
            *(backup_id, self._server.name, statistics.files, statistics.size, statistics.present, statistics.reused),
            statistics.travelled,
        )
        self._finish(directory)

    def _require_whole(self, listing: Listing) -> None:
        """Raise SyncError for a backup that has lost its data on the primary, where a deletion may have been killed."""
        theirs, where = self._theirs, f"backup {self._theirs.backup_id} is not whole on the primary"
        if theirs.backup_type == BackupType.SNAPSHOT:
            return
        if theirs.compression is None and theirs.encryption is None:
            needed = [f"{top}/global/pg_control" for top in ("data", "pgdata")]
        else:
            needed = [path for path in listing.files if path.startswith("data/base.tar")] or ["data/base.tar"]
        if not any(path in listing.files for path in needed):
            raise SyncError(f"{where}: '{needed[0]}' is missing")
        if theirs.size is not None and listing.size + _TOLERANCE < theirs.size:
            raise SyncError(f"{where}: it has {listing.size} bytes, its record says {theirs.size}")

    def _left_out(self) -> Iterator[str]:
        """What is not mirrored: records, marks and notes; links to tablespaces, which lead to places of the primary."""
        yield from ("backup.info", ".backup.lock", ".copying", "annotations")
        for space in self._theirs.tablespaces:
            # One in place (a relative location) is a directory of the data directory.
            if space.location.startswith("/"):
                yield f"data/pg_tblspc/{space.oid}"

    def _loans(self, locks: ExitStack) -> Iterator[Loan]:
        """The nearest newer backup here, else the nearest older one, as `reuse_backup` says."""
        how = self._server.config.reuse_backup
        theirs, view = self._theirs, self._catalog.snapshot()
        if how not in ("link", "copy") or theirs.compression is not None or theirs.encryption is not None:
            return
        newer, older = view.next(theirs.backup_id), view.previous(theirs.backup_id)
        for lender, earlier in ((newer, theirs), (older, older)):
            if lender is None or earlier is None or lender.compression is not None or lender.encryption is not None:
                continue
            try:
                locks.enter_context(self._catalog.locks.backup_id(lender.backup_id, shared=True))
            except LockBusy:
                continue  # it is being deleted, perhaps
            begun = earlier.begin_time if _times_prove(lender, theirs) else None
            yield Loan(str(how), self._layout.backup_directory_of(lender.backup_id), begun)
            return

    def _verify(self, mirror: Mirror) -> None:
        """Raise SyncError unless the copy has the content that it should have; what differs is fetched once more."""
        verdict = verify_by_manifest(self._server, self._info)
        wrong = mirror.differences(verdict.covered)
        if wrong:
            self._reporter.warning(
                f"the copy of backup {self._theirs.backup_id} differs from the primary in {len(wrong)} files, which "
                f"are fetched again: {_listed(wrong)}"
            )
            mirror.repair()
            copying.sync_places(
                [self._layout.backup_directory_of(self._theirs.backup_id)], self._server.config.parallel_jobs
            )
            verdict = verify_by_manifest(self._server, self._info)
            wrong = mirror.differences(verdict.covered)
        if wrong:
            raise SyncError(f"the copy differs from the primary in {len(wrong)} files: {_listed(wrong)}")
        if verdict.problem and self._theirs.backup_type == BackupType.RSYNC:
            # The original's copies may hold the manifest of the backup that the cluster itself was made from.
            _LOG.warning("backup %s has a manifest that is not its own: %s", self._theirs.backup_id, verdict.problem)
        elif verdict.problem:
            raise SyncError(
                f"{DAMAGED}, which has the same content: {verdict.problem}",
                hint=f"Run 'barman verify-backup {self._server.name} {self._theirs.backup_id}' there.",
            )

    def _finish(self, directory: str) -> None:
        backup_id = self._theirs.backup_id
        sizes = measure(directory)
        record = os.path.getsize(self._layout.legacy_backup_info(backup_id))
        parent = self._theirs.parent_backup_id
        if parent is not None:
            self._tell_parent(parent)
        for _, target in kept_there(self._server, self._primary, [backup_id]):
            # Before there is a backup to keep: no run of retention comes in between.
            self._catalog.keep.set(backup_id, target)
        done = replace(
            self._info,
            status=BackupStatus.WAITING_FOR_WALS,
            mode=self._theirs.mode,
            size=self._theirs.size if self._theirs.size is not None else sizes.size - record,
            deduplicated_size=max(0, sizes.deduplicated_size - record),
        )
        if self._theirs.status == BackupStatus.DONE and judge_archive(self._server, done).status == BackupStatus.DONE:
            done = replace(done, status=BackupStatus.DONE)
        self._save(done)

    def _tell_parent(self, parent_id: BackupId) -> None:
        view = self._catalog.snapshot()

        def with_children(parent: BackupInfo) -> BackupInfo:
            listed = (*parent.children_backup_ids, *self._children(parent_id, view))
            return replace(parent, children_backup_ids=tuple(i for i in dict.fromkeys(listed) if i in view.backups))

        try:
            change_record(self._catalog, parent_id, with_children)
        except LockBusy:
            # What a child says of its parent counts; the list is for the original, and is put right with the next one.
            _LOG.warning("backup %s is busy: its record does not list its child yet", parent_id)

    # --- failures

    def _what_the_primary_says(self) -> str:
        """Why no copy can succeed any more: the primary has given the backup up. "" if not, or if it does not say."""
        primary, backup_id = self._primary, self._theirs.backup_id
        meta, files = posixpath.join(primary.backup_directory, "meta"), primary_files(self._server)
        places = (
            posixpath.join(meta, f"{backup_id}-backup.info"),
            posixpath.join(primary.basebackups_directory, backup_id, "backup.info"),
        )
        try:
            if not {f".{backup_id}.deleting", f"{backup_id}-delete_this"}.isdisjoint(files.names(meta)):
                return "the primary is deleting the backup"
            for path in places:
                try:
                    text = files.read(path, backup_info_file.MAX_SIZE)
                except FileMissing:
                    continue
                info = backup_info_file.parse(text.decode("utf-8", "replace"), backup_id, self._server.name, path=path)
                return "" if info.is_copy_done else f"the primary has marked the backup as {info.status} meanwhile"
        except BarmanError:
            return ""
        return "the primary has deleted the backup while it was copied"

    def _fail(self, reason: str) -> None:
        error = f"failure syncing server {self._server.name} backup {self._theirs.backup_id}: {reason}"
        try:
            self._save(replace(self._info, status=BackupStatus.FAILED, mode=_MODE, error=error))
        except (BarmanError, OSError) as failure:
            # A full disk, perhaps. The record says SYNCING and nobody runs: the next command sees that.
            _LOG.warning("the failure of backup %s is not recorded: %s", self._theirs.backup_id, failure)

    def _save(self, info: BackupInfo) -> None:
        before = self._info.status
        self._catalog.backups.save(info)
        self._info = info
        log_status(info, before)


def _times_prove(lender: BackupInfo, theirs: BackupInfo) -> bool:
    """Whether equal times of files mean equal content: two copies by rsync of one primary PostgreSQL (ADR 21)."""
    if lender.systemid is None or lender.systemid != theirs.systemid or lender.timeline != theirs.timeline:
        return False
    if any(info.backup_type != BackupType.RSYNC for info in (lender, theirs)):
        return False
    try:
        return not any(parse_backup_label(info.backup_label or "").from_standby for info in (lender, theirs))
    except BarmanError:
        return False


def _listed(paths: tuple[str, ...]) -> str:
    shown = ", ".join(paths[:_SHOWN])
    return f"{shown} and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else shown
