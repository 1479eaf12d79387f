"""Values that are replaced when they make no sense together, and what the user is told then (config.md §7)."""

from __future__ import annotations

from barman.config.problems import Problem
from barman.config.values import BackupOptions, canonical_retention
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barman.config.server_config import ServerConfig

STRATEGIES = frozenset(("concurrent_backup", "exclusive_backup"))


def adjust(config: ServerConfig) -> tuple[dict[str, Any], list[Problem]]:
    """Return the replaced values by option, and the warnings to print whenever the server is used."""
    changed: dict[str, Any] = {}
    notices: list[Problem] = []
    if config.tablespace_bandwidth_limit:
        # A tablespace limited to the general limit is not limited specially.
        changed["tablespace_bandwidth_limit"] = {
            name: limit for name, limit in config.tablespace_bandwidth_limit.items() if limit != config.bandwidth_limit
        } or None
    if config.retention_policy and canonical_retention(config.retention_policy):
        changed["wal_retention_policy"] = config.wal_retention_policy.upper()
    if not config.primary_ssh_command and config.active:
        _adjust_strategy(config, changed, notices)
        _adjust_archiver(config, changed, notices)
    return changed, notices


def _adjust_strategy(config: ServerConfig, changed: dict[str, Any], notices: list[Problem]) -> None:
    strategy = STRATEGIES & config.backup_options
    text = ""
    if config.backup_method == "postgres" and "exclusive_backup" in strategy:
        text = (
            "'exclusive_backup' is not a valid backup_option using postgres backup_method. "
            "Overriding with 'concurrent_backup'."
        )
    elif config.backup_method != "postgres" and not strategy:
        text = f"No backup strategy set for server '{config.name}' (using default 'concurrent_backup')."
    if text:
        notices.append(Problem(text, section=config.name, option="backup_options"))
    if text or not strategy:
        changed["backup_options"] = BackupOptions((config.backup_options - STRATEGIES) | {"concurrent_backup"})


def _adjust_archiver(config: ServerConfig, changed: dict[str, Any], notices: list[Problem]) -> None:
    if config.archiver or config.streaming_archiver:
        return
    for text in (
        f"No archiver enabled for server '{config.name}'. Please turn on 'archiver', 'streaming_archiver' or both",
        "Forcing 'archiver = on'",
    ):
        notices.append(Problem(text, section=config.name, option="archiver"))
    changed["archiver"] = True
