"""What a passive node remembers: how far the WAL was copied, what the primary said last, and how its sync went.

The first two are files of the original's (`wals/sync-wals.info`, `primary.info`), written durably. The third is ours:
one small file a step in `meta/`, each written by the one process that does the step. All of them can be lost: a full
synchronisation follows.
"""

from __future__ import annotations

import json
import math
import os

from barman import clock
from barman.errors import SyncError
from barman.fs import durable
from barman.logs import Log
from barman.postgres.wal_name import is_wal_name
from barman.typing import TYPE_CHECKING, Any, Final, Protocol
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barman.catalog.layout import Layout
    from barman.sync.protocol import SyncInfo

_LOG = Log(__name__)
_MAX_STATE: Final = 64 * 1024
_MAX_TEXT: Final = 1000

CONTACT: Final = "contact"
WALS: Final = "wals"
BACKUP: Final = "backup"
STEPS: Final = (CONTACT, WALS, BACKUP)
"""The primary was asked; WAL files were copied; a backup was copied."""


class Warner(Protocol):
    """What is needed of a reporter here."""

    def warning(self, message: str, /) -> None:
        """Tell the operator."""


@dataclass(frozen=True, slots=True)
class SyncPosition:
    """Where the last answer of the primary ended: the name of its last WAL file, and the offset of that line."""

    name: str
    position: int


def read_position(layout: Layout, reporter: Warner | None = None) -> SyncPosition | None:
    """How far the WAL was copied; None before the first copy. A damaged file is told, and counts as none."""
    path = layout.sync_wals_info
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_STATE)
    except FileNotFoundError:
        return None
    except OSError as error:
        return _forget(path, str(error.strerror), reporter)
    words = data.split(b"\t")
    name = words[0].decode("ascii", "replace")
    number = words[1].strip() if len(words) == 2 else b""
    if not is_wal_name(name) or not number.isdigit() or len(number) > 18:
        return _forget(path, f"it reads {data[:60]!r}", reporter)
    return SyncPosition(name, int(number))


def _forget(path: str, reason: str, reporter: Warner | None) -> SyncPosition | None:
    text = f"'{path}' does not tell how far the WAL was copied ({reason}): all of it is compared again"
    _LOG.warning("%s", text)
    if reporter is not None:
        reporter.warning(text)
    return None


def write_position(layout: Layout, position: SyncPosition, covered: Iterable[str] = ()) -> None:
    """Remember how far the WAL was copied: all that the backups `covered` need and the primary has. Raises OSError.

    `covered` are the local backups for which the copy was planned. When there is another one, older WAL than the
    position may be needed, and the primary is asked for all it has (`primary.ask`).
    """
    durable.write_atomic(layout.sync_wals_info, f"{position.name}\t{position.position}")
    known = _read_step(layout, WALS)
    known["covered"] = ",".join(sorted(covered))
    _write_step(layout, WALS, known)


def save_primary(layout: Layout, raw: bytes) -> None:
    """Remember what the primary said. Raises OSError."""
    durable.make_directory(layout.backup_directory)
    durable.write_atomic(layout.primary_info, raw)


def read_primary(layout: Layout, server_name: str) -> SyncInfo:
    """What the primary said last. Raises SyncError when there is nothing that can be read."""
    from barman.sync.protocol import MAX_DOCUMENT, parse

    try:
        with open(layout.primary_info, "rb") as file:
            raw = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise SyncError(
            f"Cannot open primary.info file for server {server_name}: {error.strerror}: '{layout.primary_info}'",
            hint=f"Run 'barman sync-info --primary {server_name}', or wait for the next run of cron.",
        ) from error
    return parse(raw, server_name)


