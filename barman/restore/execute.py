"""Carry out a restore plan, step by step."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from barman.errors import BarmanError, Interrupted
from barman.restore.step import (
    CopyTrees,
    DeliverWal,
    LandControlFile,
    LinkTablespaces,
    PrepareDestination,
    RecordOrigin,
    SyncPlaces,
    WriteSettings,
)
from barman.restore.steps.copy import copy_trees, record_origin, sync_places
from barman.restore.steps.destination import land_control_file, prepare_destination
from barman.restore.steps.settings import write_settings
from barman.restore.steps.tablespaces import link_tablespaces
from barman.restore.steps.wal import deliver_wal

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.restore.plan import RestorePlan
    from barman.restore.step import Step
    from barman.restore.workbench import Workbench

_PERFORMERS: dict[type, Callable[[Any, Workbench], None]] = {
    PrepareDestination: prepare_destination,
    CopyTrees: copy_trees,
    LinkTablespaces: link_tablespaces,
    RecordOrigin: record_origin,
    DeliverWal: deliver_wal,
    WriteSettings: write_settings,
    SyncPlaces: sync_places,
    LandControlFile: land_control_file,
}
_FAILURES = {CopyTrees: "Failure copying base backup", DeliverWal: "Failure copying WAL files"}
_log = logging.getLogger(__name__)


def execute(plan: RestorePlan, bench: Workbench) -> None:
    """Perform every step in order; the first failure ends the restore and leaves a cluster that cannot be started.

    Raises BarmanError that says which step failed and what to do.
    """
    for step in plan.steps:
        _log.debug("restore step: %s", step.describe())
        try:
            _PERFORMERS[type(step)](step, bench)
        except (BarmanError, OSError) as error:
            raise _failure(step, error, plan) from error
        except Interrupted:
            bench.reporter.warning(_incomplete(plan))
            raise
    _log.info("restored backup %s into %s", plan.backup.backup_id, plan.layouts.destination)


def _failure(step: Step, error: Exception, plan: RestorePlan) -> BarmanError:
    cause = error.message if isinstance(error, BarmanError) else str(error)
    what = _FAILURES.get(type(step), f"the restore failed (step: {step.describe()})")
    return BarmanError(
        f"{what}: {cause}",
        hint=f"{_incomplete(plan)} Remove the cause first.",
    )


def _incomplete(plan: RestorePlan) -> str:
    return (
        f"'{plan.layouts.destination}' is incomplete and cannot be started. Repeat the same command: "
        "it begins anew over what is there."
    )
