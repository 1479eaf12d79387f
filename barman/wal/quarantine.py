"""`errors/`: files that were refused. Nothing is ever deleted or overwritten here.

A file is named `<original>.<UTC time>.duplicate` or `.unknown`. Why it was refused is told by a hidden file beside it,
`.<that name>.reason`, which the original ignores.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

from barman.fs import durable
from barman.wal.source import Found

_REASON_SUFFIX = ".reason"


def set_aside(found: Found, errors_directory: str, kind: str, reason: str, now: datetime) -> str:
    """Move a file of a queue into the errors directory, durably, and note the reason; answer its new path.

    `kind` is `duplicate` or `unknown`. When two files meet in the same second, the later one gets the next free one.
    Raises OSError.
    """
    durable.make_directory(errors_directory)
    if found.regular:
        durable.sync_file(found.path)
    moment = now.astimezone(timezone.utc)
    while True:
        path = os.path.join(errors_directory, f"{found.name}.{moment:%Y%m%dT%H%M%SZ}.{kind}")
        try:
            durable.move(found.path, path)
            break
        except FileExistsError:
            moment += timedelta(seconds=1)
    durable.write_atomic(_reason_path(path), reason + "\n")
    return path


def reason_of(path: str) -> str | None:
    """Why the file at `path` in the errors directory was refused, if that was noted."""
    try:
        with open(_reason_path(path), encoding="utf-8", errors="replace") as file:
            return file.read(4096).strip()
    except OSError:
        return None


def _reason_path(path: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}{_REASON_SUFFIX}")
