"""What a server is: one frozen snapshot, read with one SQL query and one IDENTIFY_SYSTEM.

Facts that the role may not see are None; no missing privilege makes the snapshot fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from barman.errors import PostgresError
from barman.postgres.lsn import Lsn
from barman.postgres.synchronous import parse_standby_names
from barman.postgres.version import PgVersion
from barman.postgres.wal_name import WalSegment
from barman.typing import TYPE_CHECKING, Any
from barman.values import dataclass
from barman.workers import Task

if TYPE_CHECKING:
    from barman.postgres.connection import PostgresConnection
    from barman.postgres.replication import StreamingConnection, SystemIdentity

OLDEST_SUPPORTED = PgVersion(90600)

_SETTINGS = (
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "wal_level",
    "hot_standby",
    "max_wal_senders",
    "data_checksums",
    "max_replication_slots",
    "wal_compression",
    "wal_keep_size",
    "wal_keep_segments",
    "archive_timeout",
    "checkpoint_timeout",
    "wal_segment_size",
    "wal_block_size",
    "synchronous_standby_names",
    "archive_mode",
    "archive_command",
    "archive_library",
    "summarize_wal",
    "max_slot_wal_keep_size",
)

_SHOWN_SETTINGS = (
    "wal_level",
    "hot_standby",
    "max_wal_senders",
    "data_checksums",
    "max_replication_slots",
    "wal_compression",
    "config_file",
    "hba_file",
    "ident_file",
)
_START_BACKUP = {True: "pg_backup_start(text,boolean)", False: "pg_start_backup(text,boolean,boolean)"}


@dataclass(frozen=True, slots=True)
class TablespaceFact:
    """A tablespace outside the data directory."""

    name: str
    oid: int
    location: str


@dataclass(frozen=True, slots=True)
class ReplicationSlot:
    """A physical replication slot."""

    slot_name: str
    active: bool
    restart_lsn: Lsn | None

    def __str__(self) -> str:
        """As `show-servers` has always shown it."""
        position = None if self.restart_lsn is None else str(self.restart_lsn)
        return f"Record(slot_name={self.slot_name!r}, active={self.active!r}, restart_lsn={position!r})"


@dataclass(frozen=True, slots=True)
class ArchiverStats:
    """pg_stat_archiver, and what follows from it."""

    archived_count: int
    last_archived_wal: str | None
    last_archived_time: datetime | None
    failed_count: int
    last_failed_wal: str | None
    last_failed_time: datetime | None
    stats_reset: datetime | None
    is_archiving: bool
    current_archived_wals_per_second: float | None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a server is in its WAL. On a standby `lsn` is the replay position, and there is no file."""

    lsn: Lsn | None
    segment: WalSegment | None
    offset: int | None
    time: datetime


@dataclass(frozen=True, slots=True)
class Privileges:
    """What the connected role may do; None where it cannot be told."""

    is_superuser: bool | None
    backup: bool | None
    monitoring: bool | None
    checkpoint: bool | None


