"""Let a receiver know that its configuration changed: it is ended, and another one started."""

from __future__ import annotations

from barman import process
from barman.catalog.locks import LockHolder
from barman.cron.observe import observe_receiver
from barman.cron.processes import terminate_holder
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.config.server_config import ServerConfig
    from barman.report import Reporter


def stop_receiver(config: ServerConfig, reporter: Reporter) -> bool:
    """End the receiver of a server; whether none runs now. What cannot be ended is reported."""
    pid = observe_receiver(config).pid
    return pid is None or terminate_holder(LockHolder("receive-wal", pid), reporter)


def restart_receiver(config: ServerConfig, config_file: str, reporter: Reporter) -> None:
    """End the receiver of a server, and start one with the present configuration if it wants one."""
    if stop_receiver(config, reporter) and observe_receiver(config).wanted and not config.disabled:
        reporter.info(f"Starting streaming archiver for server {config.name}")
        process.spawn_detached(process.barman_argv(config_file, "receive-wal", config.name))