@dataclass(frozen=True, slots=True)
class SyncRecord:
    """How the sync of one server went. Times are seconds of the epoch, None for what never happened.

    `contact_at`, `wals_at`, `backup_at` are the last successes, `full_at` the last complete answer about WAL. `error`
    is the newest failure that no success of the same step followed, `error_at` its time. `missing_*` is what the last
    contact found to be copied; `backup_id` the backup that was copied last.
    """

    contact_at: float | None = None
    wals_at: float | None = None
    backup_at: float | None = None
    full_at: float | None = None
    backup_id: str | None = None
    error: str = ""
    error_at: float | None = None
    missing_backups: int | None = None
    missing_wals: int | None = None
    missing_wal_bytes: int | None = None
    primary_version: str = ""
    asked_for: frozenset[str] = frozenset()
    """The backups that were here when the primary was asked last."""
    covered: frozenset[str] = frozenset()
    """The backups that were here when WAL was copied last."""
    other: str | None = None
    """The primary_ssh_command that was found to lead to another node."""


def read_record(layout: Layout) -> SyncRecord:
    """How the sync went. What cannot be read is unknown."""
    steps = {step: _read_step(layout, step) for step in STEPS}
    contact = steps[CONTACT]
    failures = [(at, str(facts.get("error", ""))) for facts in steps.values() if (at := _time(facts, "error_at"))]
    error_at, error = max(failures, default=(None, ""))
    backup_id, other = steps[BACKUP].get("backup_id"), contact.get("other")
    return SyncRecord(
        contact_at=_time(contact, "at"),
        wals_at=_time(steps[WALS], "at"),
        backup_at=_time(steps[BACKUP], "at"),
        full_at=_time(contact, "full_at"),
        backup_id=backup_id if isinstance(backup_id, str) else None,
        error=error[:_MAX_TEXT],
        error_at=error_at,
        missing_backups=_count(contact, "missing_backups"),
        missing_wals=_count(contact, "missing_wals"),
        missing_wal_bytes=_count(contact, "missing_wal_bytes"),
        primary_version=str(contact.get("primary_version", ""))[:64],
        asked_for=frozenset(str(contact.get("asked_for", "")).split(",")) - {""},
        covered=frozenset(str(steps[WALS].get("covered", "")).split(",")) - {""},
        other=other if isinstance(other, str) else None,
    )


def note_success(layout: Layout, step: str, **facts: int | float | str | None) -> None:
    """Record that a step (CONTACT, WALS, BACKUP) succeeded now, with facts that have names of SyncRecord.

    Facts that are not given stay as they were. Nobody fails because this cannot be written: it is logged.
    """
    known = _read_step(layout, step)
    known.update(facts, at=clock.timestamp())
    for key in ("error", "error_at"):
        known.pop(key, None)
    _write_step(layout, step, known)


def note_facts(layout: Layout, step: str, **facts: int | float | str | None) -> None:
    """Record facts about a step that is not over yet."""
    known = _read_step(layout, step)
    known.update(facts)
    _write_step(layout, step, known)


def note_failure(layout: Layout, step: str, error: str) -> None:
    """Record that a step failed now; its last success stays known."""
    known = _read_step(layout, step)
    known.update(error=error[:_MAX_TEXT], error_at=clock.timestamp())
    _write_step(layout, step, known)


def _read_step(layout: Layout, step: str) -> dict[str, Any]:
    try:
        with open(layout.sync_state(step), "rb") as file:
            loaded = json.loads(file.read(_MAX_STATE))
    except (OSError, ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _write_step(layout: Layout, step: str, facts: dict[str, Any]) -> None:
    path = layout.sync_state(step)
    try:
        durable.make_directory(os.path.dirname(path))
        durable.write_atomic(path, json.dumps(facts, sort_keys=True) + "\n")
    except OSError as error:
        _LOG.warning("cannot write '%s': %s", path, error.strerror)


def _time(facts: dict[str, Any], key: str) -> float | None:
    value = facts.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return None
    return float(value)


def _count(facts: dict[str, Any], key: str) -> int | None:
    value = facts.get(key)
    return value if type(value) is int and value >= 0 else None
