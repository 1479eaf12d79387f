"""What a backup with rsync copies, what it leaves out, and what it need not copy again. Pure.

Source inventory, copy and restore speak of the same things: every tablespace, the data directory, the control file
last, and configuration files that live elsewhere.
"""

from __future__ import annotations

import math
import posixpath

from barman.backup.copy_rules import Choice, Rule, literal, prefix
from barman.backup.listing import Listing
from barman.errors import BackupError
from barman.postgres.data_directory import (
    CONTROL_FILE,
    LEFT_OUT_EVERYWHERE,
    LEFT_OUT_OF_PGDATA,
    TABLESPACE_LINKS,
)
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from barman.backup.listing import ListedFile
    from barman.postgres.facts import ServerFacts, TablespaceFact

HORIZON_MARGIN = 2.0
"""Seconds before the beginning of a backup in which a modification is not trusted: one for times in whole seconds, one
for the clock of the kernel's file systems, which is a little late."""

_FILE_COST = 64 * 1024
"""What a file costs besides its bytes, in bytes."""
_SMALLEST_SHARE = 32 * 1024 * 1024
"""Less than this is not worth a process and an ssh connection of its own."""
_UNIT_DEPTH = 2
"""How deep the directories lie that are shared out: `base/16384`."""
_FAIR = 1.3
"""How much the largest share may exceed the mean."""
_MANY_UNITS = 500
"""rsync compares every file with a rule for every unit of the others."""
_SMALL_FILE = 256 * 1024


@dataclass(frozen=True, slots=True)
class DirectoryCopy:
    """A tree to copy. `pruned` paths are copied by another part of the plan: left out here and kept at the end."""

    label: str
    source: str
    destination: str
    rules: tuple[Rule, ...]
    pruned: tuple[str, ...] = ()
    only: str = ""
    """The pattern of what is copied at the top; everything when empty."""
    bandwidth_limit: int | None = None
    """Kilobytes a second; None for no limit."""

    def wanted(self, listing: Listing) -> Listing:
        """Return the part of the source that is copied."""
        choice = Choice((*(Rule(False, "/" + literal(path)) for path in self.pruned), *self.rules))
        return Listing(
            {path: file for path, file in listing.files.items() if choice.wants(path)},
            {path: mode for path, mode in listing.directories.items() if choice.wants(path)},
            tuple(path for path in listing.others if choice.wants(path)),
        )


