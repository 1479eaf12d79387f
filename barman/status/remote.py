"""The live state of a server under the names that `show-servers` and `diagnose` have for it."""

from __future__ import annotations

from barman import clock
from barman.errors import BarmanError
from barman.typing import TYPE_CHECKING, Any
from barman.units import format_age, format_interval
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.config.server_config import ServerConfig
    from barman.postgres.facts import ServerFacts
    from barman.postgres.version import PgVersion
    from barman.server.server import Server

_SQL_KEYS = (
    "archive_timeout",
    "checkpoint_timeout",
    "config_file",
    "current_lsn",
    "current_size",
    "current_xlog",
    "data_checksums",
    "data_directory",
    "has_backup_privileges",
    "has_monitoring_privileges",
    "hba_file",
    "hot_standby",
    "ident_file",
    "included_files",
    "is_in_recovery",
    "is_superuser",
    "max_replication_slots",
    "max_wal_senders",
    "postgres_systemid",
    "replication_slot",
    "replication_slot_support",
    "server_txt_version",
    "synchronous_standby_names",
    "version_supported",
    "wal_compression",
    "wal_keep_size",
    "wal_level",
    "xlog_segment_size",
)
_STREAMING_KEYS = ("streaming", "streaming_supported", "streaming_systemid", "timeline", "xlogpos")
_ARCHIVER_KEYS = ("archive_command", "archive_mode")


@dataclass(frozen=True, slots=True)
class ServerDetails:
    """`show-servers`: every option and every live fact of one server, by name."""

    server_name: str
    active: bool
    disabled: bool
    description: str
    items: Mapping[str, object]


def show_server(server: Server) -> ServerDetails:
    """Configuration and live state. A server that is down has None for every live fact, and a `connection_error`."""
    config = server.config
    items: dict[str, object] = dict(config.items())
    items |= {"active_model": config.active_model, "passive_node": config.passive_node}
    items["wal_retention_policy"] = wal_retention_policy(config)
    items["last_backup_maximum_age"] = _backup_age(server)
    items |= read_remote_status(server)
    return ServerDetails(config.name, config.active, config.disabled, config.description or "", items)


def wal_retention_policy(config: ServerConfig) -> str:
    """The word as it has always been shown: in capitals where a retention policy gives it a meaning."""
    word = str(config.wal_retention_policy)
    return word.upper() if config.retention_policy else word


def read_remote_status(server: Server) -> dict[str, Any]:
    """What connections and client programs say now. Never raises for what is out of reach.

    Empty for a passive node, which has no PostgreSQL, and for an inactive server, which is to be left alone.
    """
    config = server.config
    if config.passive_node or not config.active:
        return {}
    uses_streaming = config.backup_method == "postgres" or config.streaming_archiver
    status: dict[str, Any] = dict.fromkeys((*_SQL_KEYS, "connection_error"))
    if uses_streaming:
        status |= dict.fromkeys(_STREAMING_KEYS)
    if config.archiver:
        status |= dict.fromkeys(_ARCHIVER_KEYS)
    facts = None
    server.ask_programs_ahead()
    try:
        facts = _read_facts(server, uses_streaming=uses_streaming)
    except BarmanError as error:
        status["connection_error"] = error.message
    if facts is not None:
        status |= _live_items(facts, config)
    version = facts.version if facts else None
    if config.streaming_archiver:
        status |= _receiver_items(server, version, facts)
    if config.backup_method == "postgres":
        status |= _basebackup_items(server, version)
    return status


def _read_facts(server: Server, *, uses_streaming: bool) -> ServerFacts:
    from barman.postgres.facts import read_facts

    streaming = server.streaming if uses_streaming else None
    return read_facts(server.postgres, streaming, slot_name=server.config.slot_name, with_size=True)


def _live_items(facts: ServerFacts, config: ServerConfig) -> dict[str, Any]:
    from barman.postgres.facts import ArchiverStats, remote_status

    items = remote_status(facts)
    if not config.archiver:
        for name in (*_ARCHIVER_KEYS, *ArchiverStats.__match_args__):
            items.pop(name, None)
    return items


def _receiver_items(server: Server, version: PgVersion | None, facts: ServerFacts | None) -> dict[str, Any]:
    from barman.postgres.programs import find_pg_receivewal

    program = find_pg_receivewal(server.search_path, version)
    names = frozenset(facts.synchronous_standby_names if facts else ())
    return {
        "pg_receivexlog_installed": program is not None,
        "pg_receivexlog_path": program.path if program else None,
        "pg_receivexlog_version": program.version.text if program else None,
        "pg_receivexlog_compatible": program.serves(version) if program and version else None,
        "pg_receivexlog_supports_slots": program is not None if version else None,
        "pg_receivexlog_synchronous": bool({"*", server.config.streaming_archiver_name} & names) if version else None,
    }


def _basebackup_items(server: Server, version: PgVersion | None) -> dict[str, Any]:
    from barman.postgres.programs import find_pg_basebackup

    program = find_pg_basebackup(server.search_path, version)
    return {
        "pg_basebackup_installed": program is not None,
        "pg_basebackup_path": program.path if program else None,
        "pg_basebackup_version": program.version.text if program else None,
        "pg_basebackup_compatible": program.serves(version) if program and version else None,
        "pg_basebackup_bwlimit": program is not None,
        "pg_basebackup_tbls_mapping": program is not None,
    }


def _backup_age(server: Server) -> str | None:
    """The limit beside the truth; None without a limit."""
    limit = server.config.last_backup_maximum_age
    if limit is None:
        return None
    text = format_interval(limit)
    try:
        newest = server.catalog.snapshot().latest()
    except BarmanError:
        return text
    if newest is None or newest.end_time is None:
        return f"{text} (WARNING! latest backup is No available backups old)"
    age = clock.now() - newest.end_time
    if age > limit:
        return f"{text} (WARNING! latest backup is {format_age(age)} old)"
    return f"{text} (latest backup: {format_age(age)} )"
