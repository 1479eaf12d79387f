"""Why a server cannot be used: the reasons that its configuration alone gives (config.md §7, §10, §11).

Texts in which reference puts code font are parsed by people's scripts; they must not change. A backup method that is
not built yet is no reason: WAL must go on being archived, and the backups of before be restored. `backup` refuses it.
"""

from __future__ import annotations

from barman.config.values import is_url
from barman.errors import ConfigError
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.config.server_config import ServerConfig

_SIGNS_OF_A_PASSWORD = ("pass", ":", "@")


def refusals(config: ServerConfig) -> Iterator[str]:
    """Yield one text for each reason; none for an inactive server, which only has its catalog read."""
    if not config.active:
        return
    yield from _cloud_storage(config)
    if config.primary_ssh_command:
        problem = command_problem(config.primary_ssh_command)
        if problem:
            yield f"Invalid primary_ssh_command for server '{config.name}': {problem}"
        return
    yield from _connections(config)
    yield from _compression(config)
    method = config.backup_method
    if method == "postgres":
        yield from _postgres_method(config)
    elif method in ("rsync", "local-rsync"):
        yield from _rsync_methods(config)
    elif method == "snapshot":
        yield from _snapshot_method(config)


def command_problem(command: str) -> str:
    """What is wrong with the shell quoting of a command; empty when nothing is."""
    if not any(letter in command for letter in "'\"\\"):
        return ""
    import shlex

    try:
        shlex.split(command)
    except ValueError as error:
        return str(error).lower()
    return ""


def _cloud_storage(config: ServerConfig) -> Iterator[str]:
    for name in ("basebackups_directory", "wals_directory"):
        if is_url(getattr(config, name)):
            yield f"{name}={getattr(config, name)}: cloud storage is not supported yet for server '{config.name}'"


def _connections(config: ServerConfig) -> Iterator[str]:
    yield from _connection("PostgreSQL connection", "conninfo", config.conninfo, config.name)
    if config.backup_method == "postgres" or config.streaming_archiver:
        yield from _connection("Streaming connection", "streaming_conninfo", config.streaming_conninfo, config.name)
    if config.streaming_archiver and not config.archiver and not config.slot_name:
        yield (
            f"Streaming-only archiver requires 'streaming_conninfo' and 'slot_name' options to be properly configured "
            f"for server '{config.name}'"
        )


def _connection(what: str, option: str, conninfo: str | None, server: str) -> Iterator[str]:
    if not conninfo:
        yield f"{what}: Missing '{option}' parameter for server '{server}'"
        return
    from barman.postgres.conninfo import parse

    try:
        parse(conninfo)
    except ConfigError as error:
        shown, reason = conninfo, ""
        if any(sign in conninfo.lower() for sign in _SIGNS_OF_A_PASSWORD):
            # Where a password ends cannot be told in a string that cannot be parsed.
            shown, reason = "*REDACTED*", f" ({error.message.partition(': ')[2]})"
        yield f'{what}: Cannot connect to postgres: "{shown}" is not a valid connection string{reason}'


def _compression(config: ServerConfig) -> Iterator[str]:
    if config.compression == "custom":
        for name in ("custom_compression_filter", "custom_decompression_filter"):
            if not getattr(config, name):
                yield f"{name} option is required by compression=custom for server '{config.name}'"


def _unsupported(config: ServerConfig, *names: str, method: str = "") -> Iterator[str]:
    for name in names:
        value = getattr(config, name)
        if value and not (name == "reuse_backup" and value == "off"):
            yield f"{name} option is not supported by {method or config.backup_method} backup_method"


def _postgres_method(config: ServerConfig) -> Iterator[str]:
    yield from _unsupported(config, "tablespace_bandwidth_limit", "reuse_backup", "network_compression")
    compression = config.backup_compression
    if compression is None:
        return
    level, workers = config.backup_compression_level, config.backup_compression_workers
    if config.backup_compression_format == "plain" and config.backup_compression_location != "server":
        yield "backup_compression_format=plain requires backup_compression_location=server"
    if compression != "zstd" and workers is not None:
        yield f"backup_compression_workers is not supported by backup_compression={compression}"
    if workers is not None and workers < 0:
        yield f"backup_compression_workers={workers} must not be negative"
    # gzip level 0 depends on the version of pg_basebackup, which is not known here.
    least, most = {"gzip": (-1, 9), "lz4": (0, 12), "zstd": (-131072, 22), "none": (0, 0)}[compression]
    if level is not None and not least <= level <= most:
        yield f"backup_compression_level={level} is not supported by backup_compression={compression}"


def _rsync_methods(config: ServerConfig) -> Iterator[str]:
    yield from _ssh_command(config)
    yield from _unsupported(config, "backup_compression", method="rsync")


def _ssh_command(config: ServerConfig) -> Iterator[str]:
    if config.backup_method == "local-rsync":
        if config.ssh_command:
            yield f"Local backup requires an empty ssh_command in the configuration of server '{config.name}'"
    elif not config.ssh_command:
        yield f"Missing or invalid ssh_command in the configuration of server '{config.name}'"
    else:
        problem = command_problem(config.ssh_command)
        if problem:
            yield f"Missing or invalid ssh_command in the configuration of server '{config.name}': {problem}"


def _snapshot_method(config: ServerConfig) -> Iterator[str]:
    yield from _ssh_command(config)
    yield from _unsupported(
        config,
        "backup_compression",
        "bandwidth_limit",
        "network_compression",
        "tablespace_bandwidth_limit",
        "reuse_backup",
    )
    for name in ("snapshot_disks", "snapshot_instance", "snapshot_provider"):
        if not getattr(config, name):
            yield f"{name} option is required by snapshot backup_method"
    yield from _snapshot_provider(config)
    yield from _snapshot_lock(config)


def _snapshot_provider(config: ServerConfig) -> Iterator[str]:
    provider = config.snapshot_provider
    reason = ""
    if provider == "gcp" and not (config.gcp_project or config.snapshot_gcp_project):
        reason = "gcp_project is required"
    elif provider == "azure" and not config.azure_subscription_id:
        reason = "azure_subscription_id is required"
    elif provider and provider not in ("aws", "azure", "gcp"):
        reason = "the provider must be one in: aws, azure, gcp"
    if reason:
        yield f"Error initialising snapshot provider {provider}: {reason}"


def _snapshot_lock(config: ServerConfig) -> Iterator[str]:
    if config.snapshot_provider != "aws" or not config.aws_snapshot_lock_mode:
        return
    duration, cool_off = config.aws_snapshot_lock_duration, config.aws_snapshot_lock_cool_off_period
    if (duration is None) == (config.aws_snapshot_lock_expiration_date is None):
        yield "exactly one of aws_snapshot_lock_duration and aws_snapshot_lock_expiration_date must be set"
    if duration is not None and not 1 <= duration <= 36500:
        yield f"aws_snapshot_lock_duration={duration} must be between 1 and 36500"
    if cool_off is not None and config.aws_snapshot_lock_mode != "compliance":
        yield "aws_snapshot_lock_cool_off_period requires aws_snapshot_lock_mode=compliance"
    if cool_off is not None and not 1 <= cool_off <= 72:
        yield f"aws_snapshot_lock_cool_off_period={cool_off} must be between 1 and 72"
