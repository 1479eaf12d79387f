"""The directories through which WAL arrives: left-overs, backlogs, and files that nobody archives."""

from __future__ import annotations

import os

from barman import clock
from barman.check.check import Check, Outcome, check, failed
from barman.postgres.wal_name import is_segment_name
from barman.typing import TYPE_CHECKING
from barman.units import format_age
from barman.wal.quarantine import list_refused

if TYPE_CHECKING:
    from barman.check.context import CheckContext
    from barman.config.server_config import ServerConfig

STALE_SECONDS = 600.0
"""How long an arrived segment may lie before somebody should ask whether cron runs: ten of its runs."""

_UNFINISHED = (".tmp", ".partial")


@check("empty incoming directory", applies=lambda config: not config.archiver, blocking=False)
def empty_incoming(context: CheckContext) -> Outcome | None:
    """Nothing may wait where no archiver looks."""
    return _left_over("incoming", "archiver", context)


@check("empty streaming directory", applies=lambda config: not config.streaming_archiver, blocking=False)
def empty_streaming(context: CheckContext) -> Outcome | None:
    """Nothing may wait where no archiver looks."""
    return _left_over("streaming", "streaming_archiver", context)


def _queue_limit(source: str) -> Check:
    def applies(config: ServerConfig) -> bool:
        archives = config.archiver if source == "incoming" else config.streaming_archiver
        return archives and config.max_incoming_wals_queue is not None

    def probe(context: CheckContext) -> Outcome | None:
        limit = context.config.max_incoming_wals_queue or 0
        waiting = len(_waiting(source, context))
        if waiting <= limit:
            return None
        return failed(f"there are too many WALs in queue: {waiting}, max {limit}")

    return check(f"{source} WALs directory", applies=applies, blocking=False)(probe)


incoming_queue = _queue_limit("incoming")
streaming_queue = _queue_limit("streaming")


@check("WAL queue", applies=lambda config: not config.passive_node, blocking=False)
def stale_queue(context: CheckContext) -> Outcome | None:
    """Segments that arrived long ago are in nobody's archive: a restore would not find them.

    The newest streamed segment is held back on purpose, and a running archiver is on its way to the others.
    """
    config = context.config
    waiting = _arrivals(config.incoming_wals_directory) if config.archiver else []
    if config.streaming_archiver:
        waiting += sorted(_arrivals(config.streaming_wals_directory), key=lambda arrival: arrival[1])[:-1]
    oldest = min((arrival[0] for arrival in waiting), default=None)
    if oldest is None or clock.timestamp() - oldest < STALE_SECONDS or context.catalog.locks.is_held("archive-wal"):
        return None
    age = format_age(clock.timestamp() - oldest)
    return failed(f"{len(waiting)} WAL files wait for the archiver, the oldest for {age}: is 'barman cron' running?")


@check("archiver errors", blocking=False)
def archiver_errors(context: CheckContext) -> Outcome:
    """Files that were refused, counted by kind; the first one whose reason was noted is named with it."""
    kinds: dict[str, int] = {}
    words = {"duplicate": "duplicates", "unknown": "unknown", "error": "not relevant"}
    for name in _listing(context.config.errors_directory):
        if not name.startswith("."):
            kind = words.get(name.rpartition(".")[2], "unknown failure")
            kinds[kind] = kinds.get(kind, 0) + 1
    if not kinds:
        return Outcome(True)
    counts = ", ".join(f"{kind}: {count}" for kind, count in kinds.items())
    explained = next((file for file in list_refused(context.config.errors_directory) if file.reason), None)
    if explained is None:
        return failed(counts)
    return failed(f"{counts}; '{explained.name}': {explained.reason}; see 'barman wal-errors {context.config.name}'")


def _waiting(source: str, context: CheckContext) -> list[str]:
    """The files that wait in a queue: hidden and unfinished ones do not count.

    Neither does a segment in `streaming/` that is archived: the newest one stays, for pg_receivewal looks for it.
    """
    directory = _directory(source, context)
    names = [name for name in _listing(directory) if not name.startswith(".") and not name.endswith(_UNFINISHED)]
    if source == "incoming":
        return names
    return [name for name in names if not (is_segment_name(name) and context.catalog.wals.exists(name))]


def _directory(source: str, context: CheckContext) -> str:
    config = context.config
    return config.incoming_wals_directory if source == "incoming" else config.streaming_wals_directory


def _left_over(source: str, option: str, context: CheckContext) -> Outcome | None:
    if not _waiting(source, context):
        return None
    return failed(f"'{_directory(source, context)}' must be empty when {option}=off")


def _arrivals(directory: str) -> list[tuple[float, str]]:
    """When each complete segment arrived; the sender may have set the modification time, so the change time counts."""
    found = []
    for name in _listing(directory):
        if is_segment_name(name):
            try:
                found.append((os.stat(os.path.join(directory, name)).st_ctime, name))
            except FileNotFoundError:
                continue
    return found


def _listing(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
