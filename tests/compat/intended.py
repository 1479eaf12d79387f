"""The differences between the original and this program that are meant: each has a row in the documentation.

A row of the table "Every difference" in docs/explanation/compatibility.md has the name given here, with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One difference: the name of its row, and a pattern of the places where it shows."""

    name: str
    where: str
    live: bool = False
    """It shows where a PostgreSQL answers, not on a catalog alone."""

    def covers(self, found: str) -> bool:
        """Tell whether something found is this difference."""
        return re.search(self.where, found) is not None


_LIVE = (
    "archive_timeout|checkpoint_timeout|config_file|current_lsn|current_size|data_checksums|hba_file|hot_standby"
    "|has_backup_privileges|has_monitoring_privileges|ident_file|included_files|max_replication_slots"
    "|max_wal_senders|wal_compression|wal_keep_size|wal_level|xlog_segment_size"
    "|connection_error|current_xlog|data_directory|is_in_recovery|is_superuser|postgres_systemid|replication_slot"
    "|replication_slot_support|server_txt_version|streaming|streaming_supported|streaming_systemid|xlogpos"
    "|synchronous_standby_names|timeline|version_supported"
)
_FREE = r"/_(INFO|WARNING|ERROR|EXCEPTION)/\d+"
_PROGRAM = "barman_ver|python_executable|python_ver|timestamp|kernel_ver|ssh_ver"

INTENDED = (
    Difference(
        "old keys", r"^show-backups? .*\| json \| \+ /[^/]+/base_backup_information/(disk_usage|incremental_size)\w* ="
    ),
    Difference("recovery window", r"^status .*\| (console \| \+ \tRecovery window: |json \| \+ /\w+/recovery_window/)"),
    Difference("recovery window", r"^show-backups? .*\| console \| \+     (Recoverable until|Missing WAL) +: "),
    Difference("recovery window", r"^show-backups? .*\| json \| \+ /\w+/wal_information/recovery/"),
    Difference("options of 3.20", r"\| \+ .*/aws_sse_customer_key[ /]"),
    Difference("servers of 3.20", r"^(list-processes|check-wal-archive) (main|empty|unfinished|legacy|broken) \| "),
    Difference("own options", r"\| \+ .*/((wal_)?hook_script_timeout|retention_tiers)[ /]"),
    Difference("live facts", rf"^(show-servers|diagnose).* \| \+ .*/({_LIVE}) = "),
    Difference("connection errors", r"^(show-servers|diagnose).* \| ~ .*/connection_error = "),
    Difference("passwords", r"^(show-servers?|diagnose).* ~ /[^/]+(/.*)?/conninfo(/value)? = .*\*REDACTED\*"),
    Difference("passwords", r"^show-servers? .* \| console \| \+ .*/create_slot = "),  # its line ends the one before
    Difference("hints", r"\| json \| \+ /_HINT"),
    Difference("wording", rf"\| json \| ~ {_FREE} = "),
    Difference("wording", r"^show-backup.* \| json \| ~ .*/wal_information/_WARNING = "),
    Difference("unreadable records", r"^\S+( --nagios)? torn .*\| (\+ |~ exit [12] 0$|- (stderr |/_)EXCEPTION)"),
    Difference("unreadable records", r"^(list-backups|check) .*torn .*\| - (/torn = \[\]|BARMAN CRITICAL - Global.*)$"),
    Difference("disabled servers", r"^status broken \| \w+ \| (~ exit 1 0$|- (stderr |/_)EXCEPTION|\+ )"),
    Difference(
        "disabled servers", r"^check broken \| json \| ~ /broken/pg_basebackup_compatible/hint = .*: (Unknown|None),"
    ),
    Difference("passive nodes", r"^status .*\| console \| \+ \t(Last answer|WAL|Backups) of the primary: "),
    Difference("passive nodes", r"^status .*\| json \| \+ /\w+/sync_(last_answer|wals|backups)/"),
    Difference("passive nodes", r"^diagnose.* \| \+ /servers/\w+/sync/"),
    Difference("wal for a passive node", r"^put-wal -t passive "),
    Difference("switch of a passive node", r"^switch-wal passive \| (console \| [-+] stderr|json \| [-+] /_(ERR|EXC))"),
    Difference("deprecations", r"^receive-wal .*--stop.* \| (console \| \+ stderr WARNING|json \| \+ /_WARNING)"),
    Difference("reasons on standard error", r"^check --nagios .*nosuch \| nagios \| \+ stderr ERROR"),
    Difference("wal archive", r"^check .* \| console \| [-+] \tWAL archive: "),
    Difference("wal archive", r"^check .* \| json \| [-+~] /\w+/wal_archive/"),
    Difference("wal archive", r"^check .* \| nagios \| - \w+\.WAL archive: "),
    Difference("wal archive", r"^check --nagios (empty|legacy) \| nagios \| [-+] BARMAN OK"),
    Difference("backup catalog", r"^check .* \| console \| \+ \tbackup catalog: "),
    Difference("backup catalog", r"^check .* \| json \| \+ /\w+/backup_catalog/"),
    Difference("backup catalog", r"^check .* \| nagios \| \+ \w+\.backup catalog: "),
    Difference("check hints", r"^check .* \| json \| ~ /\w+/(postgresql|replication_slot|receive_wal_running)/hint = "),
    Difference(
        "program facts", r"^diagnose.*/(barman_ver|python_executable|python_ver|timestamp|kernel_ver|ssh_ver) = "
    ),
    Difference("analysis time", r"^show-backups? .* \| json \| \+ .*/analysis_time(_seconds)? = ", live=True),
    Difference("resources saved", r"^show-backups? .* \| console \| [-+]     Resources saved  ", live=True),
    Difference("resources saved", r"^show-backups? .* \| json \| ~ .*/resources_saved(_bytes)? = ", live=True),
    Difference("whole numbers", r"^diagnose.* \| ~ .*/current_size = \d+\.0 / \d+$", live=True),
    Difference("all reasons", r"^delete kept \w+ \| (console \| \+ stderr WARNING|json \| \+ /_WARNING/1 = )"),
    Difference("judged first", r"^restore kept .* \| (console \| - |json \| - /_INFO/\d = ')(Starting|Destination)"),
    Difference("all with names", r"^list-backups all main \| \w+ \| - "),
    Difference("labels and histories", r"^list-files .* --target (wal|full) .*\| \+ /.*/wals/.*\.(backup|history)$"),
)


def is_intended(found: str) -> bool:
    """Tell whether something found is one of the intended differences."""
    return any(known.covers(found) for known in INTENDED)
