"""After the copy: wait for the WAL that makes the backup restorable, then drop the WAL before the first backup."""

from __future__ import annotations

from barman.backup.complete import check_backup, judge_archive
from barman.backup.standby import PrimaryHelper, is_of_standby, what_helps
from barman.catalog.backup_info import BackupStatus
from barman.clock import Deadline
from barman.errors import BarmanError, Interrupted
from barman.report import MemoryReporter, replay
from barman.typing import TYPE_CHECKING
from barman.wal.archiver import archive_wal
from barman.wal.removal import remove_unneeded_wals

if TYPE_CHECKING:
    from barman.backup.request import BackupRequest
    from barman.catalog.backup_info import BackupInfo
    from barman.hooks.hooks import Hooks
    from barman.report import Reporter
    from barman.server.server import Server

RECEIVER_SECONDS = 15.0
"""How long a backup waits, unasked, for WAL that a running receiver is about to deliver."""

_POLL_SECONDS = 0.2


def complete_backup(
    server: Server, info: BackupInfo, request: BackupRequest, reporter: Reporter, *, closed: bool = True
) -> BackupInfo:
    """Archive what has arrived, judge the backup, and return its record as it is then.

    Waits as long as `--wait` says. Without it, and with a receiver at work, a few seconds: so a backup of a streaming
    server ends as DONE. What WAL arrives by `archive_command` is PostgreSQL's decision; that is not waited for, unless
    the backup is of a standby whose primary is to make a checkpoint after `primary_checkpoint_timeout`.

    Meanwhile the primary of a standby is seen to, above all if the segment is not `closed`.
    """
    checkpoint_seconds = _primary_checkpoint_seconds(server, info)
    if request.wait:
        limit = f" (max: {request.wait_timeout:g} seconds)" if request.wait_timeout else ""
        reporter.info(f"Waiting for the WAL file {info.end_wal} from server '{server.name}'{limit}")
        deadline = Deadline(request.wait_timeout)
    else:
        patience = RECEIVER_SECONDS if server.catalog.locks.is_held("receive-wal") or checkpoint_seconds else 0
        deadline = Deadline(checkpoint_seconds + patience)
    try:
        with PrimaryHelper(server, reporter, switched=closed) as helper:
            if is_of_standby(info) and not deadline.expired:
                helper.start()
            arrived = _wait_for_wal(server, info, deadline, reporter)
        if request.wait and not arrived:
            reporter.error(f"The WAL file {info.end_wal} has not been received in {request.wait_timeout:g} seconds")
    except Interrupted as interruption:
        if interruption.signal_name != "SIGINT" or not request.wait:
            raise
        reporter.info(f"Got CTRL-C. Continuing without waiting for '{info.end_wal}' to be archived")
    except BarmanError as error:
        reporter.error(f"WAL of server {server.name} cannot be archived: {error.message}")
    checked = check_backup(server, info.backup_id, reporter)
    if checked.status == BackupStatus.WAITING_FOR_WALS:
        _warn_waiting(checked, what_helps(server, checked, judge_archive(server, checked).missing), reporter)
    return checked


def _primary_checkpoint_seconds(server: Server, info: BackupInfo) -> int:
    """After how many seconds the primary makes a checkpoint for this backup; 0 for never."""
    if not server.config.primary_conninfo or not is_of_standby(info):
        return 0
    return int(server.config.primary_checkpoint_timeout or 0)


def _wait_for_wal(server: Server, info: BackupInfo, deadline: Deadline, reporter: Reporter) -> bool:
    """Archive until every segment of the backup is there or the time is over; tell whether it is."""
    while True:
        archive_quietly(server, reporter)
        if judge_archive(server, info).missing is None:
            return True
        if deadline.expired:
            return False
        deadline.sleep(_POLL_SECONDS)


def archive_quietly(server: Server, reporter: Reporter) -> None:
    """Archive one batch; say nothing when there is none, or when another process is archiving."""
    memory = MemoryReporter()
    try:
        busy = archive_wal(server, memory, quiet=True).busy
    except BarmanError:
        replay(memory, reporter)
        raise
    if not busy:
        replay(memory, reporter)


def _warn_waiting(info: BackupInfo, more: str, reporter: Reporter) -> None:
    reporter.warning(
        f"IMPORTANT: backup {info.backup_id} of server {info.server_name} is in state WAITING_FOR_WALS\n"
        f"It can be restored when all WAL files from {info.begin_wal} to {info.end_wal} are archived;\n"
        f"'barman cron', run every minute, or 'barman check-backup {info.server_name} {info.backup_id}' then makes it "
        "DONE.\n" + (f"{more}\n" if more else "") + "Hint: execute the backup command with '--wait'"
    )


def purge_before_first(server: Server, info: BackupInfo, reporter: Reporter, hooks: Hooks) -> None:
    """Drop the WAL from before the first backup, which no recovery can begin with; the caller holds the backup lock.

    Only when this backup is the only good one and tells where it begins; on immutable storage nothing goes at all.
    What goes is what no backup needs, as in a deletion. A failure is reported: it does not make the backup worse.
    """
    catalog = server.catalog
    view = catalog.snapshot()
    if not info.is_copy_done or info.begin_wal is None or view.previous(info.backup_id) is not None:
        return
    if server.config.worm_mode:
        reporter.info("'worm_mode' is enabled, skip purging of unused WAL files.")
        return
    quiet = MemoryReporter()
    try:
        names = remove_unneeded_wals(catalog, view, (), quiet, hooks)
    except OSError as error:
        reporter.warning(f"WAL from before the first backup cannot be removed: {error}")
        return
    for warning in quiet.texts("warning"):
        reporter.warning(warning)
    if names:
        reporter.listing("WAL segments preceding the current backup have been found:")
        for name in names:
            reporter.info(f"\t{name} from server {server.name} has been removed")
