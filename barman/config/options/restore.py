"""Options of restores."""

from __future__ import annotations

from barman.config import option, values
from barman.config.option import GSM, Option, OptionSet
from barman.config.values import RecoveryOptions


class RestoreOptions(OptionSet):
    """Restores."""

    recovery_options = Option(
        values.words_kind(RecoveryOptions, "get-wal", "delta-restore"),
        RecoveryOptions(),
        "`get-wal`: the restored server fetches WAL from Barman instead of getting copies; `delta-restore`: the "
        "destination may hold files, and those that differ are overwritten.",
        GSM,
    )
    staging_path = option.text(
        "Where backups are unpacked or combined before they are copied to the destination; by default `/tmp`.",
        GSM,
        values.ABSOLUTE_PATH,
    )
    staging_location = option.choice(
        values.choice_kind("local", "remote", exact=True), "local", "Host that `staging_path` is on."
    )
    combine_mode = option.choice(
        values.choice_kind("copy", "link", "clone", "copy-file-range"),
        "copy",
        "How `pg_combinebackup` takes over unchanged files.",
    )
    local_staging_path = option.text(
        "Where incremental and encrypted backups are prepared.", GSM, values.ABSOLUTE_PATH
    ).deprecate("staging_path")
    recovery_staging_path = option.text("Where compressed backups are unpacked.", GSM, values.ABSOLUTE_PATH).deprecate(
        "staging_path"
    )
