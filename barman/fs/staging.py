"""Private directories for what is needed for a moment: only we can enter them, and they go on every way out."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def private_directory(path: str) -> Iterator[str]:
    """Make a directory with mode 0700 that did not exist, and remove it with all that is in it. Raises OSError."""
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def link(target: str, path: str) -> None:
    """Make a symbolic link."""
    os.symlink(target, path)


def sweep(parent: str, name: str) -> None:
    """Remove the directories `NAME-PID` of ours whose process is gone: it was killed."""
    pattern = re.compile(re.escape(name) + r"-(\d+)\Z")
    try:
        entries = list(os.scandir(parent))
    except OSError:
        return
    for entry in entries:
        match = pattern.match(entry.name)
        if match is None or not entry.is_dir(follow_symlinks=False):
            continue
        if entry.stat(follow_symlinks=False).st_uid == os.geteuid() and not _alive(int(match[1])):
            shutil.rmtree(entry.path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # An earlier process had our id.
        return pid != os.getpid()
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
