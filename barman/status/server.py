"""`status`: the state of one server in a few lines."""

from __future__ import annotations

from barman.config.values import canonical_retention
from barman.errors import BarmanError, CatalogError
from barman.timestamps import format_ctime
from barman.typing import TYPE_CHECKING
from barman.units import format_size
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.catalog.catalog import Catalog, CatalogView
    from barman.config.server_config import ServerConfig
    from barman.postgres.facts import ServerFacts
    from barman.server.server import Server
    from barman.sync.standing import SyncStanding
    from barman.wal.recovery_window import RecoveryWindows


@dataclass(frozen=True, slots=True)
class StatusLine:
    """One fact, for people and, by `key`, for programs."""

    key: str
    description: str
    message: str


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The lines of one server, in their order."""

    server_name: str
    lines: tuple[StatusLine, ...]
    recovery: RecoveryWindows | None = None
    """Behind the line `recovery_window`; None if it cannot be told."""
    standing: SyncStanding | None = None
    """Behind the lines `sync_…` of a passive node."""


def read_status(server: Server) -> ServerStatus:
    """Look at catalog and server, over one connection. A server that is down is a line, never an error."""
    config = server.config
    lines = [
        StatusLine("active", "Active", str(bool(config.active))),
        StatusLine("disabled", "Disabled", str(config.disabled)),
        StatusLine("active_model", "Active configuration model", str(config.active_model)),
    ]
    if config.description:
        lines.insert(0, StatusLine("description", "Description", config.description))
    if config.active and not config.passive_node:
        lines.extend(_live_lines(server))
    lines.append(StatusLine("passive_node", "Passive node", str(bool(config.passive_node))))
    view = server.catalog.snapshot()
    lines.extend(_catalog_lines(config, _with_what_counts(server.catalog, config, view)))
    recovery, line = _recovery(server.catalog, view)
    lines.append(line)
    if not config.passive_node:
        return ServerStatus(config.name, tuple(lines), recovery)
    from barman.status.passive import describe_standing
    from barman.sync.standing import read_standing

    lines.append(StatusLine("primary_ssh_command", "SSH command to primary server", str(config.primary_ssh_command)))
    standing = read_standing(config, server.catalog, view)
    lines.extend(StatusLine(*line) for line in describe_standing(standing))
    return ServerStatus(config.name, tuple(lines), recovery, standing)


def _recovery(catalog: Catalog, view: CatalogView) -> tuple[RecoveryWindows | None, StatusLine]:
    from barman.status.recovery import describe_windows
    from barman.wal.recoverable import read_windows

    key, description = "recovery_window", "Recovery window"
    try:
        found = read_windows(catalog, view)
    except (BarmanError, OSError) as error:
        return None, StatusLine(key, description, f"cannot be told: {error}")
    return found, StatusLine(key, description, describe_windows(found))


def _live_lines(server: Server) -> Iterator[StatusLine]:
    from barman.postgres.facts import read_facts

    try:
        facts = read_facts(server.postgres, with_size=True)
    except BarmanError:
        yield StatusLine("pg_version", "PostgreSQL version", "FAILED trying to get PostgreSQL version")
        return
    yield StatusLine("pg_version", "PostgreSQL version", facts.server_txt_version)
    state = "in archive recovery" if facts.in_recovery else "in production"
    yield StatusLine("is_in_recovery", "Cluster state", state)
    if facts.current_size is not None:
        yield StatusLine("current_size", "Current data size", format_size(facts.current_size))
    if facts.data_directory:
        yield StatusLine("data_directory", "PostgreSQL Data directory", facts.data_directory)
    if facts.current_wal:
        yield StatusLine("current_xlog", "Current WAL segment", facts.current_wal)
    if server.config.archiver:
        yield from _archiver_lines(facts)


def _archiver_lines(facts: ServerFacts) -> Iterator[StatusLine]:
    if facts.archive_command is not None:
        yield StatusLine("archive_command", "PostgreSQL 'archive_command' setting", facts.archive_command)
    stats = facts.archiver
    if stats is None:
        return
    last = "No WAL segment shipped yet"
    if stats.last_archived_wal and stats.last_archived_time:
        last = f"{stats.last_archived_wal}, at {format_ctime(stats.last_archived_time)}"
    yield StatusLine("last_archived_wal", "Last archived WAL", last)
    failures = str(stats.failed_count)
    if stats.last_failed_wal and stats.last_failed_time:
        failures += f" ({stats.last_failed_wal} at {format_ctime(stats.last_failed_time)})"
    yield StatusLine("failed_count", "Failures of WAL archiver", failures)
    rate = stats.current_archived_wals_per_second
    if rate and rate > 0:
        yield StatusLine(
            "server_archived_wals_per_hour", "Server WAL archiving rate", f"{float(rate) * 3600:0.2f}/hour"
        )


def _with_what_counts(catalog: Catalog, config: ServerConfig, view: CatalogView) -> CatalogView:
    """The view with the backups that are no redundancy, where one is demanded; `check` names what cannot be read."""
    from barman.wal.restorable import judged

    try:
        return judged(catalog, view) if config.minimum_redundancy else view
    except CatalogError:
        return view


def _catalog_lines(config: ServerConfig, view: CatalogView) -> Iterator[StatusLine]:
    yield StatusLine("retention_policies", "Retention policies", _retention(config))
    done = view.done
    yield StatusLine("backups_number", "No. of available backups", str(len(done)))
    if view.corrupt:
        reasons = "; ".join(f"{backup_id} ({error.message})" for backup_id, error in sorted(view.corrupt.items()))
        yield StatusLine("unreadable_backups", "Backups that cannot be read", reasons)
    first, last = view.oldest(), view.latest()
    yield StatusLine("first_backup", "First available backup", str(first.backup_id if first else None))
    yield StatusLine("last_backup", "Last available backup", str(last.backup_id if last else None))
    have, need = view.redundancy(), config.minimum_redundancy
    word = "satisfied" if have >= need else "FAILED"
    yield StatusLine("minimum_redundancy", "Minimum redundancy requirements", f"{word} ({have}/{need})")


def _retention(config: ServerConfig) -> str:
    if not config.retention_policy or canonical_retention(config.retention_policy) is None:
        return "not enforced"
    return (
        f"enforced (mode: {config.retention_policy_mode}, retention: {config.retention_policy}, "
        f"WAL retention: {str(config.wal_retention_policy).upper()})"
    )
