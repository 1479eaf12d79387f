"""Move a tree into another one of the same file system, file by file, over what is there. Not durable yet."""

from __future__ import annotations

import os

from barman.fs.copying import copy_attributes, ensure_directory
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def merge_tree(source: str, target: str, is_left: Callable[[str, bool], bool]) -> None:
    """Move the content of `source` into the directory `target`, which gets its mode and times.

    A file replaces one of its name; a directory is filled. What `is_left` says of a relative path stays; it
    is told whether that is a link. Raises OSError, also where a link is in the way of a directory.
    """
    _merge(source, target, "", is_left)


def _merge(source: str, target: str, prefix: str, is_left: Callable[[str, bool], bool]) -> None:
    with os.scandir(source) as found:
        entries = list(found)
    for entry in entries:
        if is_left(prefix + entry.name, entry.is_symlink()):
            continue
        path = os.path.join(target, entry.name)
        if entry.is_dir(follow_symlinks=False):
            ensure_directory(path)
            _merge(entry.path, path, f"{prefix}{entry.name}/", is_left)
        else:
            os.replace(entry.path, path)
    copy_attributes(os.stat(source), target)


def move_file(source: str, target: str) -> None:
    """Give a file another name, that of an existing one too."""
    os.replace(source, target)
