"""Options of base backups."""

from __future__ import annotations

from barman.config import option, values
from barman.config.option import GSM, Option, OptionSet
from barman.config.values import BackupOptions


class BackupOptionSet(OptionSet):
    """Base backups: method, speed, compression, encryption."""

    backup_method = option.choice(
        values.choice_kind("rsync", "postgres", "local-rsync", "snapshot", "local-to-cloud"),
        "rsync",
        "`rsync`: files copied over `ssh_command`; `local-rsync`: the same on the host of PostgreSQL, without ssh; "
        "`postgres`: `pg_basebackup`. `snapshot` and `local-to-cloud` are recognised, and not supported yet.",
    )
    backup_options = Option(
        values.words_kind(
            BackupOptions,
            "concurrent_backup",
            "exclusive_backup",
            "external_configuration",
            conflicts=("concurrent_backup", "exclusive_backup"),
        ),
        BackupOptions(),
        "`external_configuration` silences the warning about configuration files outside the data directory.",
        GSM,
    )
    reuse_backup = option.optional_choice(
        values.choice_kind("copy", "link", "off"),
        "rsync methods: take unchanged files from the previous backup, as copies or as hard links.",
    )
    bandwidth_limit: Option[int | None] = Option(
        values.late_integer_kind(None, 0, "KB/s"), None, "Transfer limit of a copy; 0 means none.", GSM
    )
    tablespace_bandwidth_limit: Option[dict[str, int] | None] = Option(
        values.TABLESPACE_LIMITS, None, "rsync methods: transfer limits of single tablespaces, in KB/s.", GSM
    )
    parallel_jobs = option.count(1, "Workers that copy, for backups and restores.", minimum=1)
    parallel_jobs_start_batch_size = option.count(10, "Workers started in one go.", minimum=1)
    parallel_jobs_start_batch_period = option.count(1, "Pause between two batches of workers.", unit="seconds")
    basebackup_retry_times = option.count(0, "How often a copy that failed is tried again.")
    basebackup_retry_sleep = option.count(30, "Pause before a copy is tried again.", unit="seconds")
    network_compression = option.boolean(False, "rsync methods: compress on the wire.")
    autogenerate_manifest = option.boolean(False, "rsync methods: write `backup_manifest` after the backup.")
    streaming_backup_name = Option(
        values.NAME, "barman_streaming_backup", "`application_name` of `pg_basebackup`.", GSM
    )
    backup_compression = option.optional_choice(
        values.choice_kind("gzip", "lz4", "zstd", "none"), "postgres method: compression of the backup."
    )
    backup_compression_format = option.optional_choice(
        values.choice_kind("plain", "tar"), "postgres method: format of a compressed backup; by default `tar`."
    )
    backup_compression_level = option.optional_count("postgres method: compression level.", minimum=None)
    backup_compression_location = option.optional_choice(
        values.choice_kind("client", "server"), "postgres method: who compresses; by default the client."
    )
    backup_compression_workers = option.optional_count(
        "postgres method: compression threads, with zstd alone.", minimum=None
    )
    encryption = option.optional_choice(
        values.choice_kind("none", "gpg", none="none"), "Encryption of tar backups and of archived WAL."
    )
    encryption_key_id = option.text("Recipient of the encryption: a GPG key.")
    encryption_passphrase_command = option.shell("Prints the passphrase for decryption.")
    worm_mode = option.boolean(False, "Immutable storage: never drop WAL from before the first backup.")


BackupOptionSet.encryption_passphrase_command.secret = True
