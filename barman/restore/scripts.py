"""The hook scripts around a restore."""

from __future__ import annotations

from barman.hooks.hooks import Hooks
from barman.restore.tablespaces import parse_rules
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.catalog.backup_id import BackupId
    from barman.catalog.view import CatalogView
    from barman.report import Reporter
    from barman.restore.request import RestoreRequest
    from barman.server.server import Server

POINT = "recovery"


class RecoveryScripts:
    """Runs them for one restore; `request` is what was asked for, before anything was dropped from it."""

    def __init__(self, server: Server, request: RestoreRequest, reporter: Reporter) -> None:
        self._layout = server.catalog.layout
        self._request = request
        self._hooks = Hooks(server, reporter)
        self._told: dict[str, str] = {}

    def before(self, view: CatalogView, backup_id: BackupId) -> bool:
        """Run those before anything is copied; tell whether there were any. Raises HookAborted."""
        if not self._hooks.present(POINT):
            return False
        from barman.hooks.environment import backup_variables, recovery_variables

        request = self._request
        relocated = parse_rules(request.tablespaces, view.backups[backup_id], [])
        self._told = {
            **backup_variables(self._layout, view, backup_id),
            **recovery_variables(request.destination, relocated, request.remote_ssh_command, recover_options(request)),
        }
        self._hooks.before(POINT, self._told)
        return True

    def after(self) -> None:
        """Run those after a restore that went well."""
        self._hooks.after(POINT, self._told)


def recover_options(request: RestoreRequest) -> dict[str, object]:
    """Return the arguments under the names that scripts know; what was not given is false, empty or None."""
    timeline = request.target_tli
    return {
        "copy_partial": bool(request.partial_wal),
        "custom_restore_command": request.restore_command,
        "exclusive": request.exclusive,
        "recovery_conf_filename": request.recovery_conf_filename,
        "recovery_option_port": request.barman_port,
        "standby_mode": request.standby_mode,
        "target_action": request.target_action,
        "target_immediate": request.target_immediate,
        "target_lsn": request.target_lsn,
        "target_name": request.target_name,
        "target_time": request.target_time,
        "target_tli": int(timeline) if timeline is not None and timeline.isdecimal() else timeline,
        "target_xid": request.target_xid,
    }
