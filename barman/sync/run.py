"""cron's part on a passive node: ask the primary what it has, and start what copies it.

The copies run in processes of their own, at most one of backups and one of WAL for each server: they outlive the run,
and no other server waits for them.
"""

from __future__ import annotations

import os

from barman import clock
from barman.errors import BarmanError, SyncError
from barman.logs import Log
from barman.sync.adopt import adopt_identity, adopt_keeps
from barman.sync.backups import DAMAGED, purge, rules_of
from barman.sync.plan import Action, covered_backups, plan_backups, plan_wals
from barman.sync.primary import ask, require_other
from barman.sync.protocol import parse
from barman.sync.state import (
    CONTACT,
    note_facts,
    note_failure,
    note_success,
    read_position,
    read_primary,
    read_record,
    save_primary,
)
from barman.sync.wals import advance, names_here
from barman.typing import TYPE_CHECKING, Protocol
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.catalog.locks import LockHolder
    from barman.catalog.view import CatalogView
    from barman.catalog.wal_file import WalFile
    from barman.report import Reporter
    from barman.server.server import Server
    from barman.sync.plan import BackupDecision
    from barman.sync.protocol import SyncInfo

_LOG = Log(__name__)
_REST_SECONDS = 3600.0


class Start(Protocol):
    """Starts a command of this program as a process of its own."""

    def __call__(self, *arguments: str) -> None:
        """Start `barman ARGUMENTS`."""


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What an answer of the primary asks for: decisions about backups, in their order, and the WAL files to copy."""

    decisions: tuple[BackupDecision, ...]
    wals: tuple[WalFile, ...]

    @property
    def copies(self) -> list[BackupDecision]:
        """The backups that are to be copied, the next one first."""
        return [decision for decision in self.decisions if decision.action == Action.COPY]


def sync_step(server: Server, reporter: Reporter, start: Start) -> None:
    """Ask the primary, remember its answer, and start the copies that it asks for.

    Raises BarmanError when the primary cannot be asked or is another one: nothing is started then.
    """
    layout = server.catalog.layout
    try:
        primary = _ask(server, reporter)
    except OSError as error:
        note_failure(layout, CONTACT, str(error))
        raise SyncError(f"the answer of the primary of server {server.name} cannot be saved: {error}") from error
    except BarmanError as error:
        note_failure(layout, CONTACT, error.message)
        raise
    _take_over_keeps(server, primary, reporter)
    view = server.catalog.snapshot()
    plan = make_plan(server, primary)
    for decision in plan.decisions:
        _say(decision, server, reporter)
    _start_backup(server, plan, reporter, start)
    _start_wals(server, primary, view, plan.wals, reporter, start)
    note_success(
        layout,
        CONTACT,
        primary_version=primary.version,
        missing_backups=len(plan.copies),
        missing_wals=len(plan.wals),
        missing_wal_bytes=sum(wal.size for wal in plan.wals),
    )


def make_plan(server: Server, primary: SyncInfo) -> SyncPlan:
    """Compare an answer of the primary with what is here."""
    view = server.catalog.snapshot()
    wals = plan_wals(primary, names_here(server.catalog, primary), view)
    return SyncPlan(plan_backups(primary, view, rules_of(server)), wals)


def next_copy(server: Server, plan: SyncPlan) -> BackupDecision | None:
    """Choose the backup whose copy begins now; None if there is none.

    Those that never failed come first, in the order of the plan; of the others the one whose attempt is longest ago, so
    that none that always fails holds up another. One that is damaged on the primary rests: it is read as a whole, on
    both hosts, each time.
    """
    view = server.catalog.snapshot()
    tried: list[tuple[float, BackupDecision]] = []
    for decision in plan.copies:
        info = view.backups.get(decision.backup_id)
        if decision.after is not None:
            continue
        if info is None:
            return decision
        ended = _changed(server.catalog.layout.backup_info(decision.backup_id))
        if DAMAGED in (info.error or "") and 0 <= clock.timestamp() - ended < _REST_SECONDS:
            continue
        tried.append((ended, decision))
    return min(tried, key=lambda item: item[0], default=(0.0, None))[1]


def preview(server: Server) -> tuple[str, ...]:
    """Say what a run would start, going by what the primary said last; nobody is asked and nothing changes."""
    try:
        plan = make_plan(server, read_primary(server.catalog.layout, server.name))
    except SyncError:
        return ("ask the primary what it has",)
    lines = ["ask the primary what it has; going by what it said last:"]
    lines += [
        f"delete what a broken copy left of backup {decision.backup_id}"
        for decision in plan.decisions
        if decision.action == Action.PURGE
    ]
    running, chosen = _running_copy(server), next_copy(server, plan)
    if running is not None:
        lines.append(f"leave the copy of backup {running.backup_id} to the process that runs already")
    elif chosen is not None:
        lines.append(f"start the copy of backup {chosen.backup_id} (1 of {len(plan.copies)})")
    if plan.wals:
        lines.append(f"start the copy of {len(plan.wals)} WAL files")
    return tuple(lines) if len(lines) > 1 else (f"{lines[0]} no copy is needed",)


def _ask(server: Server, reporter: Reporter) -> SyncInfo:
    layout = server.catalog.layout
    here = covered_backups(server.catalog.snapshot())
    document = ask(server, read_position(layout, reporter), reporter)
    primary = parse(document, server.name)
    require_other(server, primary)
    server.catalog.ensure_directories()
    # What another cluster answers is not remembered: it would count as an answer of the primary.
    adopt_identity(server, primary)
    save_primary(layout, document)
    note_facts(layout, CONTACT, asked_for=",".join(sorted(here)))
    return primary


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _take_over_keeps(server: Server, primary: SyncInfo, reporter: Reporter) -> None:
    try:
        adopt_keeps(server, primary, reporter)
    except (BarmanError, OSError) as error:
        reporter.warning(f"what the primary of server {server.name} keeps cannot be kept here yet: {error}")


def _say(decision: BackupDecision, server: Server, reporter: Reporter) -> None:
    if decision.action == Action.PURGE:
        try:
            purge(server, decision, reporter)
        except BarmanError as error:
            reporter.error(error.message)
    elif decision.action == Action.OBSOLETE:
        reporter.info(decision.text)
    elif decision.action == Action.CONFLICT:
        reporter.error(decision.text)
    elif decision.action == Action.PARENT_MISSING:
        _LOG.warning("%s", decision.text)


def _start_backup(server: Server, plan: SyncPlan, reporter: Reporter, start: Start) -> None:
    running, chosen = _running_copy(server), next_copy(server, plan)
    if running is not None:
        what = f"A synchronisation process for backup {running.backup_id} on server {server.name}"
        reporter.info(f"{what} is already in progress")
    elif chosen is not None:
        reporter.info(f"Starting copy of backup {chosen.backup_id} for server {server.name}")
        start("sync-backup", server.name, chosen.backup_id)
    else:
        reporter.info(f"No backup synchronisation required for server {server.name}")


def _running_copy(server: Server) -> LockHolder | None:
    return next((holder for holder in server.catalog.locks.holders() if holder.task == "sync-backup"), None)


def _start_wals(
    server: Server, primary: SyncInfo, view: CatalogView, wals: Sequence[WalFile], reporter: Reporter, start: Start
) -> None:
    locks = server.catalog.locks
    if locks.is_held("sync-wal"):
        reporter.info(f"WAL of server {server.name} is being copied already")
    elif wals:
        reporter.info(f"Started copy of WAL files for server {server.name}")
        start("sync-wals", server.name)
    else:
        reporter.info(f"No WAL synchronisation required for server {server.name}")
        if primary.wals and view.copy_done:
            # Everything that is needed is here: the next answer can begin behind it.
            with locks.sync_wal():
                advance(server.catalog.layout, primary, read_record(server.catalog.layout).asked_for)
