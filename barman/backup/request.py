"""What the operator asked for: one backup, with the command line laid over the configuration."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING, TypeVar
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.config.server_config import ServerConfig


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """One run of `barman backup` for one server.

    `bandwidth_limit` is in kB/s, None for no limit. `wait_timeout` is in seconds, None for ever; only with `wait`.
    `parent` is the word given to `--incremental`.
    """

    name: str | None = None
    parent: str | None = None
    immediate_checkpoint: bool = False
    bandwidth_limit: int | None = None
    retry_times: int = 0
    retry_sleep: float = 30
    wait: bool = False
    wait_timeout: float | None = None
    jobs: int = 1
    start_batch_size: int = 10
    start_batch_period: float = 1
    keepalive_interval: float = 60
    reuse: str | None = None
    manifest: bool = False


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says; None where it says nothing, so that the configuration decides."""

    name: str | None = None
    parent: str | None = None
    immediate_checkpoint: bool | None = None
    bandwidth_limit: int | None = None
    retry_times: int | None = None
    retry_sleep: float | None = None
    wait: bool = False
    wait_timeout: float | None = None
    jobs: int | None = None
    start_batch_size: int | None = None
    start_batch_period: int | None = None
    keepalive_interval: int | None = None
    reuse: str | None = None
    manifest: bool | None = None


def request_for(config: ServerConfig, overrides: Overrides) -> BackupRequest:
    """Lay `overrides` over the configuration. A limit or a timeout of 0 means none, as upstream has it."""
    limit = overrides.bandwidth_limit if overrides.bandwidth_limit is not None else config.bandwidth_limit
    return BackupRequest(
        name=overrides.name,
        parent=overrides.parent,
        immediate_checkpoint=_first(overrides.immediate_checkpoint, config.immediate_checkpoint),
        bandwidth_limit=limit or None,
        retry_times=_first(overrides.retry_times, config.basebackup_retry_times),
        retry_sleep=_first(overrides.retry_sleep, config.basebackup_retry_sleep),
        wait=overrides.wait,
        wait_timeout=overrides.wait_timeout or None,
        jobs=_first(overrides.jobs, config.parallel_jobs),
        start_batch_size=_first(overrides.start_batch_size, config.parallel_jobs_start_batch_size),
        start_batch_period=_first(overrides.start_batch_period, config.parallel_jobs_start_batch_period),
        keepalive_interval=_first(overrides.keepalive_interval, config.keepalive_interval),
        reuse=_first(overrides.reuse, config.reuse_backup),
        manifest=_first(overrides.manifest, config.autogenerate_manifest),
    )


def _first(given: T | None, configured: T) -> T:
    return configured if given is None else given
