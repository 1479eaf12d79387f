"""What a restored server must be told to recover: which commands, which timeline. Pure."""

from __future__ import annotations

import shlex

from barman.postgres.recovery_settings import RecoverySettings
from barman.restore.layouts import Layouts, is_recovery_steered
from barman.restore.timelines import written_timeline
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.catalog.backup_info import BackupInfo
    from barman.postgres.timeline import TimelineHistory
    from barman.restore.request import RestoreRequest
    from barman.restore.target import RecoveryTarget
    from barman.restore.wals import WalArchive

_PATIENCE_SECONDS = 30
"""How long a recovery waits for an archive that cannot be used before it stops."""


def recovery_settings(
    request: RestoreRequest,
    info: BackupInfo,
    target: RecoveryTarget,
    history: TimelineHistory,
    archive: WalArchive,
    layouts: Layouts,
) -> RecoverySettings:
    """Return what PostgreSQL must be told.

    A restore without a target is an archive recovery too, so that it ends on a timeline of its own: on the old one it
    would write segments under names that are archived already.
    """
    assert info.pg_version is not None
    command, comment, end_command = _commands(request, target, layouts, info.server_name)
    timeline = written_timeline(
        history,
        target,
        archive,
        info.pg_version,
        info.timeline or history.timeline,
        follows=request.standby_mode or request.get_wal,
    )
    return RecoverySettings(
        restore_command=command,
        comment=comment,
        recovery_end_command=end_command,
        target=target.kind,
        target_value=target.value,
        inclusive=not target.exclusive,
        timeline=timeline,
        action=target.action,
        standby=request.standby_mode,
    )


def _commands(
    request: RestoreRequest, target: RecoveryTarget, layouts: Layouts, server_name: str
) -> tuple[str, str, str]:
    if request.get_wal:
        if request.restore_command is not None:
            return request.restore_command, "", ""
        if request.remote_ssh_command is not None:
            comment = "The 'barman-wal-restore' command is provided in the 'barman-cli' package"
            return wal_restore_command(request, server_name), comment, ""
        comment = f"The 'barman get-wal' command must run as '{request.barman_user}' user"
        return get_wal_command(request, server_name), comment, ""
    if is_recovery_steered(request, target):
        directory = _for_shell(layouts.wal_directory)
        return f"cp {directory}/%f %p", "", f"rm -fr {directory}"
    if request.standby_mode:
        return "", "", ""
    return "false", "All WAL files of this recovery are in the WAL directory already", ""


def get_wal_command(request: RestoreRequest, server_name: str) -> str:
    """Return the restore_command of a server on this host; it names the configuration file if that is no default.

    PostgreSQL takes every status below 126 for the end of the WAL and would promote. The one code that get-wal has for
    it becomes 1; anything else, be it a damaged segment, a configuration that cannot be read or a full disk, ends the
    recovery attempt instead. A standby just asks again.
    """
    words = ["barman"]
    if request.config_file is not None:
        words += ["-c", _for_shell(request.config_file)]
    words.append("get-wal")
    if not request.standby_mode:
        words += ["--recovery", str(_PATIENCE_SECONDS)]
        if request.partial_wal is not False:
            words.append("-P")
    words += [_for_shell(server_name), "%f", ">", "%p"]
    if not request.standby_mode:
        words.append("|| exit $(($? == 99 ? 1 : 126))")
    return " ".join(words)


def wal_restore_command(request: RestoreRequest, server_name: str) -> str:
    """Return the restore_command of a server on another host, which reaches this one over ssh.

    The program tells an archive that has no such file from one that cannot be used, and waits for the latter. A standby
    gets no unfinished segments: it would take them for whole ones and not ask again.
    """
    words = ["barman-wal-restore"]
    if not request.standby_mode and request.partial_wal is not False:
        words.append("-P")
    words += ["-U", _for_shell(request.barman_user)]
    if request.barman_port is not None:
        words += ["--port", str(request.barman_port)]
    if request.config_file is not None:
        words += ["-c", _for_shell(request.config_file)]
    words += [_for_shell(request.barman_host), _for_shell(server_name), "%f", "%p"]
    if request.jobs > 1:
        words += ["-p", str(request.jobs)]
    return " ".join(words)


def _for_shell(value: str) -> str:
    """Quote a word for the shell that PostgreSQL starts; `%` is PostgreSQL's own escape in these settings."""
    return shlex.quote(value).replace("%", "%%")
