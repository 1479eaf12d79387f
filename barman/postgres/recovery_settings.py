"""What PostgreSQL must be told to recover to a target: settings, signal file, and where they go, by version.

Sources: PostgreSQL manual, "Archive Recovery", "Recovery Target"; release notes of 12 (recovery.conf went away).
Pure: nothing here opens a file.
"""

from __future__ import annotations

from barman.postgres.conf_file import quote
from barman.postgres.version import PgVersion
from barman.values import dataclass

RECOVERY_SIGNAL = "recovery.signal"
STANDBY_SIGNAL = "standby.signal"
_TARGETS = {"time": "recovery_target_time", "xid": "recovery_target_xid", "lsn": "recovery_target_lsn"}


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """The settings of one recovery.

    `target` is the kind: time, xid, lsn, name, immediate, or "" for the end of the WAL; `target_value` its text.
    `timeline` is a number, `latest`, `current` or "" for the server's default.
    """

    restore_command: str = ""
    comment: str = ""
    recovery_end_command: str = ""
    target: str = ""
    target_value: str = ""
    inclusive: bool = True
    timeline: str = ""
    action: str = ""
    standby: bool = False

    def lines(self, version: PgVersion) -> tuple[str, ...]:
        """Return the lines for the settings file of that version."""
        lines = []
        if self.comment:
            lines.append(f"# {self.comment}")
        if self.restore_command:
            lines.append(f"restore_command = {quote(self.restore_command)}")
        if self.recovery_end_command:
            lines.append(f"recovery_end_command = {quote(self.recovery_end_command)}")
        lines += self._target_lines()
        if self.timeline:
            lines.append(f"recovery_target_timeline = {self.timeline}")
        if self.action:
            lines.append(_action(self.action, version))
        if self.standby and version.has_recovery_conf:
            lines.append("standby_mode = 'on'")
        return tuple(lines)

    def _target_lines(self) -> list[str]:
        if self.target == "immediate":
            return ["recovery_target = 'immediate'"]
        if self.target == "name":
            return [f"recovery_target_name = {quote(self.target_value)}"]
        if self.target not in _TARGETS:
            return []
        lines = [f"{_TARGETS[self.target]} = {quote(self.target_value)}"]
        if not self.inclusive:
            lines.append("recovery_target_inclusive = 'False'")
        return lines

    def signal_file(self, version: PgVersion) -> str | None:
        """Return the name of the signal file; None before version 12, where recovery.conf is the signal."""
        if version.has_recovery_conf:
            return None
        return STANDBY_SIGNAL if self.standby else RECOVERY_SIGNAL


def _action(action: str, version: PgVersion) -> str:
    if version.number < 90500:
        return "pause_at_recovery_target = 'on'"
    return f"recovery_target_action = '{action}'"


def settings_file(version: PgVersion) -> str:
    """Return the name of the file that recovery settings go to."""
    return "recovery.conf" if version.has_recovery_conf else "postgresql.auto.conf"
