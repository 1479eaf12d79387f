"""`errors/`: files that were refused. Nothing is ever deleted or overwritten here.

A file is named `<original>.<UTC time>.duplicate` or `.unknown`. Why it was refused is told by a hidden file beside it,
`.<that name>.reason`, which the original ignores.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from barman.errors import WalError
from barman.fs import durable
from barman.postgres.wal_name import is_wal_name
from barman.values import dataclass
from barman.wal.source import Found

_REASON_SUFFIX = ".reason"
_NAME = re.compile(r"(.+)\.(\d{8}T\d{6}Z)\.(\w+)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Refused:
    """A file in the errors directory. `wal_name` is the name it came with, `time` when it was set aside, if known."""

    name: str
    path: str
    wal_name: str
    kind: str
    time: datetime | None
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class RefusedList:
    """What is in the errors directory of a server."""

    server_name: str
    files: tuple[Refused, ...]


def set_aside(found: Found, errors_directory: str, kind: str, reason: str, now: datetime) -> str:
    """Move a file of a queue into the errors directory, durably, and note the reason; answer its new path.

    `kind` is `duplicate` or `unknown`. When two files meet in the same second, the later one gets the next free one.
    What a killed run has begun is completed. Raises OSError.
    """
    durable.make_directory(errors_directory)
    if found.regular:
        durable.sync_file(found.path)
        begun = _begun(found, errors_directory)
        if begun is not None:
            durable.sync_directory(errors_directory)
            durable.remove([found.path])
            return begun
    moment = now.astimezone(timezone.utc)
    while True:
        path = os.path.join(errors_directory, f"{found.name}.{moment:%Y%m%dT%H%M%SZ}.{kind}")
        if not os.path.lexists(path):
            # The note first: a file that is here is never without it.
            durable.write_atomic(_reason_path(path), reason + "\n")
            try:
                durable.move(found.path, path)
                return path
            except FileExistsError:
                pass
        moment += timedelta(seconds=1)


def _begun(found: Found, errors_directory: str) -> str | None:
    """The same file, under a second name that a killed run gave it; a file with one name has none."""
    own = os.lstat(found.path)
    if own.st_nlink == 1:
        return None
    with os.scandir(errors_directory) as entries:
        for entry in entries:
            if entry.name.startswith(f"{found.name}.") and os.path.samestat(entry.stat(follow_symlinks=False), own):
                return entry.path
    return None


def reason_of(path: str) -> str | None:
    """Why the file at `path` in the errors directory was refused, if that was noted."""
    try:
        with open(_reason_path(path), encoding="utf-8", errors="replace") as file:
            return file.read(4096).strip()
    except OSError:
        return None


def list_refused(errors_directory: str) -> list[Refused]:
    """Everything in the errors directory, in the order of names. A directory that does not exist is empty."""
    try:
        with os.scandir(errors_directory) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        return []
    return [_describe(errors_directory, name) for name in names]


def _describe(directory: str, name: str) -> Refused:
    path = os.path.join(directory, name)
    try:
        size = os.lstat(path).st_size
    except FileNotFoundError:
        size = 0
    match = _NAME.match(name)
    if match is None:
        return Refused(name, path, name, "", None, size, reason_of(path) or "")
    moment = datetime.strptime(match.group(2), "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    return Refused(name, path, match.group(1), match.group(3), moment, size, reason_of(path) or "")


def choose(refused: Sequence[Refused], word: str) -> list[Refused]:
    """The files that a word names: one, those that came with that name, or `all`. Raises WalError if there are none."""
    chosen = [file for file in refused if word in ("all", file.name, file.wal_name)]
    if not chosen:
        raise WalError(f"there is no file '{word}' in the errors directory", hint="List them without an option.")
    return chosen


def retry(file: Refused, incoming_directory: str) -> None:
    """Put a file back into the queue under the name it came with: the archiver judges it anew.

    Raises WalError when it cannot be archived under that name, or when the queue has another one.
    """
    if not is_wal_name(file.wal_name) or os.path.islink(file.path) or not os.path.isfile(file.path):
        raise WalError(f"'{file.name}' cannot be archived: '{file.wal_name}' is not the name of a WAL file")
    durable.make_directory(incoming_directory)
    try:
        durable.move(file.path, os.path.join(incoming_directory, file.wal_name))
    except FileExistsError:
        raise WalError(f"'{file.name}' cannot be retried now: a file '{file.wal_name}' waits already") from None
    durable.remove([_reason_path(file.path)])


def drop(file: Refused) -> None:
    """Remove a file for good, and the note about it."""
    if os.path.isdir(file.path) and not os.path.islink(file.path):
        durable.remove_tree(file.path)
    durable.remove([file.path, _reason_path(file.path)])


def _reason_path(path: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}{_REASON_SUFFIX}")
