"""switch-wal: make a server finish its segment, and wait until it is archived."""

from __future__ import annotations

import os

from barman.clock import Deadline, monotonic
from barman.errors import ConfigError, MissingPrivilege, PostgresError, WalError
from barman.typing import TYPE_CHECKING
from barman.wal.primary import switching_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.catalog.catalog import Catalog
    from barman.postgres.connection import PostgresConnection
    from barman.postgres.control_functions import SwitchOutcome
    from barman.report import Reporter
    from barman.server.server import Server

_POLL_SECONDS = 0.1
# The queues are looked at every 0.1 s; the archiver runs when they changed, and now and then even if they did not.
_ARCHIVE_SECONDS = 2.0


def switch_wal(
    server: Server, reporter: Reporter, *, force: bool = False, archive: bool = False, timeout: float | None = 30
) -> None:
    """Close the current segment on the primary; with `archive`, wait until it is archived.

    Args:
        server: the server; `primary_conninfo` is used if its `conninfo` leads to a standby.
        reporter: is told what happened.
        force: CHECKPOINT first, so that there is something to switch.
        archive: wait for the closed segment, or for any if none was closed.
        timeout: seconds to wait; None or 0 waits for ever.

    Raises:
        PostgresError: the switch could not be performed.
        WalError: the closed segment did not arrive in time.
    """
    if server.config.passive_node:
        raise ConfigError(
            f"server '{server.name}' is passive: it has no PostgreSQL to switch",
            hint="Run switch-wal on the Barman of the primary site.",
        )
    before = _newest_segments(server.catalog) if archive else {}
    closed = switch_and_report(server, reporter, force=force)
    if archive:
        deadline = Deadline(timeout or None)
        if closed is None:
            _wait_for_any(server, before, deadline, reporter)
        else:
            wait_for_segment(server, closed, deadline, reporter)


def switch_and_report(server: Server, reporter: Reporter, *, force: bool = False) -> str | None:
    """Switch, say what happened, and return the name of the segment that was closed, None if none was.

    Raises:
        PostgresError: the switch could not be performed.
    """
    try:
        connection = switching_connection(server, reporter)
    except PostgresError as error:
        raise _unable(server, error) from error
    if force:
        _checkpoint(server, connection)
    outcome = _switch(server, connection)
    if outcome.in_recovery:
        reporter.info(f"No switch performed because server '{server.name}' is a standby.")
        return None
    if outcome.closed is None:
        reporter.info(f"No switch required for server '{server.name}'")
        return None
    reporter.info(f"The WAL file {outcome.closed.name} has been closed on server '{server.name}'")
    return outcome.closed.name


def wait_for_segment(server: Server, name: str, deadline: Deadline, reporter: Reporter) -> None:
    """Run the archiver until the segment is in the archive.

    Raises:
        WalError: it is not, when the deadline is over.
    """
    reporter.info(f"Waiting for the WAL file {name} from server '{server.name}'{_maximum(deadline)}")
    if not _archive_until(lambda: server.catalog.wals.exists(name), server, deadline, reporter):
        raise WalError(
            f"The WAL file {name} has not been received in {deadline.seconds:g} seconds",
            hint=f"Run 'barman check {server.name}': is WAL shipped, is receive-wal running?",
        )


def _wait_for_any(server: Server, before: dict[int, str | None], deadline: Deadline, reporter: Reporter) -> None:
    reporter.info(f"Waiting for a WAL file from server '{server.name}' to be archived{_maximum(deadline)}")
    if not _archive_until(lambda: _newest_segments(server.catalog) != before, server, deadline, reporter):
        reporter.info(f"A WAL file has not been received in {deadline.seconds:g} seconds")


def _archive_until(done: Callable[[], bool], server: Server, deadline: Deadline, reporter: Reporter) -> bool:
    from barman.wal.archiver import archive_wal

    queues = (server.catalog.layout.streaming_directory, server.catalog.layout.incoming_directory)
    seen: list[tuple[str, ...]] | None = None
    next_run = 0.0
    while not done():
        if deadline.expired:
            return False
        queued = [_listing(queue) for queue in queues]
        # A run that is under way elsewhere archives the same files: no need to say every 0.1 s that it is busy.
        if (queued != seen or monotonic() >= next_run) and not server.catalog.locks.is_held("archive-wal"):
            archive_wal(server, reporter, quiet=True)
            seen, next_run = queued, monotonic() + _ARCHIVE_SECONDS
            continue
        deadline.sleep(_POLL_SECONDS)
    return True


def _listing(directory: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(os.listdir(directory)))
    except FileNotFoundError:
        return ()


def _newest_segments(catalog: Catalog) -> dict[int, str | None]:
    return {timeline: catalog.wals.newest_segment(timeline) for timeline in catalog.wals.timelines()}


def _checkpoint(server: Server, connection: PostgresConnection) -> None:
    from barman.postgres.control_functions import checkpoint

    try:
        checkpoint(connection)
    except MissingPrivilege as error:
        raise MissingPrivilege(
            "Barman switch-wal --force requires superuser rights or the 'pg_checkpoint' role",
            hint=error.hint,
        ) from error
    except PostgresError as error:
        raise _unable(server, error) from error


def _switch(server: Server, connection: PostgresConnection) -> SwitchOutcome:
    from barman.postgres.control_functions import switch_wal as perform

    try:
        return perform(connection)
    except MissingPrivilege as error:
        raise MissingPrivilege(
            f"Unable to perform pg_switch_wal for server '{server.name}'.",
            hint=f"{error.message}. Grant EXECUTE on pg_switch_wal() to the role of conninfo.",
        ) from error
    except PostgresError as error:
        raise _unable(server, error) from error


def _unable(server: Server, error: PostgresError) -> PostgresError:
    hint = f"{error.message}. {error.hint}" if error.hint else error.message
    return type(error)(f"Unable to perform pg_switch_wal for server '{server.name}'.", hint=hint)


def _maximum(deadline: Deadline) -> str:
    return "" if deadline.seconds is None else f" (max: {deadline.seconds:g} seconds)"
