"""Which backups on disk may give files to a new one, and what their times prove (ADR 21).

Two kinds: the newest complete backup, as `reuse_backup` asks; and what a newer backup left that broke off, so that an
interrupted copy need not begin anew.
"""

from __future__ import annotations

import os

from barman.backup.copier import Reference
from barman.catalog.backup_info import BackupStatus
from barman.errors import BarmanError
from barman.fs import durable
from barman.postgres.backup_label import parse_backup_label
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from barman.catalog.backup_id import BackupId
    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.catalog import CatalogView
    from barman.catalog.layout import Layout
    from barman.postgres.facts import ServerFacts

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def choose_reference(facts: ServerFacts, view: CatalogView) -> BackupInfo | None:
    """Return the newest complete backup with rsync of this very cluster; None when there is none."""
    candidates = [info for info in view.backups.values() if info.is_copy_done and _is_like(info, facts)]
    return max(candidates, key=lambda info: info.backup_id, default=None)


def choose_unfinished(facts: ServerFacts, view: CatalogView) -> BackupInfo | None:
    """Return the newest backup with rsync of this very cluster that broke off after the newest complete one."""
    complete = choose_reference(facts, view)
    candidates = [
        info
        for info in view.backups.values()
        if info.status == BackupStatus.FAILED
        and _is_like(info, facts)
        and info.backup_id not in view.deleting
        and (complete is None or info.backup_id > complete.backup_id)
    ]
    return max(candidates, key=lambda info: info.backup_id, default=None)


def _is_like(info: BackupInfo, facts: ServerFacts) -> bool:
    return (info.mode or "").startswith("rsync") and info.systemid is not None and info.systemid == facts.system_id


def trusted_begin(reference: BackupInfo, facts: ServerFacts) -> datetime | None:
    """Return when the reference began if its files' times prove something about those of this server, else None.

    A timeline has one primary: both backups come from the same host then. A standby may be any of several.
    """
    if facts.in_recovery or reference.timeline != facts.timeline:
        return None
    if reference.status == BackupStatus.FAILED:
        # It has no label; only a primary names the segment that it is in.
        return reference.begin_time if reference.begin_wal is not None else None
    try:
        from_standby = parse_backup_label(reference.backup_label or "").from_standby
    except BarmanError:
        return None
    return None if from_standby else reference.begin_time


def make_reference(
    layout: Layout, backup_id: BackupId, source: BackupInfo, how: str, begun: datetime | None, wanted: Collection[str]
) -> Reference:
    """Map the `wanted` destinations of a new backup to the same trees of another one."""
    trees = {layout.data_directory(backup_id): layout.data_directory(source.backup_id)}
    for space in source.tablespaces:
        there = layout.tablespace_directory(source.backup_id, space.oid)
        trees[layout.tablespace_directory(backup_id, space.oid)] = there
    return Reference(how, {here: there for here, there in trees.items() if here in wanted}, begun)


# -- a run leaves word ------------------------------------------------------------------------------------------------


def leave_word(layout: Layout, backup_id: BackupId) -> None:
    """Note in the backup's directory which run of the operating system its files are written in."""
    durable.make_directory(layout.backup_directory_of(backup_id))
    durable.write_atomic(_note(layout, backup_id), _boot_id())


def take_back_word(layout: Layout, backup_id: BackupId) -> None:
    """Remove the note: from now on the files are durable."""
    durable.remove([_note(layout, backup_id)])


def is_intact(layout: Layout, backup_id: BackupId) -> bool:
    """Tell whether the files of a backup that broke off are as they were written.

    They were never synced. As long as the operating system has not stopped since, no write can have been lost.
    """
    try:
        with open(_note(layout, backup_id), encoding="ascii", errors="replace") as file:
            noted = file.read(100)
    except OSError:
        return False
    return bool(noted) and noted == _boot_id()


def _note(layout: Layout, backup_id: BackupId) -> str:
    return os.path.join(layout.backup_directory_of(backup_id), ".copying")


def _boot_id() -> str:
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read(100).strip()
    except OSError:
        return ""
