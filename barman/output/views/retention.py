"""Views of `retention`, `delete --dry-run` and `cron --dry-run`."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING, Any
from barman.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.backup.dry_run import DryRun, PlannedDeletion
    from barman.backup.retention_report import RetentionReport
    from barman.cron.dry_run import CronPlan

    Write = Callable[[str], None]


class RetentionReportView:
    """The backups, the WAL, and the next run; reasons with `--explain`."""

    @staticmethod
    def console(result: RetentionReport, write: Write) -> None:
        """Write the blocks."""
        write(f"Server {result.server_name}:")
        write(f"  Retention policy       : {result.policy or 'not enforced'}")
        if result.tiers:
            write(f"  Retention tiers        : {result.tiers}")
        write(f"  Minimum redundancy     : {result.minimum_redundancy}")
        if result.explain:
            _write_verdicts(result, write)
        write("  Next run of cron:")
        _write_deletions(result.next_run, write)

    @staticmethod
    def json(result: RetentionReport) -> dict[str, Any]:
        """Everything, with reasons, under the name of the server."""
        found = {
            "retention_policy": result.policy,
            "retention_tiers": result.tiers,
            "minimum_redundancy": result.minimum_redundancy,
            "backups": [
                {
                    "backup_id": item.backup_id,
                    "retention_status": item.word,
                    "reason": item.reason,
                    "held": item.held or None,
                    "not_restorable": item.broken or None,
                    "deleted_by_next_run": item.goes,
                }
                for item in result.backups
            ],
            "wal": [
                {
                    "first": item.first.name,
                    "last": item.last.name,
                    "count": item.count,
                    "reason": item.reason,
                    "deleted_by_next_run": item.goes,
                }
                for item in result.wal
            ],
            "unreadable": dict(result.unreadable),
            "next_run": dry_run_object(result.next_run),
        }
        return {result.server_name: found}


class DryRunView:
    """What would be deleted."""

    @staticmethod
    def console(result: DryRun, write: Write) -> None:
        """Write one block a deletion."""
        write(f"Server {result.server_name}: dry run, nothing is changed")
        _write_deletions(result, write)

    @staticmethod
    def json(result: DryRun) -> dict[str, Any]:
        """The deletions under the name of the server."""
        return {result.server_name: {"dry_run": True, **dry_run_object(result)}}


class CronPlanView:
    """What a run of cron would do."""

    @staticmethod
    def console(result: CronPlan, write: Write) -> None:
        """Write one line a task."""
        write(f"Server {result.server_name}: dry run, nothing is changed")
        for task in result.tasks:
            write(f"  {task}")
        if result.retention is not None:
            _write_deletions(result.retention, write)
        elif not result.tasks:
            write("    nothing to do")

    @staticmethod
    def json(result: CronPlan) -> dict[str, Any]:
        """The tasks, and the deletions of retention, under the name of the server."""
        found: dict[str, Any] = {"dry_run": True, "tasks": list(result.tasks)}
        found["retention"] = None if result.retention is None else dry_run_object(result.retention)
        return {result.server_name: found}


def dry_run_object(run: DryRun) -> dict[str, Any]:
    """The deletions for programs."""
    return {"deletions": [_deletion_object(item) for item in run.deletions], "notes": list(run.notes)}


def _deletion_object(item: PlannedDeletion) -> dict[str, Any]:
    return {
        "backup_id": item.target,
        "backup_ids": list(item.backup_ids),
        "deleted": item.goes,
        "reason": item.reason or None,
        "resumed": item.resumed,
        "size_bytes": item.size,
        "wals": list(item.wals),
        "warnings": list(item.warnings),
    }


def _write_verdicts(result: RetentionReport, write: Write) -> None:
    write("  Backups:")
    for item in result.backups:
        word = "deleted by the next run" if item.goes else "kept"
        write(f"    {item.backup_id} {item.word:<15} {word}: {item.reason}")
        if item.held:
            write(f"      stays: {item.held}")
        if item.broken:
            write(f"      cannot be restored: {item.broken}")
    for backup_id, reason in result.unreadable:
        write(f"    {backup_id} cannot be read: {reason}")
    write("  WAL:")
    for piece in result.wal:
        names = piece.first.name if piece.count == 1 else f"{piece.first.name} to {piece.last.name} ({piece.count})"
        write(f"    {names} {'deleted by the next run' if piece.goes else 'kept'}: {piece.reason}")


def _write_deletions(run: DryRun, write: Write) -> None:
    for note in run.notes:
        write(f"    {note}")
    if not run.deletions:
        write("    nothing is deleted")
    for item in run.deletions:
        if not item.goes:
            write(f"    backup {item.target} stays: {item.reason}")
            continue
        begun = " (its deletion has begun)" if item.resumed else ""
        write(f"    backup {', '.join(item.backup_ids)} is deleted, {format_size(item.size)}{begun}")
        if item.wals:
            names = item.wals[0] if len(item.wals) == 1 else f"{item.wals[0]} to {item.wals[-1]}"
            write(f"      and {len(item.wals)} WAL files: {names}")
