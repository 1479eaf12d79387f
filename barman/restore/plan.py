"""From everything that was gathered to the steps of a restore, or to every reason against it. Pure."""

from __future__ import annotations

import posixpath

from barman.errors import RestoreRefused
from barman.postgres import data_directory
from barman.postgres.recovery_settings import settings_file
from barman.postgres.wal_name import HistoryName, parse_wal_name
from barman.restore.combine import CONTROL_NAME, combining, moving
from barman.restore.facts import shown_names
from barman.restore.judge import judge_overlap, judge_place, judge_space
from barman.restore.layouts import Layouts, is_recovery_steered
from barman.restore.marker import Marker
from barman.restore.recovery import recovery_settings
from barman.restore.stale import is_own_tablespace, judge_delta, stale_trees
from barman.restore.step import (
    CombineBackups,
    CopyTrees,
    DeliverWal,
    LandControlFile,
    LinkTablespaces,
    PrepareDestination,
    RecordOrigin,
    RemoveStale,
    Step,
    SyncPlaces,
    TreeCopy,
    UnpackTrees,
    WalDelivery,
    WriteSettings,
)
from barman.restore.unpack import held_control_file, staged_data
from barman.restore.wal_plan import GAP_HINT, WalPlan
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.layout import Layout
    from barman.restore.combine import Stage
    from barman.restore.facts import ArchiveFacts, BackupFacts, PlaceFacts, SourceTree, WalFacts
    from barman.restore.partial import PartialFacts
    from barman.restore.request import RestoreRequest
    from barman.restore.target import RecoveryTarget
    from barman.restore.wals import WalChain


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that a plan is made from; `refusals` are reasons that were found on the way.

    Without `places`, the host of the destination could not be looked at: a refusal says why, and `hint` what helps.
    With a `stage` the backup is a chain that is combined there first; `unpack_stage` is where archives are unpacked.
    """

    backup: BackupFacts
    archive: ArchiveFacts
    wal_plan: WalPlan
    layouts: Layouts
    files: tuple[WalDelivery, ...]
    wal: WalFacts
    places: Mapping[str, PlaceFacts]
    refusals: tuple[str, ...] = ()
    hint: str = ""
    stage: Stage | None = None
    unpack_stage: str | None = None


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """A restore that can succeed: what is done in which order, and what the user should know first.

    `stage` is a directory of this host that must be there, empty, while the steps are performed; `partial` the
    unfinished segment with which the recovery ends.
    """

    request: RestoreRequest
    backup: BackupInfo
    target: RecoveryTarget
    timeline: int
    layouts: Layouts
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()
    stage: str | None = None
    partial: PartialFacts | None = None

    @property
    def combines(self) -> bool:
        """Tell whether a chain of backups becomes one first."""
        return any(isinstance(step, CombineBackups) for step in self.steps)


def deliveries(chain: WalChain, facts: ArchiveFacts, layout: Layout, segment_size: int) -> tuple[WalDelivery, ...]:
    """Return the archived files that go along: the segments of the path, their labels, and every history."""
    names = {segment.name for segment in chain.found}
    found = [WalDelivery(layout.wal_path(name), name, None) for name in facts.history_names]
    for segment in chain.found:
        if segment != chain.partial:
            found.append(WalDelivery(layout.wal_path(segment.name), segment.name, segment_size))
            continue
        partial = facts.partials[segment]
        content = 0 if partial.end is None else partial.end - segment.start(segment_size)
        found.append(WalDelivery(partial.path, segment.name, segment_size, content, partial.later_paths))
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
    reasons = _reasons(request, gathered, marker)
    if reasons or chain is None or data is None or info.pg_version is None:
        raise RestoreRefused(reasons, hint=gathered.hint or (GAP_HINT if wal_plan.gap else ""))
    place = gathered.places[layouts.destination]
    stale, left = stale_trees(backup, layouts, gathered.places) if request.delta else ((), ())
    recovery = recovery_settings(request, info, target, chain.history, gathered.archive.archive, layouts)
    version = info.pg_version
    custom = None if version.has_recovery_conf else request.recovery_conf_filename
    stage = gathered.stage
    combined = [combining(backup, layouts, stage, request.jobs)] if stage is not None else []
    in_place = stage is not None and stage.in_place
    source = data.root if gathered.unpack_stage is None else staged_data(gathered.unpack_stage)
    if in_place:
        landing = LandControlFile(posixpath.join(layouts.destination, CONTROL_NAME), layouts.destination, moves=True)
    elif backup.is_archived:
        held = held_control_file(layouts.destination, gathered.unpack_stage)
        landing = LandControlFile(held, layouts.destination, moves=gathered.unpack_stage is None)
    else:
        landing = LandControlFile(posixpath.join(data.root, data_directory.CONTROL_FILE), layouts.destination)
    steps: list[Step] = [
        # The destination is left alone until there is something to fill it with.
        *([] if in_place else combined),
        PrepareDestination(layouts.destination, layouts.directories, marker, place.marker_text, place.has_control_file),
        *([RemoveStale(stale)] if stale else []),
        *([*combined, moving(backup, layouts)] if in_place else [_copying(request, gathered)]),
        LinkTablespaces(layouts.destination, layouts.links),
        RecordOrigin(layouts.destination, info.backup_id, backup.record),
    ]
    if layouts.delivers:
        marks = not is_recovery_steered(request, target)
        steps.append(DeliverWal(layouts.wal_directory, gathered.files, marks, chain.partial is not None, request.jobs))
    steps += [
        WriteSettings(source, layouts.destination, version, custom or settings_file(version), recovery),
        SyncPlaces((layouts.destination, *layouts.directories, *_inner(request, data, layouts)), request.jobs),
        landing,
    ]
    unused = request.recovery_conf_filename if version.has_recovery_conf else None
    ignored = f"--recovery-conf-filename has no effect on PostgreSQL {version.major_text}" if unused else ""
    stays = f"no part of the backup, and left alone in '{layouts.destination}': {shown_names(left)}" if left else ""
    combination = (stage.note, *backup.chain.notes) if stage is not None and backup.chain is not None else ()
    notes = (ignored, stays, *gathered.archive.notes, backup.damage.note, *combination, *wal_plan.warnings)
    warnings = tuple(note for note in notes if note)
    directory = stage.directory if stage is not None else gathered.unpack_stage
    partial = gathered.archive.partials.get(chain.partial) if chain.partial is not None else None
    return RestorePlan(request, info, target, chain.timeline, layouts, tuple(steps), warnings, directory, partial)


def _copying(request: RestoreRequest, gathered: Gathered) -> CopyTrees | UnpackTrees:
    trees = _trees(request, gathered.backup, gathered.layouts)
    if gathered.backup.is_archived:
        stage = gathered.unpack_stage
        resumes = stage is not None and not all(place.is_free for place in gathered.places.values())
        control = held_control_file(gathered.layouts.destination, stage)
        return UnpackTrees(trees, request.jobs, control, stage, compare=resumes)
    made = gathered.stage is not None
    if all(place.is_free for place in gathered.places.values()):
        return CopyTrees(trees, request.jobs, made=made)
    # What an unfinished restore left may have the right size and time and not the content, after a power loss.
    resumes = request.remote_ssh_command is not None
    return CopyTrees(trees, request.jobs, compare=request.delta or resumes, in_place=not request.delta, made=made)


def _inner(request: RestoreRequest, data: SourceTree, layouts: Layouts) -> tuple[str, ...]:
    """Return the directories of a data directory that may be mount points: only where one was there before."""
    if not request.delta:
        return ()
    return tuple(posixpath.join(layouts.destination, name) for name in data.directories if "/" not in name)


def _reasons(request: RestoreRequest, gathered: Gathered, marker: Marker) -> list[str]:
    layouts = gathered.layouts
    reasons = [*gathered.refusals, *gathered.wal_plan.refusals, *gathered.wal.refusals]
    if gathered.stage is not None:
        reasons += gathered.stage.refusals
    if gathered.wal_plan.chain is None:
        # A history that cannot be read may be why no timeline leads there.
        reasons += gathered.archive.notes
    if not gathered.places:
        return list(dict.fromkeys(reasons))
    left = gathered.places[layouts.destination].marker
    for path, place in gathered.places.items():
        delta = None if not request.delta else _may_be_overwritten(place, gathered, marker)
        reasons += judge_place(place, marker, what=layouts.name_of(path), left=left, delta=delta)
    reasons += judge_overlap(layouts, gathered.places)
    if request.delta:
        reasons += judge_delta(gathered.backup, layouts, gathered.places)
    if gathered.backup.data is not None:
        reasons += judge_space(gathered.backup, layouts, gathered.wal, gathered.places)
    return list(dict.fromkeys(reasons))


def _may_be_overwritten(place: PlaceFacts, gathered: Gathered, marker: Marker) -> bool:
    """Tell whether a place holds what a delta restore is for: a cluster of this server, or its tablespace."""
    layouts = gathered.layouts
    destination = gathered.places[layouts.destination]
    if place.path == layouts.destination:
        return place.is_cluster if place.marker is None else place.marker.server_name == marker.server_name
    return any(is_own_tablespace(place, link.oid, destination) for link in layouts.links if link.location == place.path)


def _trees(request: RestoreRequest, backup: BackupFacts, layouts: Layouts) -> tuple[TreeCopy, ...]:
    """Return what is copied where: tablespaces first, the data directory last."""
    limit, limits = request.bandwidth_limit, request.tablespace_bandwidth_limit
    trees = [
        TreeCopy(source, link.location, limits.get(link.name, limit))
        for link in layouts.links
        if (source := backup.tablespaces.get(link.oid)) is not None
    ]
    if backup.data is not None:
        trees.append(TreeCopy(backup.data, layouts.destination, limit))
    return tuple(trees)
