"""How WAL gets here: the receiver, and PostgreSQL's own archiver."""

from __future__ import annotations

import os

from barman import clock
from barman.check.check import Outcome, check, failed, on_active_nodes, passed
from barman.check.checks.postgres import CRON_RECENTLY, PATIENCE_SECONDS, seconds_since_change
from barman.postgres.wal_name import DEFAULT_SEGMENT_SIZE
from barman.typing import TYPE_CHECKING
from barman.units import format_size

if TYPE_CHECKING:
    from barman.check.context import CheckContext
    from barman.config.server_config import ServerConfig
    from barman.postgres.programs import Program


def _streams(config: ServerConfig) -> bool:
    return on_active_nodes(config) and config.streaming_archiver


def _archives(config: ServerConfig) -> bool:
    return on_active_nodes(config) and config.archiver


def _receiver(context: CheckContext) -> Program | None:
    from barman.postgres.programs import find_pg_receivewal

    return find_pg_receivewal(context.server.search_path, context.facts.version if context.facts else None)


@check("pg_receivexlog", applies=_streams)
def pg_receivexlog(context: CheckContext) -> Outcome:
    """The client program is installed."""
    return passed() if _receiver(context) else failed("pg_receivewal not found: install it, or set 'path_prefix'")


@check("pg_receivexlog compatible", applies=_streams)
def pg_receivexlog_compatible(context: CheckContext) -> Outcome:
    """The client program is not older than the server."""
    return compatible(_receiver(context), context, "pg_receivexlog")


def compatible(program: Program | None, context: CheckContext, name: str) -> Outcome:
    """Whether a client program serves the server; nobody knows while the server is down."""
    server = context.facts.version if context.facts else None
    versions = (
        f"PostgreSQL version: {context.facts.server_txt_version if context.facts else None}, "
        f"{name} version: {program.version.text if program else None}"
    )
    return passed() if program and server and program.serves(server) else failed(versions)


@check("receive-wal running", applies=_streams)
def receive_wal_running(context: CheckContext) -> Outcome:
    """Somebody holds the receiver's lock; after a cron run it gets a moment to take it."""
    locks, layout = context.catalog.locks, context.catalog.layout
    patience = clock.Deadline(PATIENCE_SECONDS)
    while not locks.is_held("receive-wal"):
        age = seconds_since_change(layout.lock("cron"))
        if age is None or age > CRON_RECENTLY or patience.expired:
            return failed(
                f"not running{_full_disk(context)} run 'barman cron' to start it, "
                f"or 'barman receive-wal {context.config.name}' to see why it stops. "
                "See the Barman log file for more details"
            )
        clock.sleep(0.1)
    return passed()


def _full_disk(context: CheckContext) -> str:
    """Say so when there is no room for the next segment, which the receiver fills with zeros first."""
    directory = context.config.streaming_wals_directory
    size = context.facts.segment_size if context.facts else DEFAULT_SEGMENT_SIZE
    try:
        state = os.statvfs(directory)
    except OSError:
        return ":"
    free = state.f_bavail * state.f_frsize
    return f", and '{directory}' has only {format_size(free)} free: make room," if free < size else ":"


@check("archive_mode", applies=_archives)
def archive_mode(context: CheckContext) -> Outcome | None:
    """PostgreSQL archives at all."""
    facts = context.archiving_facts
    if facts is None or facts.archive_mode is None:
        return None
    if facts.archive_mode in ("on", "always"):
        return passed()
    return failed("please set it to 'on' or 'always'")


@check("archive_command", applies=_archives)
def archive_command(context: CheckContext) -> Outcome | None:
    """PostgreSQL has a command, or a library, to archive with."""
    facts = context.archiving_facts
    if facts is None or facts.archive_mode is None:
        return None
    return passed() if _has_command(context) else failed("please set it accordingly to documentation")


@check("continuous archiving", applies=_archives)
def continuous_archiving(context: CheckContext) -> Outcome | None:
    """The last attempt of PostgreSQL's archiver worked."""
    facts = context.archiving_facts
    if facts is None or facts.archiver is None or not _has_command(context):
        return None
    stats = facts.archiver
    if stats.is_archiving:
        return passed()
    if stats.last_failed_wal is None:
        return failed()
    return failed(f"archive_command fails for {stats.last_failed_wal}: see the PostgreSQL log")


def _has_command(context: CheckContext) -> bool:
    facts = context.archiving_facts
    if facts is None:
        return False
    command = facts.archive_command or ""
    return command not in ("", "(disabled)") or bool(facts.settings.get("archive_library"))
