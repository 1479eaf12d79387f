"""The PostgreSQL server: connections, privileges, settings, the replication slot, the primary of a standby."""

from __future__ import annotations

import os

from barman import clock
from barman.check.check import Check, Outcome, check, failed, on_active_nodes, passed
from barman.errors import PostgresError
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.check.context import CheckContext
    from barman.config.server_config import ServerConfig
    from barman.postgres.facts import ReplicationSlot, ServerFacts

JUST_STARTED_SECONDS = 30.0
"""A receiver this young may not have connected yet."""
CRON_RECENTLY = 10.0
"""A receiver that cron started this many seconds ago may not hold its lock yet."""
PATIENCE_SECONDS = 3.0
"""How long a check waits for something that is just starting."""

_WAL = " (WAL streaming)"
_BACKUP_HINT = "privileges for PostgreSQL backup functions are required (see documentation)"
_MONITORING_HINT = "privileges for PostgreSQL monitoring functions are required (see documentation)"
_WAL_LEVEL_HINT = "please set it to a higher level than 'minimal'"
_COHERENCE_HINT = "is the streaming DSN targeting the same server of the PostgreSQL connection string?"


def _streams(config: ServerConfig) -> bool:
    return on_active_nodes(config) and (config.backup_method == "postgres" or config.streaming_archiver)


def _has_primary(config: ServerConfig) -> bool:
    return on_active_nodes(config) and bool(config.primary_conninfo)


def _has_wal_host(config: ServerConfig) -> bool:
    return on_active_nodes(config) and bool(config.wal_streaming_conninfo or config.wal_conninfo)


@check("PostgreSQL", applies=on_active_nodes)
def postgresql(context: CheckContext) -> Outcome:
    """The server answers, and is not too old."""
    from barman.postgres.facts import OLDEST_SUPPORTED

    facts = context.facts
    if facts is None:
        return failed(context.facts_error)
    if facts.version < OLDEST_SUPPORTED:
        return failed(
            f"unsupported version: PostgreSQL server is too old ({facts.version.text} < {OLDEST_SUPPORTED.text})"
        )
    return passed()


@check("superuser or standard user with backup privileges", applies=on_active_nodes)
def backup_privileges(context: CheckContext) -> Outcome | None:
    """The role may run the functions of a backup."""
    if context.facts is None or context.facts.privileges.backup is None:
        return None
    if context.facts.privileges.backup:
        return passed()
    return failed(_BACKUP_HINT, name="no access to backup functions")


def _streaming(facts: ServerFacts | None) -> Outcome | None:
    if facts is None or facts.streaming is None:
        return None
    return passed() if facts.streaming.identity else failed(facts.streaming.error or "")


def _wal_level(facts: ServerFacts | None) -> Outcome | None:
    level = facts.settings.get("wal_level") if facts else None
    if level is None:
        return None
    return failed(_WAL_LEVEL_HINT) if level == "minimal" else passed()


@check("PostgreSQL streaming", applies=_streams)
def postgresql_streaming(context: CheckContext) -> Outcome | None:
    """The server answers on a replication connection."""
    return _streaming(context.facts)


@check("wal_level", applies=on_active_nodes)
def wal_level(context: CheckContext) -> Outcome | None:
    """WAL holds what a restore needs."""
    return _wal_level(context.facts)


@check("PostgreSQL server is standby", applies=_has_primary, blocking=False)
def is_standby(context: CheckContext) -> Outcome | None:
    """With a primary configured, backups come from a standby."""
    if context.facts is None:
        return None
    hint = "" if context.facts.in_recovery else "conninfo should point to a standby server if primary_conninfo is set"
    return Outcome(context.facts.in_recovery, hint)


@check("Primary server is not a standby", applies=_has_primary)
def primary_is_primary(context: CheckContext) -> Outcome | None:
    """The configured primary can switch WAL.

    One that is down does not keep its standby from being backed up: its WAL may come another way.
    """
    if context.facts is None or not context.facts.in_recovery:
        return None
    if context.primary_facts is None:
        return failed(context.primary_facts_error, blocking=False)
    if context.primary_facts.in_recovery:
        where = context.server.primary.target
        return failed(f"primary_conninfo should point to a primary server, not a standby; it leads to {where}")
    return passed()


@check("Primary and standby have same system ID", applies=_has_primary)
def primary_is_related(context: CheckContext) -> Outcome | None:
    """Primary and standby are one cluster."""
    if context.facts is None or not context.facts.in_recovery or context.primary_facts is None:
        return None
    if context.primary_facts.system_id != context.facts.system_id:
        return failed(
            "primary_conninfo and conninfo should point to primary and standby servers "
            "which share the same system identifier; that of the primary is "
            f"{context.primary_facts.system_id}, that of the standby {context.facts.system_id}"
        )
    return passed()


