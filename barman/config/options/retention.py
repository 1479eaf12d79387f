"""Options of checks and retention."""

from __future__ import annotations

from barman.config import option, values
from barman.config.option import GSM, Option, OptionSet


class RetentionOptions(OptionSet):
    """Checks and retention."""

    check_timeout = option.count(30, "Time limit of `check` of one server; 0 means none.", unit="seconds")
    last_backup_maximum_age = option.interval("`check` fails when the last backup is older.")
    last_backup_minimum_size = option.optional_size("`check` fails when the last backup is smaller.")
    last_wal_maximum_age = option.interval("`check` fails when the last archived WAL file is older.")
    minimum_redundancy = Option(
        values.late_integer_kind(0, 0),
        0,
        "Backups that neither `delete` nor retention may go below; incremental backups do not count.",
        GSM,
    )
    retention_policy: Option[str | None] = Option(
        values.RETENTION, None, "Which backups `cron` keeps; without it nothing is deleted.", GSM
    )
    retention_tiers: Option[str | None] = Option(
        values.TIERS,
        None,
        "Backups that stay as an archive when `retention_policy` needs them no more: the last one of each of the "
        "newest days, weeks, months or years that have one, with its own WAL.",
        GSM,
    )
    retention_policy_mode = Option(values.fixed_kind("auto"), "auto", "`auto` is the only value.", GSM)
    wal_retention_policy = Option(values.fixed_kind("main"), "main", "`main` is the only value.", GSM)
