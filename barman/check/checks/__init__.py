"""The checks, one file a subject, and the order in which they are run and printed (operations reference, section 13).

Lines that the original does not have are printed only when they fail: `WAL queue`, `WAL index`, `backup catalog`.
"""

from __future__ import annotations

from barman.check.check import Check
from barman.check.checks import archiving, backups, methods, postgres, queues, storage, wal

ALL_CHECKS: tuple[Check, ...] = (
    wal.wal_archive,
    queues.empty_incoming,
    queues.empty_streaming,
    queues.incoming_queue,
    queues.streaming_queue,
    queues.stale_queue,
    postgres.postgresql,
    postgres.backup_privileges,
    postgres.postgresql_streaming,
    postgres.wal_level,
    postgres.is_standby,
    postgres.primary_is_primary,
    postgres.primary_is_related,
    postgres.wal_host_privileges,
    postgres.wal_host_streaming,
    postgres.wal_host_level,
    postgres.wal_host_coherence,
    postgres.replication_slot_of_wal_host,
    postgres.replication_slot,
    backups.directories,
    backups.retention_policy_settings,
    backups.backup_maximum_age,
    backups.backup_minimum_size,
    storage.encryption,
    storage.cloud_storage_configuration,
    wal.wal_maximum_age,
    wal.wal_size,
    wal.wal_index,
    storage.compression_settings,
    backups.failed_backups,
    backups.minimum_redundancy,
    backups.backup_catalog,
    methods.ssh,
    methods.ssh_output_clean,
    methods.backup_label,
    methods.local_pgdata,
    methods.pg_basebackup,
    methods.pg_basebackup_compatible,
    methods.pg_basebackup_tablespaces,
    methods.postgres_minimal_version,
    methods.not_in_recovery,
    methods.exclusive_backup_supported,
    backups.configuration,
    backups.systemid_coherence,
    archiving.pg_receivexlog,
    archiving.pg_receivexlog_compatible,
    archiving.receive_wal_running,
    archiving.archive_mode,
    archiving.archive_command,
    archiving.continuous_archiving,
    queues.archiver_errors,
)
