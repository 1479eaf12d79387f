"""Keep annotations: backups that no retention policy and no deletion may touch."""

import os
from collections.abc import Collection, Iterable

from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupInfo, BackupStatus
from barman.catalog.layout import KEEP_SUFFIX, TIER_SUFFIX, Layout
from barman.errors import CatalogError
from barman.fs import durable
from barman.typing import Final
from barman.values import dataclass

FULL: Final = "full"
STANDALONE: Final = "standalone"
_MAX_SIZE: Final = 64


@dataclass(frozen=True, slots=True)
class KeepStatus:
    """What `keep --status` answers: the target, or None for a backup that is not kept."""

    server_name: str
    backup_id: BackupId
    target: str | None


def require_keepable(info: BackupInfo) -> None:
    """Raise CatalogError unless the backup may be kept: DONE, and restorable alone."""
    prefix = f"Cannot add keep to backup {info.backup_id} because"
    if info.status != BackupStatus.DONE:
        raise CatalogError(f"{prefix} it has status {info.status}. Only backups with status DONE can be kept.")
    if info.is_incremental:
        raise CatalogError(
            f"{prefix} it is an incremental backup", hint="keep the full backup that it depends on instead"
        )


class KeepStore:
    """The annotation files of one server. A backup is kept by the mere existence of its file.

    The place before 3.13.3, `base/ID/annotations/keep`, counts as well, and is moved to the present one on the first
    occasion.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def get(self, backup_id: str) -> str | None:
        """`full`, `standalone`, or None for a backup that is not kept."""
        self._migrate(backup_id)
        for path in (self._layout.keep(backup_id), self._layout.legacy_keep(backup_id)):
            if os.path.lexists(path):
                return _read(path)
        return None

    def list(self, backup_ids: Iterable[BackupId]) -> dict[BackupId, str]:
        """The targets of those backups which are kept. Changes nothing on disk."""
        names = _names(self._layout.meta_directory)
        found: dict[BackupId, str] = {}
        for backup_id in backup_ids:
            if backup_id + KEEP_SUFFIX in names:
                found[backup_id] = _read(self._layout.keep(backup_id))
            elif os.path.lexists(self._layout.legacy_keep(backup_id)):
                found[backup_id] = _read(self._layout.legacy_keep(backup_id))
        return found

    def set(self, backup_id: str, target: str) -> None:
        """Keep the backup, durably. ValueError unless the target is `full` or `standalone`."""
        if target not in (FULL, STANDALONE):
            raise ValueError(f"keep target '{target}' is neither '{FULL}' nor '{STANDALONE}'")
        durable.make_directory(self._layout.meta_directory)
        # The operator's word from here on, whoever kept the backup before.
        durable.remove([self._layout.tier_marker(backup_id)])
        durable.write_atomic(self._layout.keep(backup_id), target)
        durable.remove([self._layout.legacy_keep(backup_id)])

    def release(self, backup_id: str) -> None:
        """Stop keeping the backup; nothing happens if it is not kept."""
        durable.remove([self._layout.legacy_keep(backup_id)])
        durable.remove([self._layout.keep(backup_id)])
        durable.remove([self._layout.tier_marker(backup_id)])

    # --- kept by a retention tier

    def hold(self, backup_id: str) -> None:
        """Keep a backup `standalone` for a retention tier, durably; one that is kept already is left as it is.

        The marker comes first: a marker without an annotation means nothing, the other way round the backup would be
        kept for ever.
        """
        if self.get(backup_id) is not None:
            return
        durable.make_directory(self._layout.meta_directory)
        durable.write_atomic(self._layout.tier_marker(backup_id), b"")
        durable.write_atomic(self._layout.keep(backup_id), STANDALONE)

    def tiered(self, kept: Collection[BackupId]) -> frozenset[BackupId]:
        """Those of the kept backups whose annotation a tier has set."""
        if not kept:
            return frozenset()
        names = _names(self._layout.meta_directory)
        return frozenset(backup_id for backup_id in kept if f".{backup_id}{TIER_SUFFIX}" in names)

    def _migrate(self, backup_id: str) -> None:
        new, old = self._layout.keep(backup_id), self._layout.legacy_keep(backup_id)
        if os.path.lexists(old) and not os.path.lexists(new):
            try:
                durable.make_directory(self._layout.meta_directory)
                durable.move(old, new)
            except OSError:
                # Read-only, or somebody else was faster: the old place is as good.
                return


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_SIZE).decode(errors="replace").strip()
    except OSError:
        # It exists, so the backup is kept; what cannot be read must not weaken that.
        return FULL
    return STANDALONE if text == STANDALONE else FULL


def _names(directory: str) -> set[str]:
    try:
        return set(os.listdir(directory))
    except FileNotFoundError:
        return set()
