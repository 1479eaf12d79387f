"""From everything that was gathered to the steps of a restore, or to every reason against it. Pure."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from barman.errors import RestoreRefused
from barman.postgres import data_directory
from barman.postgres.recovery_settings import settings_file
from barman.postgres.wal_name import HistoryName, PartialSegment, parse_wal_name
from barman.restore.judge import judge_overlap, judge_place, judge_space
from barman.restore.layouts import Layouts, is_recovery_steered
from barman.restore.marker import Marker
from barman.restore.recovery import recovery_settings
from barman.restore.step import (
    CopyTrees,
    DeliverWal,
    LandControlFile,
    LinkTablespaces,
    PrepareDestination,
    RecordOrigin,
    Step,
    SyncPlaces,
    TreeCopy,
    WalDelivery,
    WriteSettings,
)
from barman.restore.wal_plan import GAP_HINT, WalPlan
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.layout import Layout
    from barman.restore.facts import ArchiveFacts, BackupFacts, PlaceFacts, WalFacts
    from barman.restore.request import RestoreRequest
    from barman.restore.target import RecoveryTarget
    from barman.restore.wals import WalChain


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that a plan is made from; `refusals` are reasons that were found on the way."""

    backup: BackupFacts
    archive: ArchiveFacts
    wal_plan: WalPlan
    layouts: Layouts
    files: tuple[WalDelivery, ...]
    wal: WalFacts
    places: Mapping[str, PlaceFacts]
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """A restore that can succeed: what is done in which order, and what the user should know first."""

    request: RestoreRequest
    backup: BackupInfo
    target: RecoveryTarget
    timeline: int
    layouts: Layouts
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()


def deliveries(chain: WalChain, facts: ArchiveFacts, layout: Layout, segment_size: int) -> tuple[WalDelivery, ...]:
    """Return the archived files that go along: the segments of the path, their labels, and every history."""
    names = {segment.name for segment in chain.found}
    found = [WalDelivery(layout.wal_path(name), name, None) for name in facts.history_names]
    for segment in chain.found:
        partial = PartialSegment(segment).name
        if facts.archive.has(segment.number(segment_size), segment.timeline):
            found.append(WalDelivery(layout.wal_path(segment.name), segment.name, segment_size))
        elif partial in facts.partial_paths:
            found.append(WalDelivery(facts.partial_paths[partial], segment.name, segment_size))
    for name in facts.label_names:
        parsed = parse_wal_name(name)
        if not isinstance(parsed, HistoryName) and parsed.segment.name in names:
            found.append(WalDelivery(layout.wal_path(name), name, None))
    return tuple(found)


def plan_restore(request: RestoreRequest, target: RecoveryTarget, gathered: Gathered) -> RestorePlan:
    """Return the steps of a restore. Raises RestoreRefused with every reason against it."""
    backup, layouts, wal_plan = gathered.backup, gathered.layouts, gathered.wal_plan
    info, data, chain = backup.info, backup.data, wal_plan.chain
    marker = Marker(info.server_name, info.backup_id, layouts.directories)
    reasons = _reasons(gathered, marker)
    if reasons or chain is None or data is None or info.pg_version is None:
        raise RestoreRefused(reasons, hint=GAP_HINT if wal_plan.gap else "")
    recovery = recovery_settings(request, info, target, chain.history, gathered.archive.archive, layouts)
    version = info.pg_version
    custom = None if version.has_recovery_conf else request.recovery_conf_filename
    steps: list[Step] = [
        PrepareDestination(layouts.destination, layouts.directories, marker),
        CopyTrees(_trees(backup, layouts), request.jobs),
        LinkTablespaces(layouts.destination, layouts.links),
        RecordOrigin(layouts.destination, info.backup_id, backup.record),
    ]
    if layouts.delivers:
        marks = not is_recovery_steered(request, target)
        partial = any(item.source.endswith(".partial") for item in gathered.files)
        steps.append(DeliverWal(layouts.wal_directory, gathered.files, marks, partial, request.jobs))
    steps += [
        WriteSettings(layouts.destination, version, custom or settings_file(version), recovery),
        SyncPlaces((layouts.destination, *layouts.directories), request.jobs),
        LandControlFile(posixpath.join(data.root, data_directory.CONTROL_FILE), layouts.destination),
    ]
    unused = request.recovery_conf_filename if version.has_recovery_conf else None
    ignored = f"--recovery-conf-filename has no effect on PostgreSQL {version.major_text}" if unused else ""
    notes = (ignored, *gathered.archive.notes, backup.damage.note, *wal_plan.warnings)
    warnings = tuple(note for note in notes if note)
    return RestorePlan(request, info, target, chain.timeline, layouts, tuple(steps), warnings)


def _reasons(gathered: Gathered, marker: Marker) -> list[str]:
    layouts = gathered.layouts
    reasons = [*gathered.refusals, *gathered.wal_plan.refusals, *gathered.wal.refusals]
    if gathered.wal_plan.chain is None:
        # A history that cannot be read may be why no timeline leads there.
        reasons += gathered.archive.notes
    left = gathered.places[layouts.destination].marker
    for path, place in gathered.places.items():
        reasons += judge_place(place, marker, what=layouts.name_of(path), left=left)
    reasons += judge_overlap(layouts, gathered.places)
    if gathered.backup.data is not None:
        reasons += judge_space(gathered.backup, layouts, gathered.wal, gathered.places)
    return list(dict.fromkeys(reasons))


def _trees(backup: BackupFacts, layouts: Layouts) -> tuple[TreeCopy, ...]:
    """Return what is copied where: tablespaces first, the data directory last."""
    trees = [
        TreeCopy(source, link.location)
        for link in layouts.links
        if (source := backup.tablespaces.get(link.oid)) is not None
    ]
    if backup.data is not None:
        trees.append(TreeCopy(backup.data, layouts.destination))
    return tuple(trees)