@dataclass(frozen=True, slots=True)
class FileCopy:
    """A single file to copy; an `optional` one may be missing on the host."""

    label: str
    source: str
    destination: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """Everything to copy: trees (tablespaces first), then single files, then the control file after all else.

    `not_copied` are included configuration files outside the data directory: the operator has to save them.
    """

    directories: tuple[DirectoryCopy, ...]
    files: tuple[FileCopy, ...]
    control_file: FileCopy
    not_copied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of the copy go, and how fast they may travel (kB/s)."""

    data: str
    tablespace: Callable[[int], str]
    bandwidth_limit: int | None = None
    tablespace_limits: Mapping[str, int] | None = None


def plan_copy(facts: ServerFacts, places: Places, real_paths: Mapping[str, str] | None = None) -> CopyPlan:
    """Plan the copy of a running cluster. Raises BackupError when the server does not say where its files are.

    `real_paths` maps the data directory and tablespace locations to themselves without symbolic links, where known: a
    tablespace may lie inside the data directory by another name.
    """
    if not facts.data_directory:
        raise BackupError(
            "cannot tell where the data directory is",
            hint="Grant pg_read_all_settings (or pg_monitor) to the user of conninfo.",
        )
    pgdata = _clean(facts.data_directory)
    real = {_clean(path): _clean(target) for path, target in (real_paths or {}).items()}
    # One that lies in place (`pg_tblspc/OID`, a relative location) is part of the data directory.
    tablespaces = [item for item in facts.tablespaces if item.location.startswith("/")]
    trees = [_tablespace_copy(item, str(facts.version.major_text), places) for item in tablespaces]
    pruned = [f"{TABLESPACE_LINKS}/{item.oid}" for item in tablespaces]
    pruned += filter(None, (_inside(_clean(item.location), pgdata, real) for item in tablespaces))
    trees.append(
        DirectoryCopy(
            label="pgdata",
            source=pgdata,
            destination=places.data,
            rules=_rules((*LEFT_OUT_OF_PGDATA, *LEFT_OUT_EVERYWHERE)),
            pruned=tuple(dict.fromkeys(pruned)),
            bandwidth_limit=places.bandwidth_limit or None,
        )
    )
    control = FileCopy("pg_control", f"{pgdata}/{CONTROL_FILE}", f"{places.data}/{CONTROL_FILE}")
    outside = [path for path in facts.included_files if _inside(_clean(path), pgdata, real) is None]
    return CopyPlan(tuple(trees), tuple(_configuration(facts, pgdata, real, places)), control, tuple(outside))


def _tablespace_copy(item: TablespaceFact, major: str, places: Places) -> DirectoryCopy:
    limit = (places.tablespace_limits or {}).get(item.name, places.bandwidth_limit)
    return DirectoryCopy(
        label=item.name,
        source=_clean(item.location),
        destination=places.tablespace(item.oid),
        # Other major versions may have directories of their own at the same place.
        rules=(Rule(True, f"/PG_{major}_*"), Rule(False, "/*"), *_rules(LEFT_OUT_EVERYWHERE)),
        only=f"PG_{major}_*",
        bandwidth_limit=limit or None,
    )


def _configuration(facts: ServerFacts, pgdata: str, real: Mapping[str, str], places: Places) -> Iterable[FileCopy]:
    for label, path in (
        ("config_file", facts.config_file),
        ("hba_file", facts.hba_file),
        ("ident_file", facts.ident_file),
    ):
        if path and _inside(_clean(path), pgdata, real) is None:
            name = posixpath.basename(path)
            yield FileCopy(label, _clean(path), f"{places.data}/{name}", optional=label == "ident_file")


def _rules(patterns: Iterable[str]) -> tuple[Rule, ...]:
    return tuple(Rule(False, pattern) for pattern in patterns)


def _clean(path: str) -> str:
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _is_inside(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")


def _inside(path: str, pgdata: str, real: Mapping[str, str]) -> str | None:
    """Return a path relative to the data directory when it lies inside, by whole components, by any known name."""
    for root in dict.fromkeys((pgdata, real.get(pgdata, pgdata))):
        for name in dict.fromkeys((path, real.get(path, path))):
            if _is_inside(name, root) and name != root:
                return name[len(root) + 1 :]
    return None


# -- what changed ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selection:
    """How the files of one tree get into the new backup.

    `unchanged` are certainly those of the reference; `changed` are copied; `doubtful` look the same and are compared by
    content.
    """

    unchanged: tuple[ListedFile, ...]
    changed: tuple[ListedFile, ...]
    doubtful: tuple[ListedFile, ...]


def select_files(source: Listing, reference: Listing | None, begun: datetime | None) -> Selection:
    """Compare a tree with the copy of it in the reference backup, which began at `begun` by the server's clock.

    Give None for `begun` when the reference may have been taken from another host, such as the standby: equal times
    mean nothing then.

    A file counts as unchanged when size, mode and second of modification are those of the copy, and that moment lies
    before the reference began to be copied: a later modification would carry a later time. One that was modified while
    the reference was taken may have changed again within the same second after it was read: it is compared by content.
    """
    if reference is None:
        return Selection((), tuple(source.files.values()), ())
    horizon = begun.timestamp() if begun is not None else -math.inf
    unchanged: list[ListedFile] = []
    changed: list[ListedFile] = []
    doubtful: list[ListedFile] = []
    for path, file in source.files.items():
        copy = reference.files.get(path)
        if copy is None or (copy.size, copy.second) != (file.size, file.second):
            changed.append(file)
        elif file.second + HORIZON_MARGIN <= horizon and copy.mode == file.mode:
            unchanged.append(file)
        else:
            doubtful.append(file)
    return Selection(tuple(unchanged), tuple(changed), tuple(doubtful))


# -- shares of the work ----------------------------------------------------------------------------------------------


def share_out(files: Sequence[ListedFile], jobs: int) -> tuple[tuple[ListedFile, ...], ...]:
    """Divide files into at most `jobs` shares of about the same cost; small work is not divided. No share is empty."""
    total = sum(_cost(file) for file in files)
    count = max(1, min(jobs, total // _SMALLEST_SHARE))
    shares: list[list[ListedFile]] = [[] for _ in range(count)]
    loads = [0] * count
    # The largest first, each to whoever has least: no share exceeds another by more than one file.
    for file in sorted(files, key=lambda file: (-file.size, file.path)):
        lightest = loads.index(min(loads))
        shares[lightest].append(file)
        loads[lightest] += _cost(file)
    return tuple(tuple(share) for share in shares if share)


def share_by_directory(files: Sequence[ListedFile], jobs: int) -> tuple[tuple[str, ...], ...]:
    """Divide a tree into at most `jobs` shares of whole directories (and single files near the root), about equal.

    A share is a list of paths; the first one is what the others leave. Empty when that would be unfair: then files are
    to be shared out by name.
    """
    total = sum(_cost(file) for file in files)
    count = max(1, min(jobs, total // _SMALLEST_SHARE))
    split = {"/".join(file.path.split("/", 1)[:1]) for file in files if file.path.count("/") >= _UNIT_DEPTH}
    units: dict[str, int] = {}
    for file in files:
        parts = file.path.split("/", _UNIT_DEPTH)
        if len(parts) > _UNIT_DEPTH:
            unit = "/".join(parts[:_UNIT_DEPTH])
        else:
            unit = file.path if len(parts) == 1 or parts[0] in split else parts[0]
        units[unit] = units.get(unit, 0) + _cost(file)
    shares: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for unit in sorted(units, key=lambda unit: (-units[unit], unit)):
        lightest = loads.index(min(loads))
        shares[lightest].append(unit)
        loads[lightest] += units[unit]
    if count > 1 and (max(loads) * count > total * _FAIR or len(units) > _MANY_UNITS):
        # Small files are a matter of round trips, not of bytes: one rsync that walks is faster than two with names.
        small = sum(file.size for file in files) < len(files) * _SMALL_FILE
        return (tuple(units),) if small else ()
    return tuple(tuple(share) for share in shares if share)


def walk_filters(tree: DirectoryCopy, others: Sequence[str], shares: Sequence[Sequence[str]], number: int) -> list[str]:
    """Return rsync's rules for walking share `number` of a tree, `others` (what is no file) left out.

    The first share walks the whole tree without the units of the other shares, so that what is new comes along once.
    """
    lines = [f"- /{literal(path)}" for path in (*tree.pruned, *others)]
    if number == 0:
        lines += [f"- /{literal(unit)}" for share in shares[1:] for unit in share]
        return lines + [rule.text for rule in tree.rules]
    lines += [rule.text for rule in tree.rules]
    parents = {unit.rpartition("/")[0] for unit in shares[number]} - {""}
    lines += [f"+ /{literal(parent)}/" for parent in sorted(parents)]
    for unit in shares[number]:
        lines += [f"+ /{literal(unit)}", f"+ /{prefix(unit)}/**"]
    return [*lines, "- *"]


def _cost(file: ListedFile) -> int:
    return file.size + _FILE_COST


def share_of_bandwidth(limit: int | None, workers: int) -> int | None:
    """Return what each of some workers may use so that all together keep the limit; at least 1 kB/s."""
    return max(1, limit // max(1, workers)) if limit else None
