"""Which segments the archive holds, as runs of numbers: the truth of the directories at the price of their stats.

A million segments lie in four thousand directories. A directory in which nothing was created or removed keeps its
inode change time, which no program can set: what it held when it was last listed is remembered in a file beside the
records, a cache that may be deleted at any time.
"""

from __future__ import annotations

import os
import re

from barman import clock
from barman.errors import BarmanError, CatalogError
from barman.fs.durable import write_atomic
from barman.postgres.wal_name import is_segment_name, segments_per_log
from barman.postgres.wal_run import join_numbers, join_runs
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.catalog.layout import Layout
    from barman.postgres.wal_run import Run, Runs

_MAGIC = "barman wal runs 1"
_HASH_DIRECTORY = re.compile(r"[0-9A-F]{16}\Z")
_SETTLED_NS = 2_000_000_000
"""A directory that changed so shortly ago could change again without a new time."""
_WORTH_SAVING = 32
"""Fewer directories than this are listed again by each command: one that only asks should not write and sync."""

_Signature = tuple[int, int]
_Known = dict[str, "tuple[_Signature, Runs]"]


def read_runs(layout: Layout, segment_size: int, *, strict: bool = False) -> dict[int, Runs]:
    """Every complete segment of the archive by timeline, numbered from position 0.

    Names that cannot be of this segment size are left out. A directory that is missing or unreadable holds nothing;
    `strict` readers, who would delete something because of that, get a CatalogError instead.
    """
    known = _load(layout.wal_runs)
    seen: _Known = {}
    fresh = 0
    limit = clock.timestamp() * 1e9 - _SETTLED_NS
    for name in _directories(layout.wals_directory, strict):
        path = os.path.join(layout.wals_directory, name)
        try:
            facts = os.stat(path)
        except OSError as error:
            _require(not strict or isinstance(error, FileNotFoundError), error)
            continue
        signature = (facts.st_ino, facts.st_ctime_ns)
        before = known.get(name)
        if before is not None and before[0] == signature:
            seen[name] = before
            continue
        try:
            found = join_numbers(_segments(path, name))
        except OSError as error:
            # Not remembered: a disk that stumbles once must not make the directory empty until it changes.
            _require(not strict or isinstance(error, FileNotFoundError), error)
            continue
        settled = facts.st_ctime_ns < limit
        seen[name] = (signature if settled else (0, 0), found)
        fresh += settled
    if fresh >= _WORTH_SAVING:
        _save(layout.wal_runs, seen)
    return _by_timeline({name: runs for name, (_, runs) in seen.items()}, segments_per_log(segment_size))


def _directories(root: str, strict: bool) -> list[str]:
    try:
        return sorted(name for name in os.listdir(root) if _HASH_DIRECTORY.match(name))
    except OSError as error:
        _require(not strict, error)
        return []


def _require(tolerated: bool, error: OSError) -> None:
    if not tolerated:
        raise CatalogError(f"cannot read the WAL archive: {error.filename}: {error.strerror}") from error


def _segments(path: str, directory: str) -> list[int]:
    names = os.listdir(path)
    return [int(name[16:], 16) for name in names if name.startswith(directory) and is_segment_name(name)]


def _by_timeline(held: Mapping[str, Runs], per_log: int) -> dict[int, Runs]:
    found: dict[int, list[Run]] = {}
    for name, runs in held.items():
        base = int(name[8:], 16) * per_log
        possible = [(base + first, base + min(last, per_log - 1)) for first, last in runs if first < per_log]
        if possible:
            found.setdefault(int(name[:8], 16), []).extend(possible)
    return {timeline: join_runs(runs) for timeline, runs in found.items()}


def _save(path: str, seen: _Known) -> None:
    lines = [_MAGIC]
    for name, ((inode, changed), runs) in seen.items():
        if changed:
            lines.append(f"{name} {inode} {changed} {','.join(f'{first}-{last}' for first, last in runs)}")
    try:
        write_atomic(path, "\n".join([*lines, "end", ""]))
    except (OSError, BarmanError):
        return  # a cache that cannot be saved (permissions, a full disk) is done without


def _load(path: str) -> _Known:
    try:
        with open(path, encoding="ascii") as file:
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return {}
    if len(lines) < 2 or lines[0] != _MAGIC or lines[-1] != "end":
        return {}
    try:
        return dict(_parse(line) for line in lines[1:-1])
    except ValueError:
        return {}


def _parse(line: str) -> tuple[str, tuple[_Signature, Runs]]:
    name, inode, changed, text = line.split(" ")
    pairs = [part.split("-") for part in text.split(",")] if text else []
    return name, ((int(inode), int(changed)), tuple((int(first), int(last)) for first, last in pairs))
