"""A receiver that is ahead of the server: after a failover the new primary may never have got what we have.

pg_receivewal goes on after the newest file in its directory. When the server has left that timeline before, it
refuses: "requested starting point is not in this server's history", at every start. What was received beyond the
fork stays in the archive, under the name of its timeline; reception goes on at the fork, on the new timeline.
"""

from __future__ import annotations

import os

from barman.clock import Deadline
from barman.errors import InvalidWalName, WalError
from barman.fs import durable
from barman.postgres.timeline import TimelineHistory
from barman.postgres.wal_name import PartialSegment, WalSegment, parse_wal_name
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barman.postgres.lsn import Lsn
    from barman.postgres.replication import SystemIdentity
    from barman.report import Reporter
    from barman.server.server import Server


_ARCHIVE_SECONDS = 60.0


def follow_fork(server: Server, identity: SystemIdentity, segment_size: int, reporter: Reporter) -> None:
    """Let the receiver, which the caller has locked, go on where the server's timeline begins, if it is beyond that.

    Raises:
        WalError: what was received belongs to a timeline that is no ancestor of the server's.
        PostgresError: the history cannot be read.
    """
    directory = server.catalog.layout.streaming_directory
    newest = newest_received(_names(directory), segment_size)
    if newest is None or newest[0].timeline >= identity.timeline:
        return
    segment, start = newest
    history = TimelineHistory.parse(identity.timeline, server.wal_streaming.timeline_history(identity.timeline))
    end = history.end_of(segment.timeline)
    if end is None:
        raise WalError(
            f"the newest received file is of timeline {segment.timeline} ('{segment.name}' in '{directory}'), which is "
            f"no ancestor of the server's timeline {identity.timeline}",
            hint=f"If the server is the right one: 'barman receive-wal --reset {server.name}', then a new backup.",
        )
    if start <= end:
        return
    fork = WalSegment.containing(end, identity.timeline, segment_size)
    reporter.warning(
        f"WAL of timeline {segment.timeline} was received up to {start}, but the server left that timeline at {end}: "
        f"what lies beyond stays in the archive, and reception goes on with {fork.name} on timeline {identity.timeline}"
    )
    durable.write_atomic(os.path.join(directory, PartialSegment(fork).name), b"", 0o600)
    _archive_the_rest(server, fork, reporter)


def newest_received(names: Iterable[str], segment_size: int) -> tuple[WalSegment, Lsn] | None:
    """The file that pg_receivewal goes on after, and the position: by segment, then timeline, complete before partial.

    As FindStreamingStart in pg_receivewal.c. Pure.
    """
    found = []
    for name in names:
        try:
            parsed = parse_wal_name(name)
        except InvalidWalName:
            continue
        if isinstance(parsed, WalSegment | PartialSegment):
            complete = isinstance(parsed, WalSegment)
            segment = parsed.segment
            found.append((segment.number(segment_size), segment.timeline, complete, segment))
    if not found:
        return None
    _, _, complete, segment = max(found)
    return segment, segment.end(segment_size) if complete else segment.start(segment_size)


def _archive_the_rest(server: Server, fork: WalSegment, reporter: Reporter) -> None:
    """Empty the queue of what is older than the file just written: whatever lies after it would be gone on with."""
    from barman.wal.archiver import archive_wal

    own = PartialSegment(fork).name
    archive_wal(server, reporter, quiet=True, whole=Deadline(_ARCHIVE_SECONDS))
    left = [name for name in _names(server.catalog.layout.streaming_directory) if name != own and name[0] != "."]
    if left:
        raise WalError(
            f"'{left[0]}' in '{server.catalog.layout.streaming_directory}' cannot be archived, and keeps the receiver "
            f"from going on with {fork.name}",
            hint=f"'barman archive-wal {server.name}' says why.",
        )


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
