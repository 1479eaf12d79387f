"""`diagnose`: everything that helps to understand a problem from afar, in one document."""

from __future__ import annotations

import os
import platform
import sys
from datetime import datetime

import barman
from barman import clock
from barman.errors import BarmanError, ConfigError, DeadlineExceeded, Unreachable
from barman.postgres.facts import ReplicationSlot
from barman.postgres.lsn import Lsn
from barman.process import run
from barman.status.remote import read_remote_status, wal_retention_policy
from barman.typing import TYPE_CHECKING, Any
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from barman.catalog.backup_info import BackupInfo
    from barman.config.loader import Settings
    from barman.config.server_config import BarmanConfig, ModelConfig, ServerConfig
    from barman.server.server import Server
    from barman.transport.runner import CommandRunner

PROGRAM_SECONDS = 10.0
"""How long a program that only tells its version may take; also the limit for a remote host."""

_INTERNAL = frozenset(("extra", "comments", "source"))
_REMOTE_INFO = (
    ("kernel_ver", "uname -a"),
    ("python_ver", "python3 --version"),
    ("release", "lsb_release -a"),
    ("rsync_ver", "rsync --version"),
    ("ssh_ver", "ssh -V"),
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The document."""

    document: Mapping[str, Any]


def diagnose(settings: Settings, *, show_source: bool = False) -> Diagnosis:
    """Look at the configuration, this host, and every server. What is broken is what we look for: it stops nothing."""
    general = _config(settings.barman, settings.barman.items(), show_source=show_source)
    general["errors_list"] = list(settings.global_errors)
    models = {
        name: {"config": _config(model, model.json_items(), show_source=show_source)}
        for name, model in settings.models.items()
    }
    servers = {name: _server(config, show_source=show_source) for name, config in sorted(settings.servers.items())}
    return Diagnosis({"global": {"config": general, "system_info": _this_host()}, "models": models, "servers": servers})


def _config(
    config: BarmanConfig | ServerConfig | ModelConfig, items: Iterable[tuple[str, object]], *, show_source: bool
) -> dict[str, Any]:
    if not show_source:
        return dict(items)
    return {name: {"source": config.source(name), "value": value} for name, value in items}


def _server(config: ServerConfig, *, show_source: bool) -> dict[str, Any]:
    from barman.server.server import Server

    items: dict[str, object] = dict(config.json_items())
    items["wal_retention_policy"] = wal_retention_policy(config)
    found: dict[str, Any] = {
        "active_model": config.active_model,
        "config": _config(config, items.items(), show_source=show_source),
        "msg_list": [str(message) for message in config.msg_list],
    }
    with Server(config) as server:
        found["status"] = {key: _plain(value) for key, value in read_remote_status(server).items()}
        found["backups"], problems = _backups(server)
        found["wals"] = {"last_archived_wal_per_timeline": _newest_wals(server)}
        if config.passive_node:
            found["sync"] = _sync(server)
        elif config.ssh_command:
            found["system_info"] = _remote_host(server)
    if problems:
        found["unreadable_backups"] = problems
    return found


def _sync(server: Server) -> dict[str, Any]:
    """A passive node: how far it has followed its primary, and where its next question begins."""
    from barman.sync.standing import read_standing
    from barman.sync.state import read_position

    try:
        view = server.catalog.snapshot()
        standing = read_standing(server.config, server.catalog, view)
    except (BarmanError, OSError) as error:
        return {"problem": str(error)}
    position = read_position(server.catalog.layout)
    found: dict[str, Any] = {name: _plain(getattr(standing, name)) for name in standing.__match_args__}
    found["position"] = [position.name, position.position] if position else None
    return found


def _backups(server: Server) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        view = server.catalog.snapshot()
    except BarmanError as error:
        return {}, {"catalog": error.message}
    return (
        {backup_id: describe_backup(info) for backup_id, info in view.backups.items()},
        {backup_id: error.message for backup_id, error in view.corrupt.items()},
    )


def describe_backup(info: BackupInfo) -> dict[str, Any]:
    """The fields of a record by their names on disk; times are local, in ISO form; fields hidden there are left out."""
    fields: dict[str, Any] = {
        name: _plain(getattr(info, name)) for name in info.__match_args__ if name not in _INTERNAL
    }
    for hidden in ("backup_name", "snapshots_info"):
        if fields[hidden] is None:
            del fields[hidden]
    for listed in ("tablespaces", "included_files"):
        fields[listed] = fields[listed] or None
    if info.backup_label is not None:
        fields["backup_label"] = repr(info.backup_label)  # as it is written on disk, and always was shown
    fields["children_backup_ids"] = ",".join(info.children_backup_ids) or None
    if fields["tablespaces"]:
        fields["tablespaces"] = [[item.name, item.oid, item.location] for item in info.tablespaces]
    return fields


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone().isoformat()
    if isinstance(value, Lsn):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, ReplicationSlot):
        return [value.slot_name, value.active, _plain(value.restart_lsn)]
    if hasattr(value, "items"):
        return dict(value.items())
    return value


def _newest_wals(server: Server) -> dict[str, Any]:
    """The newest segment of each timeline, as the index knows it; nothing where there is no archive yet."""
    if not os.path.isdir(server.config.wals_directory):
        return {}
    found = {}
    try:
        with server.catalog.index() as index:
            for timeline in index.timelines():
                newest = index.last(timeline)
                if newest is not None:
                    found[f"{timeline:08X}"] = {
                        "name": newest.name,
                        "size": newest.size,
                        "time": newest.time,
                        "compression": newest.compression,
                        "encryption": newest.encryption,
                    }
    except (BarmanError, OSError):
        return found
    return found


def _this_host() -> dict[str, Any]:
    return system_info()


def system_info() -> dict[str, Any]:
    """What this host and its programs are."""
    return {
        "barman_ver": barman.__version__,
        "kernel_ver": _answer(["uname", "-a"]),
        "python_executable": sys.executable,
        "python_ver": f"Python {platform.python_version()}",
        "release": _release(),
        "rsync_ver": _answer(["rsync", "--version"]).partition("\n")[0],
        "ssh_ver": _answer(["ssh", "-V"]),
        "timestamp": clock.now().isoformat(),
    }


def _release() -> str:
    text = _answer(["lsb_release", "-a"])
    if text:
        return text
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return f"Distributor ID:\t{release.get('ID', '')}\nDescription:\t{release.get('PRETTY_NAME', '')}"


def _remote_host(server: Server) -> dict[str, Any]:
    """What the host of PostgreSQL says of itself; empty texts where it does not answer."""
    found = dict.fromkeys((key for key, _ in _REMOTE_INFO), "")
    deadline = clock.Deadline(PROGRAM_SECONDS)
    try:
        for key, command in _REMOTE_INFO:
            found[key] = _answer(command.split(), server.host.runner, deadline)
    except (Unreachable, DeadlineExceeded, ConfigError):
        pass
    found["rsync_ver"] = found["rsync_ver"].partition("\n")[0]
    return found


def _answer(argv: list[str], runner: CommandRunner | None = None, deadline: clock.Deadline | None = None) -> str:
    """What a program prints on either stream; empty if it fails. A host that does not answer raises."""
    try:
        if runner is not None:
            done = runner.run(argv, deadline=deadline)
        else:
            done = run(argv, deadline=clock.Deadline(PROGRAM_SECONDS))
    except BarmanError as error:
        if runner is not None and isinstance(error, Unreachable | DeadlineExceeded):
            raise
        return ""
    return (done.text or done.error_text).strip()