@check(f"has monitoring privileges{_WAL}", applies=_has_wal_host)
def wal_host_privileges(context: CheckContext) -> Outcome | None:
    """The role may look at slots and settings of the host that streams WAL."""
    if context.facts is None:
        return None
    if context.wal_facts is None:
        return failed(context.wal_facts_error)
    if context.wal_facts.privileges.monitoring:
        return passed()
    return failed(_MONITORING_HINT, name="no access to monitoring functions")


@check(f"PostgreSQL streaming{_WAL}", applies=_has_wal_host)
def wal_host_streaming(context: CheckContext) -> Outcome | None:
    """The host that streams WAL answers on a replication connection."""
    return _streaming(context.wal_facts) if context.facts else None


@check(f"wal_level{_WAL}", applies=_has_wal_host)
def wal_host_level(context: CheckContext) -> Outcome | None:
    """WAL of that host holds what a restore needs."""
    return _wal_level(context.wal_facts) if context.facts else None


@check(f"systemid coherence{_WAL}", applies=_has_wal_host)
def wal_host_coherence(context: CheckContext) -> Outcome | None:
    """WAL comes from the cluster that is backed up."""
    facts, wal_facts = context.facts, context.wal_facts
    if facts is None or wal_facts is None or wal_facts.streaming is None or wal_facts.streaming.identity is None:
        return None
    same = wal_facts.streaming.identity.systemid == facts.system_id or facts.system_id is None
    return passed() if same else failed(_COHERENCE_HINT)


def _slot_check(name: str, *, wal_host: bool) -> Check:
    def applies(config: ServerConfig) -> bool:
        return on_active_nodes(config) and bool(config.slot_name) and _has_wal_host(config) == wal_host

    return check(name, applies=applies)(_judge_slot)


def _judge_slot(context: CheckContext) -> Outcome | None:
    """The slot keeps WAL for the receiver, which uses it."""
    name = context.config.slot_name
    if context.wal_facts is None:
        # Not "missing": nobody could look.
        return failed("cannot connect to PostgreSQL") if context.config.streaming_archiver else None
    slot = context.wal_facts.slot
    if not context.config.streaming_archiver:
        return _unused_slot(slot)
    if slot is None:
        return _missing_slot(context)
    if slot.restart_lsn is None or not slot.active:
        slot = _wait_for_receiver(context, slot)
    if slot.restart_lsn is None:
        return failed(f"slot '{name}' not initialised: is 'receive-wal' running?")
    if not slot.active:
        return failed(f"slot '{name}' not active: is 'receive-wal' running?")
    return passed()


def _unused_slot(slot: ReplicationSlot | None) -> Outcome | None:
    if slot is None or not (slot.active or slot.restart_lsn):
        return None
    state = "active" if slot.active else "initialised"
    return passed(f"WARNING: slot '{slot.slot_name}' is {state} but not required by the current config")


def _missing_slot(context: CheckContext) -> Outcome:
    name = context.config.slot_name
    if context.config.create_slot == "auto" and not context.catalog.locks.is_held("receive-wal"):
        return passed(f"slot '{name}' will be created when 'receive-wal' starts")
    return failed(
        f"replication slot '{name}' doesn't exist. "
        f"Please execute 'barman receive-wal --create-slot {context.config.name}'"
    )


def _wait_for_receiver(context: CheckContext, slot: ReplicationSlot) -> ReplicationSlot:
    """Look again for a moment if the receiver has just started: cron and check often come one after the other."""
    from barman.postgres.facts import fetch_slot

    patience = clock.Deadline(PATIENCE_SECONDS)
    while not (slot.active and slot.restart_lsn) and just_started(context) and not patience.expired:
        clock.sleep(0.1)
        try:
            slot = fetch_slot(context.server.wal_postgres, slot.slot_name) or slot
        except PostgresError:
            break
    return slot


def just_started(context: CheckContext) -> bool:
    """Whether a receiver runs, and has not for long, or cron is about to have started one."""
    if not context.catalog.locks.is_held("receive-wal"):
        age = seconds_since_change(context.catalog.layout.lock("cron"))
        return age is not None and age < CRON_RECENTLY
    age = seconds_since_change(context.catalog.layout.lock("receive-wal"))
    return age is not None and age < JUST_STARTED_SECONDS


def seconds_since_change(path: str) -> float | None:
    """Seconds since a file was written; None if there is none."""
    try:
        return clock.timestamp() - os.stat(path).st_mtime
    except OSError:
        return None


replication_slot_of_wal_host = _slot_check(f"replication slot{_WAL}", wal_host=True)
replication_slot = _slot_check("replication slot", wal_host=False)
