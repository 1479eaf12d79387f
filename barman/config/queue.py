"""The queue of configuration changes, as the original keeps it: JSON, a list of sections with their changes.

Whoever writes it holds the lock of `catalog.locks.config_update_lock`. A change set is taken out after it was applied,
so that a crash in between applies it twice, which is the same as once.
"""

from __future__ import annotations

import os

from barman.errors import ConfigError
from barman.typing import TYPE_CHECKING, Any
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Change:
    """One option, its new value as it will stand in the file, and the file that was meant when it was queued."""

    key: str
    value: str
    config_file: str


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """The changes of one section, which are applied together."""

    section: str
    changes: tuple[Change, ...]


class DamagedQueue(ConfigError):
    """The file is not a queue."""


def is_pending(path: str) -> bool:
    """Whether anything may wait there: an idle queue costs cron no more than this."""
    try:
        with open(path, "rb") as file:
            return file.read(16).strip() != b"[]"
    except FileNotFoundError:
        return False
    except OSError:
        return True


def read_queue(path: str) -> list[ChangeSet]:
    """What waits, oldest first; nothing when there is no file. Raises DamagedQueue, and ConfigError if unreadable."""
    import json

    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"cannot read the configuration changes queue '{path}': {error.strerror}") from error
    try:
        if len(data) > _LARGEST:
            raise ValueError("it is too large")
        document = json.loads(data)
        if not isinstance(document, list):
            raise ValueError("it is not a list")
        return [_change_set(item) for item in document]
    except (ValueError, RecursionError) as error:
        raise DamagedQueue(f"Malformed or empty configuration change queue: '{path}': {error}") from error


def _change_set(item: Any) -> ChangeSet:
    if not isinstance(item, dict) or not isinstance(item.get("changes_set"), list):
        raise ValueError("an entry without changes")
    return ChangeSet(_text(item, "section"), tuple(_change(change) for change in item["changes_set"]))


def _change(item: Any) -> Change:
    if not isinstance(item, dict):
        raise ValueError("a change that is none")
    return Change(_text(item, "key"), _text(item, "value"), _text(item, "config_file"))


def _text(item: dict[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise ValueError(f"an entry whose '{name}' is no text")
    return value


def write_queue(path: str, sets: Sequence[ChangeSet]) -> None:
    """Replace the queue, durably. Values may be secret: a new file is for its owner alone."""
    import json

    from barman.fs.durable import write_atomic

    document = [
        {
            "section": one.section,
            "changes_set": [
                {"key": change.key, "value": change.value, "config_file": change.config_file} for change in one.changes
            ],
        }
        for one in sets
    ]
    write_atomic(path, json.dumps(document, indent=2), mode_of(path))


def set_aside(path: str) -> str:
    """Rename a damaged queue, so that it can be looked at, and return its new name."""
    from barman.fs.durable import replace

    name = path + ".damaged"
    replace(path, name)
    return name


def mode_of(path: str) -> int:
    """The permissions that a rewritten file keeps; a new one is for its owner alone."""
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        return 0o600
