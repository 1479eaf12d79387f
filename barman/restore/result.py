"""What came out of a restore."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class SettingNote:
    """A setting of a restored configuration file; `line` counts from 0; `value` is None when it was only disabled."""

    file: str
    line: int
    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """A restore that succeeded: what was changed in the configuration and what its owner must look at."""

    server_name: str
    backup_id: str
    destination: str
    changes: tuple[SettingNote, ...]
    warnings: tuple[SettingNote, ...]
    missing_files: tuple[str, ...]
    get_wal: bool
    settings_path: str
    started: datetime
    elapsed: float
