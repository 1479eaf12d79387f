"""What hook scripts are told: their `BARMAN_*` variables, named and written as the original does. Pure."""

from __future__ import annotations

import json

from barman import __version__
from barman.logs import redact
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.catalog.backup_id import BackupId
    from barman.catalog.layout import Layout
    from barman.catalog.view import CatalogView
    from barman.config.server_config import ServerConfig
    from barman.hooks.points import Script

Variables = dict[str, str]

_COMMON = ("VERSION", "SERVER", "CONFIGURATION", "HOOK", "PHASE", "RETRY", "ERROR")
_BACKUP = ("BACKUP_DIR", "BACKUP_INFO_PATH", "BACKUP_ID", "PREVIOUS_ID", "NEXT_ID", "STATUS")
_WAL = ("SEGMENT", "FILE", "SIZE", "TIMESTAMP", "COMPRESSION")
_RECOVERY = ("DESTINATION_DIRECTORY", "TABLESPACES", "REMOTE_COMMAND", "RECOVER_OPTIONS")
NAMES = frozenset(f"BARMAN_{name}" for name in (*_COMMON, *_BACKUP, *_WAL, *_RECOVERY))
"""Every variable that some script gets. A script sees those of its own point, and none that this process inherited."""

_LONGEST_ERROR = 16384  # one variable of more than 128 KiB, and the system starts no program


def environment_of(
    script: Script, config: ServerConfig, variables: Mapping[str, str], inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment of one script: what is inherited, with the variables in place of older ones."""
    told = {
        "BARMAN_VERSION": __version__,
        "BARMAN_SERVER": config.name,
        "BARMAN_CONFIGURATION": config.main_file or "",
        "BARMAN_HOOK": script.hook,
        "BARMAN_PHASE": script.phase,
        "BARMAN_RETRY": "1" if script.is_retry else "0",
        "BARMAN_ERROR": "",
        **variables,
    }
    told["BARMAN_ERROR"] = redact(told["BARMAN_ERROR"])[:_LONGEST_ERROR]
    kept = {name: value for name, value in inherited.items() if name not in NAMES}
    return {**kept, **{name: value.replace("\0", "") for name, value in told.items()}}


def backup_variables(layout: Layout, view: CatalogView, backup_id: BackupId) -> Variables:
    """Return what scripts around a backup, its deletion and its restore are told of it, as it is in `view`.

    A backup whose record cannot be read has an empty status.
    """
    info = view.backups.get(backup_id)
    previous, following = view.previous(backup_id), view.next(backup_id)
    return {
        "BARMAN_BACKUP_DIR": layout.backup_directory_of(backup_id),
        "BARMAN_BACKUP_INFO_PATH": layout.backup_info(backup_id),
        "BARMAN_BACKUP_ID": backup_id,
        "BARMAN_PREVIOUS_ID": "" if previous is None else previous.backup_id,
        "BARMAN_NEXT_ID": "" if following is None else following.backup_id,
        "BARMAN_STATUS": "" if info is None else info.status,
        "BARMAN_ERROR": "" if info is None else info.error or "",
    }


def wal_variables(name: str, path: str, size: int, time: float, compression: str | None, error: str = "") -> Variables:
    """Return what scripts around one WAL file are told: `path`, `size` and `compression` as they are at that moment."""
    return {
        "BARMAN_SEGMENT": name,
        "BARMAN_FILE": path,
        "BARMAN_SIZE": str(size),
        "BARMAN_TIMESTAMP": str(time),
        "BARMAN_COMPRESSION": compression or "",
        "BARMAN_ERROR": error,
    }


def recovery_variables(
    destination: str, tablespaces: Mapping[str, str], remote_command: str | None, options: Mapping[str, object]
) -> Variables:
    """Return what scripts around a restore are told beside the backup.

    `tablespaces` are the relocations that were asked for, `options` the arguments as given; those not set are left out.
    """
    given = {name: value for name, value in options.items() if value}
    return {
        "BARMAN_DESTINATION_DIRECTORY": destination,
        "BARMAN_TABLESPACES": json.dumps(dict(tablespaces), sort_keys=True) if tablespaces else "",
        "BARMAN_REMOTE_COMMAND": remote_command or "",
        "BARMAN_RECOVER_OPTIONS": json.dumps(given, sort_keys=True) if given else "",
        "BARMAN_ERROR": "",
    }
