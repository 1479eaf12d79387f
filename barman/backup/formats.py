"""Which backups this version can restore, going by their record. Pure."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.catalog.backup_info import BackupInfo


def reasons_against_restore(info: BackupInfo) -> Iterator[str]:
    """Yield why this version does not restore a backup of that kind, in words that follow `cannot be restored`."""
    for reason, applies in (
        ("it is a snapshot", (info.mode or "").startswith("snapshot")),
        (f"it is encrypted ({info.encryption})", info.encryption not in (None, "gpg")),
    ):
        if applies:
            yield reason