@dataclass(frozen=True, slots=True)
class StreamingFacts:
    """What the replication connection says; `identity` is None when `error` tells why."""

    identity: SystemIdentity | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A snapshot of one server. `settings` holds what SHOW prints, `raw_settings` the values in their base unit."""

    version: PgVersion
    server_txt_version: str
    in_recovery: bool
    position: Position
    privileges: Privileges
    system_id: str | None
    timeline: int | None
    segment_size: int
    settings: Mapping[str, str]
    raw_settings: Mapping[str, str]
    tablespaces: tuple[TablespaceFact, ...]
    included_files: tuple[str, ...]
    slot: ReplicationSlot | None
    archiver: ArchiverStats | None
    current_size: int | None
    streaming: StreamingFacts | None

    @property
    def current_lsn(self) -> Lsn | None:
        """The write position of a primary, the replay position of a standby."""
        return self.position.lsn

    @property
    def current_wal(self) -> str | None:
        """The name of the segment being written; None on a standby."""
        return self.position.segment.name if self.position.segment else None

    @property
    def data_directory(self) -> str | None:
        """PGDATA; None without the privilege to see it."""
        return self.settings.get("data_directory")

    @property
    def config_file(self) -> str | None:
        """The main configuration file; None without the privilege to see it."""
        return self.settings.get("config_file")

    @property
    def hba_file(self) -> str | None:
        """The host-based authentication file; None without the privilege to see it."""
        return self.settings.get("hba_file")

    @property
    def ident_file(self) -> str | None:
        """The user name map file; None without the privilege to see it."""
        return self.settings.get("ident_file")

    @property
    def data_checksums(self) -> bool:
        """Whether pages carry checksums."""
        return self.settings.get("data_checksums") == "on"

    @property
    def archive_mode(self) -> str | None:
        """off, on or always."""
        return self.settings.get("archive_mode")

    @property
    def archive_command(self) -> str | None:
        """The command, `(disabled)` or empty."""
        return self.settings.get("archive_command")

    @property
    def synchronous_standby_names(self) -> tuple[str, ...]:
        """The names in the setting of that name, without quotes and counts."""
        return parse_standby_names(self.settings.get("synchronous_standby_names", ""))


def fetch_in_recovery(connection: PostgresConnection) -> bool:
    """Whether the server is a standby, or recovering: one round trip."""
    return bool(connection.value("SELECT pg_is_in_recovery()"))


@dataclass(frozen=True, slots=True)
class StandbyState:
    """How a standby replays.

    `paused`: somebody paused it. `last_commit`: of what it has replayed, by the clock of the primary. A backup begins
    at `redo` of its last restartpoint, on `redo_timeline`, and ends on `timeline`, the one that it receives now.
    """

    paused: bool
    last_commit: datetime | None
    redo: Lsn
    redo_timeline: int
    timeline: int


def fetch_standby_state(connection: PostgresConnection) -> StandbyState | None:
    """Ask a standby how it replays: one round trip. None for a primary."""
    if connection.server_version < PgVersion(100000):
        paused, redo = "pg_is_xlog_replay_paused()", "redo_location"
    else:
        paused, redo = "pg_is_wal_replay_paused()", "redo_lsn"
    # CASE keeps a primary from calling what only a standby can.
    row = connection.query(
        f"SELECT CASE WHEN pg_is_in_recovery() THEN {paused} END, pg_last_xact_replay_timestamp(),"
        # The minimum recovery point, and its timeline, stay behind what is replayed until a page is written.
        f" {redo}::text, timeline_id, greatest(timeline_id, (SELECT received_tli FROM pg_stat_wal_receiver),"
        " (SELECT min_recovery_end_timeline FROM pg_control_recovery())) FROM pg_control_checkpoint()"
    )[0]
    if row[0] is None:
        return None
    return StandbyState(row[0], row[1], Lsn.parse(row[2]), int(row[3]), int(row[4]))


def fetch_timeline(connection: PostgresConnection) -> int:
    """The timeline that a server writes, or a standby replays, now: one round trip.

    That of the last checkpoint is not enough: a promoted server takes its first one a while later.
    """
    if connection.server_version < PgVersion(100000):
        name, current = "pg_xlogfile_name", "pg_current_xlog_location()"
    else:
        name, current = "pg_walfile_name", "pg_current_wal_lsn()"
    written, replayed, checkpointed = connection.query(
        f"SELECT CASE WHEN NOT pg_is_in_recovery() THEN {name}({current}) END,"
        " (SELECT min_recovery_end_timeline FROM pg_control_recovery()),"
        " (SELECT timeline_id FROM pg_control_checkpoint())"
    )[0]
    return int(written[:8], 16) if written is not None else max(int(replayed), int(checkpointed))


def fetch_server_text(connection: PostgresConnection) -> str:
    """The version in words: `15.18`, `17beta1`; the edition's own number of EnterpriseDB is cut."""
    return text_version(str(connection.value("SELECT version()")))


def fetch_slot(connection: PostgresConnection, name: str) -> ReplicationSlot | None:
    """One physical slot, or None: one round trip."""
    rows = connection.query(
        "SELECT slot_name, active, restart_lsn::text FROM pg_replication_slots"
        " WHERE slot_type = 'physical' AND slot_name = %s",
        (name,),
    )
    return _slot(*rows[0]) if rows else None


def fetch_setting(connection: PostgresConnection, name: str) -> str | None:
    """What SHOW prints for a setting; None if it does not exist or may not be seen."""
    value = connection.value("SELECT current_setting(name) FROM pg_settings WHERE name = %s", (name,))
    return None if value is None else str(value)


def fetch_cluster_size(connection: PostgresConnection) -> int:
    """The size of all tablespaces in bytes. The server stats every file: slow on big clusters.

    Raises:
        MissingPrivilege: the role lacks pg_read_all_stats.
    """
    return int(connection.value("SELECT sum(pg_tablespace_size(oid)) FROM pg_tablespace"))


