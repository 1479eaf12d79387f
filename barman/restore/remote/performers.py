"""Who performs which step on another host."""

from __future__ import annotations

from barman.restore.remote.copy import copy_trees
from barman.restore.remote.destination import (
    land_control_file,
    link_tablespaces,
    prepare_destination,
    record_origin,
    remove_stale,
    sync_places,
)
from barman.restore.remote.wal import deliver_wal
from barman.restore.step import (
    CombineBackups,
    CopyTrees,
    DeliverWal,
    LandControlFile,
    LinkTablespaces,
    PrepareDestination,
    RecordOrigin,
    RemoveStale,
    SyncPlaces,
    UnpackTrees,
    WriteSettings,
)
from barman.restore.steps.combine import combine_backups
from barman.restore.steps.settings import write_settings
from barman.restore.unpack_remote import unpack_and_send
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.restore.workbench import Workbench

PERFORMERS: dict[type, Callable[[Any, Workbench], None]] = {
    PrepareDestination: prepare_destination,
    RemoveStale: remove_stale,
    CombineBackups: combine_backups,
    CopyTrees: copy_trees,
    UnpackTrees: unpack_and_send,
    LinkTablespaces: link_tablespaces,
    RecordOrigin: record_origin,
    DeliverWal: deliver_wal,
    WriteSettings: write_settings,
    SyncPlaces: sync_places,
    LandControlFile: land_control_file,
}
