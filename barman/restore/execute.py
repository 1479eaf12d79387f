"""Carry out a restore plan, step by step."""

from __future__ import annotations

from barman.errors import BarmanError, Interrupted
from barman.logs import Log
from barman.restore.step import (
    CombineBackups,
    CopyTrees,
    DeliverWal,
    LandControlFile,
    LinkTablespaces,
    MoveTrees,
    PrepareDestination,
    RecordOrigin,
    RemoveStale,
    SyncPlaces,
    UnpackTrees,
    WriteSettings,
)
from barman.restore.steps.combine import combine_backups, move_trees
from barman.restore.steps.copy import copy_trees, record_origin, sync_places
from barman.restore.steps.destination import land_control_file, prepare_destination, remove_stale
from barman.restore.steps.settings import write_settings
from barman.restore.steps.tablespaces import link_tablespaces
from barman.restore.steps.wal import deliver_wal
from barman.restore.unpack_files import unpack_trees
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from barman.restore.plan import RestorePlan
    from barman.restore.step import Step
    from barman.restore.workbench import Workbench

_PERFORMERS: dict[type, Callable[[Any, Workbench], None]] = {
    PrepareDestination: prepare_destination,
    RemoveStale: remove_stale,
    CombineBackups: combine_backups,
    MoveTrees: move_trees,
    CopyTrees: copy_trees,
    UnpackTrees: unpack_trees,
    LinkTablespaces: link_tablespaces,
    RecordOrigin: record_origin,
    DeliverWal: deliver_wal,
    WriteSettings: write_settings,
    SyncPlaces: sync_places,
    LandControlFile: land_control_file,
}
_FAILURES: dict[type, str] = {
    CombineBackups: "Failure combining backups",
    CopyTrees: "Failure copying base backup",
    UnpackTrees: "Failure copying base backup",
    DeliverWal: "Failure copying WAL files",
}
_log = Log(__name__)


def execute(plan: RestorePlan, bench: Workbench) -> None:
    """Perform every step in order; the first failure ends the restore and leaves a cluster that cannot be started.

    The same steps fill this host and another one. Raises BarmanError that says which step failed and what to do.
    """
    performers = _performers(bench)
    for step in plan.steps:
        _log.debug("restore step: %s", step.describe())
        try:
            performers[type(step)](step, bench)
        except (BarmanError, OSError) as error:
            raise _failure(step, error, plan) from error
        except Interrupted:
            bench.reporter.warning(_incomplete(step, plan))
            raise
    _log.info("restored backup %s into %s", plan.backup.backup_id, plan.layouts.destination)


def _performers(bench: Workbench) -> Mapping[type, Callable[[Any, Workbench], None]]:
    if bench.host is None:
        return _PERFORMERS
    from barman.restore.remote.performers import PERFORMERS

    return PERFORMERS


def _failure(step: Step, error: Exception, plan: RestorePlan) -> BarmanError:
    cause = error.message if isinstance(error, BarmanError) else str(error)
    advice = f"{error.hint} " if isinstance(error, BarmanError) and error.hint else "Remove the cause first. "
    what = _FAILURES.get(type(step), f"the restore failed (step: {step.describe()})")
    return BarmanError(
        f"{what}: {cause}",
        hint=f"{advice}{_incomplete(step, plan)}",
    )


def _incomplete(step: Step, plan: RestorePlan) -> str:
    command = plan.request.remote_ssh_command
    where = f" on the host of '{command}'" if command else ""
    begun = plan.steps[: plan.steps.index(step) + 1]
    if not any(isinstance(item, PrepareDestination) for item in begun):
        return f"'{plan.layouts.destination}'{where} was not touched yet. Repeat the same command."
    return (
        f"'{plan.layouts.destination}'{where} is incomplete and cannot be started. Repeat the same command: "
        "it begins anew over what is there."
    )