def fetch_tablespaces(connection: PostgresConnection) -> tuple[TablespaceFact, ...]:
    """Tablespaces outside the data directory: one round trip."""
    rows = connection.query(
        "SELECT spcname, oid::bigint, pg_tablespace_location(oid) FROM pg_tablespace"
        " WHERE left(pg_tablespace_location(oid), 1) = '/' ORDER BY spcname"
    )
    return tuple(TablespaceFact(name, int(oid), location) for name, oid, location in rows)


def fetch_position(connection: PostgresConnection) -> Position:
    """Where the server is in its WAL, now: one round trip."""
    version = connection.server_version
    row = connection.query(f"SELECT {_position_sql(version)}, {SEGMENT_SIZE_SQL}")[0]
    return _position(*row)


def read_facts(
    connection: PostgresConnection,
    streaming: StreamingConnection | None = None,
    *,
    slot_name: str | None = None,
    with_size: bool = False,
) -> ServerFacts:
    """Read everything about a server: one SQL query, and at the same time one IDENTIFY_SYSTEM if `streaming` is given.

    Args:
        connection: the SQL connection.
        streaming: the replication connection; its failure becomes part of the facts.
        slot_name: the physical slot to look for.
        with_size: also measure the cluster (slow on big ones); needs backup privileges, else the size is None.

    Raises:
        PostgresError: the SQL query failed.
    """
    asked = None if streaming is None else Task(lambda: read_streaming_facts(streaming))
    version = connection.server_version
    rows = connection.query(_facts_sql(version), (list(_SETTINGS), slot_name, with_size))
    row: dict[str, Any] = dict(zip(_COLUMNS, rows[0], strict=True))
    backup_rights = row["backup_rights"]
    settings: dict[str, str] = dict(row["settings"])
    visible = row["is_superuser"] or backup_rights
    return ServerFacts(
        version=version,
        server_txt_version=text_version(row["version_text"]),
        in_recovery=row["in_recovery"],
        position=_position(row["lsn"], row["wal_name"], row["now"], row["segment_size"]),
        privileges=Privileges(
            row["is_superuser"],
            backup_rights,
            row["monitoring_rights"],
            row["is_superuser"] or row["checkpoint_rights"],
        ),
        system_id=row["system_id"],
        timeline=_timeline(row["wal_name"], row["timeline"]),
        segment_size=int(row["segment_size"]),
        settings=settings,
        raw_settings=dict(row["raw_settings"]),
        tablespaces=tuple(TablespaceFact(name, int(oid), location) for name, oid, location in row["tablespaces"] or ()),
        included_files=tuple(row["included_files"] or ()) if visible else (),
        slot=_slot(row["slot_name"], row["slot_active"], row["slot_restart_lsn"]) if row["slot_name"] else None,
        archiver=_archiver(row, settings.get("archive_mode")),
        current_size=None if row["current_size"] is None else int(row["current_size"]),
        streaming=None if asked is None else asked.result(),
    )


def read_streaming_facts(streaming: StreamingConnection) -> StreamingFacts:
    """Ask the replication connection for its identity; a failure is a fact too."""
    try:
        return StreamingFacts(streaming.identify_system(), None)
    except PostgresError as error:
        return StreamingFacts(None, str(error))


def text_version(words: str) -> str:
    """The version in the answer to `SELECT version()`."""
    parts = words.split()
    text = parts[1] if len(parts) > 1 else ""
    return text.rsplit(".", 1)[0] if parts and parts[0] == "EnterpriseDB" else text


def remote_status(facts: ServerFacts) -> dict[str, Any]:
    """The facts under the names that `show-servers` and `diagnose` have for them, the archiver's included."""
    settings = facts.settings
    keep = "wal_keep_size" if facts.version >= PgVersion(130000) else "wal_keep_segments"
    status: dict[str, Any] = {
        "data_directory": facts.data_directory,
        "server_txt_version": facts.server_txt_version,
        "is_superuser": facts.privileges.is_superuser,
        "has_backup_privileges": facts.privileges.backup,
        "has_monitoring_privileges": facts.privileges.monitoring,
        "is_in_recovery": facts.in_recovery,
        "current_xlog": facts.current_wal,
        "current_lsn": None if facts.current_lsn is None else str(facts.current_lsn),
        "current_size": facts.current_size,
        "replication_slot_support": True,
        "replication_slot": facts.slot,
        "synchronous_standby_names": list(facts.synchronous_standby_names) or [""],
        "postgres_systemid": facts.system_id,
        "version_supported": facts.version >= OLDEST_SUPPORTED,
        **{name: settings.get(name) for name in (*_SHOWN_SETTINGS, keep)},
        "archive_timeout": int(facts.raw_settings.get("archive_timeout", "0")),
        "checkpoint_timeout": int(facts.raw_settings.get("checkpoint_timeout", "0")),
        "xlog_segment_size": facts.segment_size,
        "archive_mode": facts.archive_mode,
        "archive_command": facts.archive_command,
    }
    if facts.included_files:
        status["included_files"] = list(facts.included_files)
    if facts.archiver is not None:
        archiver = facts.archiver
        status.update({name: getattr(archiver, name) for name in ArchiverStats.__match_args__})
    if facts.streaming is not None:
        status.update(streaming_status(facts.streaming))
    return status


