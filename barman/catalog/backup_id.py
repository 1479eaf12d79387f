"""Backup ids, and the words by which operators name a backup. Pure."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta

from barman.errors import CatalogError, UnknownBackup
from barman.typing import NewType, Protocol

BackupId = NewType("BackupId", str)

RESERVED_NAMES = frozenset(
    ("latest", "last", "oldest", "first", "last-failed", "latest-full", "last-full", "auto"),
)
"""Words that can not be the name of a backup."""

_ID = re.compile(r"\d{8}T\d{6}", re.ASCII)


def is_backup_id(text: str) -> bool:
    """Whether the text has the form `YYYYMMDDTHHMMSS`."""
    return _ID.fullmatch(text) is not None


_FORMAT = "%Y%m%dT%H%M%S"
_MOST_MOVED = timedelta(minutes=1)
"""An id further ahead than this is of another clock, and does not count."""


def new_backup_id(now: datetime, taken: Collection[str]) -> BackupId:
    """The id of a backup that starts now: local time to the second, moved forward over ids that are taken.

    The original would reuse a directory when two backups start within one second. Behind an id that was moved forward
    comes the next one, too: a backup that started later has a later id, also when one of them was deleted meanwhile.
    """
    soon = (now + _MOST_MOVED).strftime(_FORMAT)
    newest = max((backup_id for backup_id in taken if is_backup_id(backup_id) and backup_id <= soon), default="")
    while (candidate := now.strftime(_FORMAT)) in taken or candidate < newest:
        now += timedelta(seconds=1)
    return BackupId(candidate)


class NamedRecord(Protocol):
    """What of a record is looked at when a word is resolved."""

    @property
    def status(self) -> str:
        """One of the words of BackupStatus."""

    @property
    def backup_name(self) -> str | None:
        """The name given by the operator."""

    @property
    def backup_type(self) -> str:
        """One of the words of BackupType."""

    @property
    def is_copy_done(self) -> bool:
        """Whether all data are here."""


class NamedRecords(Protocol):
    """What of a catalog is looked at when a word is resolved; `CatalogView` is one."""

    @property
    def server_name(self) -> str:
        """For messages."""

    @property
    def backups(self) -> Mapping[BackupId, NamedRecord]:
        """Records by id."""

    @property
    def corrupt(self) -> Mapping[BackupId, CatalogError]:
        """Errors of unreadable records, by id."""


def _copy_done(info: NamedRecord) -> bool:
    return info.is_copy_done


def _failed(info: NamedRecord) -> bool:
    return info.status == "FAILED"


def _full(info: NamedRecord) -> bool:
    return info.is_copy_done and info.backup_type in ("full", "rsync")


_SHORTCUTS: dict[str, tuple[Callable[[NamedRecord], bool], bool]] = {
    "latest": (_copy_done, True),
    "last": (_copy_done, True),
    "oldest": (_copy_done, False),
    "first": (_copy_done, False),
    "last-failed": (_failed, True),
    "latest-full": (_full, True),
    "last-full": (_full, True),
}


def resolve(word: str, view: NamedRecords) -> BackupId:
    """The backup that an operator means by a shortcut, an id or a name.

    Raises UnknownBackup when there is none, CatalogError when several have that name, and the CorruptRecord itself
    when an id is given whose record cannot be read.
    """
    if word in _SHORTCUTS:
        wanted, newest = _SHORTCUTS[word]
        found = sorted((backup_id for backup_id, info in view.backups.items() if wanted(info)), reverse=newest)
    elif is_backup_id(word):
        backup_id = BackupId(word)
        if backup_id in view.corrupt:
            raise view.corrupt[backup_id]
        found = [backup_id] if backup_id in view.backups else []
    else:
        found = _find_by_name(word, view)
    if not found:
        raise UnknownBackup(f"Unknown backup '{word}' for server '{view.server_name}'")
    return found[0]


def overlooked(word: str, chosen: BackupId | None, view: NamedRecords) -> str:
    """What to say of unreadable records among which the backup may be that a shortcut means; "" for a sure choice."""
    if word not in (*_SHORTCUTS, "auto"):
        return ""
    newest = word == "auto" or _SHORTCUTS[word][1]
    beyond = sorted(i for i in view.corrupt if chosen is None or (i > chosen if newest else i < chosen))
    if not beyond:
        return ""
    records = f"the record of backup {beyond[0]}" if len(beyond) == 1 else f"the records of backups {', '.join(beyond)}"
    return f"{records} cannot be read: '{word}' of server '{view.server_name}' may not be {chosen or 'what it seems'}"


def _find_by_name(name: str, view: NamedRecords) -> list[BackupId]:
    found = sorted(i for i, info in view.backups.items() if info.is_copy_done and info.backup_name == name)
    if len(found) > 1:
        raise CatalogError(
            f"Multiple backups of server '{view.server_name}' are named '{name}': {', '.join(found)}",
            hint="give the id of the backup instead of its name",
        )
    return found


def resolve_or_none(word: str, view: NamedRecords) -> BackupId | None:
    """As `resolve`, but None when there is no such backup."""
    try:
        return resolve(word, view)
    except UnknownBackup:
        return None
