"""Which view shows which result: found by the name of the result's class, imported when it is first shown."""

from __future__ import annotations

from importlib import import_module

from barman.typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

# result class → module in barman.output.views, view class
VIEWS = {
    "ServerList": ("servers", "ServerListView"),
    "ServerDetails": ("server_details", "ServerDetailsView"),
    "ServerStatus": ("status", "ServerStatusView"),
    "ReplicationStatus": ("replication", "ReplicationStatusView"),
    "ReplicationUnknown": ("replication", "ReplicationUnknownView"),
    "Diagnosis": ("diagnose", "DiagnosisView"),
    "BackupList": ("backups", "BackupListView"),
    "BackupDetails": ("backups", "BackupDetailsView"),
    "KeepStatus": ("keep", "KeepStatusView"),
    "CheckReport": ("checks", "CheckReportView"),
    "BackupResult": ("backups_run", "BackupResultView"),
    "DeleteResult": ("backups_run", "DeleteResultView"),
    "RestoreResult": ("restoring", "RestoreResultView"),
    "ArchiveResult": ("archiving", "ArchiveResultView"),
    "RebuildResult": ("wals", "RebuildResultView"),
    "WalArchiveCheck": ("wals", "WalArchiveCheckView"),
    "WalRangeCheck": ("wals", "WalRangeCheckView"),
    "RefusedList": ("wals", "RefusedListView"),
    "RecoveryWindows": ("recovery_window", "RecoveryWindowsView"),
    "RetentionReport": ("retention", "RetentionReportView"),
    "DryRun": ("retention", "DryRunView"),
    "CronPlan": ("retention", "CronPlanView"),
    "Metrics": ("metrics", "MetricsView"),
    "ProcessList": ("processes", "ProcessListView"),
}


class View(Protocol):
    """How one type of result looks."""

    @staticmethod
    def console(result: Any, write: Callable[[str], None]) -> None:
        """Write the lines a person reads."""

    @staticmethod
    def json(result: Any) -> dict[str, Any]:
        """Return what is merged into the top-level JSON object."""


def view_of(result: object) -> type[View]:
    """Return the view of a result. Raises KeyError when the type has none."""
    module, name = VIEWS[type(result).__name__]
    view: type[View] = getattr(import_module(f"barman.output.views.{module}"), name)
    return view