def streaming_status(streaming: StreamingFacts) -> dict[str, Any]:
    """The facts of the replication connection under the names of `show-servers`."""
    identity = streaming.identity
    return {
        "connection_error": streaming.error,
        "streaming_supported": True,
        "streaming": identity is not None,
        "streaming_systemid": identity.systemid if identity else None,
        "timeline": identity.timeline if identity else None,
        "xlogpos": str(identity.xlogpos) if identity else None,
    }


_COLUMNS = (
    "lsn",
    "wal_name",
    "now",
    "segment_size",
    "version_text",
    "in_recovery",
    "is_superuser",
    "backup_rights",
    "monitoring_rights",
    "checkpoint_rights",
    "system_id",
    "timeline",
    "settings",
    "raw_settings",
    "tablespaces",
    "included_files",
    "slot_name",
    "slot_active",
    "slot_restart_lsn",
    "archived_count",
    "last_archived_wal",
    "last_archived_time",
    "failed_count",
    "last_failed_wal",
    "last_failed_time",
    "stats_reset",
    "current_size",
)

# Before PostgreSQL 11 the setting counts WAL blocks.
_SEGMENT_SIZE = (
    "(SELECT setting::bigint * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END FROM {} WHERE name = 'wal_segment_size')"
)
SEGMENT_SIZE_SQL = _SEGMENT_SIZE.format("pg_settings")


def _position_sql(version: PgVersion) -> str:
    """Columns lsn, wal_name, now. CASE keeps a standby from calling what only a primary can."""
    if version < PgVersion(100000):
        current, replay, name = "pg_current_xlog_location()", "pg_last_xlog_replay_location()", "pg_xlogfile_name"
    else:
        current, replay, name = "pg_current_wal_lsn()", "pg_last_wal_replay_lsn()", "pg_walfile_name"
    # One call gives the position, and the name is made from that very position.
    return (
        f"(SELECT l::text FROM (SELECT CASE WHEN pg_is_in_recovery() THEN {replay} ELSE {current} END AS l) p),"
        f" CASE WHEN NOT pg_is_in_recovery() THEN {name}({current}) END, CURRENT_TIMESTAMP"
    )


def _rights_sql(version: PgVersion) -> tuple[str, str, str]:
    """Boolean expressions: may back up, may monitor, may checkpoint (apart from being superuser)."""
    if version < PgVersion(100000):
        return "r.rolsuper", "r.rolsuper", "false"

    def role(name: str) -> str:
        return f"pg_has_role(current_user, '{name}', 'USAGE')"

    def function(signature: str) -> str:
        return f"has_function_privilege(current_user, '{signature}', 'EXECUTE')"

    modern = version >= PgVersion(150000)
    stop = (
        function("pg_backup_stop(boolean)")
        if modern
        else f"({function('pg_stop_backup()')} OR {function('pg_stop_backup(boolean,boolean)')})"
    )
    monitoring = f"({role('pg_monitor')} OR ({role('pg_read_all_settings')} AND {role('pg_read_all_stats')}))"
    backup = " AND ".join(
        [
            function(_START_BACKUP[modern]),
            stop,
            function("pg_switch_wal()"),
            function("pg_create_restore_point(text)"),
            monitoring,
        ]
    )
    checkpoint = role("pg_checkpoint") if modern else "false"
    return f"(r.rolsuper OR ({backup}))", f"(r.rolsuper OR {monitoring})", checkpoint


