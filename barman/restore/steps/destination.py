"""The beginning and the end of a restore: a destination that cannot be started, and one that can."""

from __future__ import annotations

import os

from barman.fs import copying, durable
from barman.postgres.data_directory import CONTROL_FILE
from barman.restore.marker import MARKER_NAME
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.restore.step import LandControlFile, PrepareDestination, RemoveStale
    from barman.restore.workbench import Workbench

_SETTINGS_LEFT = ("recovery.signal", "standby.signal", "recovery.conf")


def prepare_destination(step: PrepareDestination, bench: Workbench) -> None:
    """Make the directories, take away what a server needs to start, and say whose files these will be. Durable.

    The plan has made sure that nothing but an unfinished restore of the same backup can be in these directories.
    """
    for path in (step.destination, *step.directories):
        durable.make_directory(path, 0o700)
    durable.write_atomic(os.path.join(step.destination, MARKER_NAME), step.marker.text(), 0o600)
    left = [CONTROL_FILE, *_SETTINGS_LEFT]
    durable.remove(os.path.join(step.destination, name) for name in left)
    for path in (step.destination, os.path.join(step.destination, os.path.dirname(CONTROL_FILE)), *step.directories):
        durable.sweep_temporaries(path)
    bench.reporter.debug(f"'{step.destination}' is ready")


def remove_stale(step: RemoveStale, bench: Workbench) -> None:
    """Remove the named paths; a directory that holds something else, or is a mount point, stays."""
    for tree in step.trees:
        durable.remove(os.path.join(tree.root, name) for name in tree.files)
        for name in tree.directories:
            try:
                durable.remove_empty_directory(os.path.join(tree.root, name))
            except OSError as error:
                bench.reporter.debug(f"'{error.filename}' stays: {error.strerror}")


def land_control_file(step: LandControlFile, bench: Workbench) -> None:
    """Make the cluster complete: the control file arrives whole, in one rename, and then the marker goes."""
    final = os.path.join(step.destination, CONTROL_FILE)
    temporary = step.source
    if not step.moves:
        temporary = os.path.join(os.path.dirname(final), f".pg_control.{os.getpid()}.tmp")
        copying.copy_file(step.source, temporary)
    durable.sync_file(temporary)
    durable.replace(temporary, final)
    durable.remove([os.path.join(step.destination, MARKER_NAME)])
    bench.reporter.debug(f"'{final}' is in place")
