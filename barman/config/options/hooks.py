"""Options of hook scripts."""

from __future__ import annotations

from barman.config import option
from barman.config.option import GS, Option, OptionSet


def _script(what: str) -> Option[str | None]:
    return option.shell(f"Run {what}; a failure is logged.", GS)


def _retry_script(what: str) -> Option[str | None]:
    return option.shell(f"Run {what} until it succeeds (0), gives up (62) or, before, forbids to go on (63).", GS)


class HookOptions(OptionSet):
    """Hook scripts: shell commands that get their facts in `BARMAN_*` variables."""

    pre_backup_script = _script("before a backup")
    pre_backup_retry_script = _retry_script("before a backup")
    post_backup_script = _script("after a backup")
    post_backup_retry_script = _retry_script("after a backup")
    pre_archive_script = _script("before a WAL file is archived")
    pre_archive_retry_script = _retry_script("before a WAL file is archived")
    post_archive_script = _script("after a WAL file was archived")
    post_archive_retry_script = _retry_script("after a WAL file was archived")
    pre_delete_script = _script("before a backup is deleted")
    pre_delete_retry_script = _retry_script("before a backup is deleted")
    post_delete_script = _script("after a backup was deleted")
    post_delete_retry_script = _retry_script("after a backup was deleted")
    pre_wal_delete_script = _script("before a WAL file is deleted")
    pre_wal_delete_retry_script = _retry_script("before a WAL file is deleted")
    post_wal_delete_script = _script("after a WAL file was deleted")
    post_wal_delete_retry_script = _retry_script("after a WAL file was deleted")
    pre_recovery_script = _script("before a restore")
    pre_recovery_retry_script = _retry_script("before a restore")
    post_recovery_script = _script("after a restore")
    post_recovery_retry_script = _retry_script("after a restore")
    hook_script_timeout = option.count(
        86400,
        "Time limit of a script around a backup, a deletion or a restore, and of all attempts of a retry script before "
        "it; 0 means none.",
        unit="seconds",
    )
    wal_hook_script_timeout = option.count(
        3600, "The same for scripts around a single WAL file; 0 means none.", unit="seconds"
    )