def _facts_sql(version: PgVersion) -> str:
    """The one query; its columns are `_COLUMNS`. Parameters: setting names, slot name, whether to measure the size."""
    backup, monitoring, checkpoint = _rights_sql(version)
    return f"""
WITH s AS (SELECT name, setting, unit, sourcefile FROM pg_settings),
     r AS (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
     rights AS (SELECT {backup} AS backup, {monitoring} AS monitoring, {checkpoint} AS checkpoint FROM r)
SELECT {_position_sql(version)},
       {_SEGMENT_SIZE.format("s")},
       version(),
       pg_is_in_recovery(),
       (SELECT rolsuper FROM r),
       rights.backup, rights.monitoring, rights.checkpoint,
       CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
            THEN (SELECT system_identifier::text FROM pg_control_system()) END,
       CASE WHEN has_function_privilege('pg_control_checkpoint()', 'EXECUTE')
            THEN (SELECT timeline_id FROM pg_control_checkpoint()) END,
       (SELECT json_object_agg(name, current_setting(name)) FROM s, (SELECT %s::text[] AS names) n
         WHERE name = ANY (names)),
       (SELECT json_object_agg(name, setting) FROM s
         WHERE name IN ('archive_timeout', 'checkpoint_timeout', 'wal_segment_size')),
       (SELECT json_agg(json_build_array(spcname, oid::bigint, pg_tablespace_location(oid)) ORDER BY spcname)
          FROM pg_tablespace WHERE left(pg_tablespace_location(oid), 1) = '/'),
       (SELECT array_agg(DISTINCT sourcefile ORDER BY sourcefile) FROM s
         WHERE sourcefile IS NOT NULL
           AND sourcefile IS DISTINCT FROM (SELECT setting FROM s WHERE name = 'config_file')),
       slot.slot_name, slot.active, slot.restart_lsn::text,
       a.archived_count, a.last_archived_wal, a.last_archived_time,
       a.failed_count, a.last_failed_wal, a.last_failed_time, a.stats_reset,
       CASE WHEN size.wanted AND rights.backup
            THEN (SELECT sum(pg_tablespace_size(oid)) FROM pg_tablespace) END
  FROM rights
 CROSS JOIN pg_stat_archiver a
  LEFT JOIN pg_replication_slots slot ON slot.slot_type = 'physical' AND slot.slot_name = %s
 CROSS JOIN (SELECT %s::boolean AS wanted) size
"""


def _position(lsn: str | None, wal_name: str | None, now: datetime, segment_size: int) -> Position:
    if lsn is None:
        return Position(None, None, None, now)
    position = Lsn.parse(lsn)
    if wal_name is None:
        return Position(position, None, None, now)
    # The server's name for a position on a segment boundary changed in PostgreSQL 17; only its timeline is taken,
    # and the arithmetic is ours: a boundary belongs to the segment that it ends.
    timeline = int(wal_name[:8], 16)
    segment = WalSegment.ending_at(position, timeline, segment_size)
    return Position(position, segment, position.value % segment_size, now)


def _timeline(wal_name: str | None, checkpoint_timeline: int | None) -> int | None:
    """A primary names its timeline in every segment; a standby's is that of its last restartpoint."""
    if wal_name is not None:
        return int(wal_name[:8], 16)
    return checkpoint_timeline


def _slot(name: str, active: bool, restart_lsn: str | None) -> ReplicationSlot:
    return ReplicationSlot(name, bool(active), Lsn.parse(restart_lsn) if restart_lsn else None)


def _archiver(row: Mapping[str, Any], archive_mode: str | None) -> ArchiverStats | None:
    if row["archived_count"] is None:
        return None
    reset, count = row["stats_reset"], int(row["archived_count"])
    elapsed = (row["now"] - reset).total_seconds() if reset is not None else 0.0
    return ArchiverStats(
        archived_count=count,
        last_archived_wal=row["last_archived_wal"],
        last_archived_time=row["last_archived_time"],
        failed_count=int(row["failed_count"]),
        last_failed_wal=row["last_failed_wal"],
        last_failed_time=row["last_failed_time"],
        stats_reset=reset,
        is_archiving=archive_mode in ("on", "always") and _last_attempt_worked(row),
        current_archived_wals_per_second=count / elapsed if elapsed > 0 else None,
    )


def _last_attempt_worked(row: Mapping[str, Any]) -> bool:
    """No failure since the last success. A failed history file that is not newer than what was archived is none."""
    failed, archived = row["last_failed_wal"], row["last_archived_wal"]
    if failed is None:
        return True
    if archived is not None and failed.endswith(".history") and failed[:8] <= archived[:8]:
        return True
    last_failed, last_archived = row["last_failed_time"], row["last_archived_time"]
    return last_archived is not None and (last_failed is None or last_failed <= last_archived)
