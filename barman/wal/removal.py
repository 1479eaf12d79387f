"""Remove the WAL that nothing needs: files first, then their index lines; between the scripts of `wal_delete`."""

from __future__ import annotations

import os

from barman.errors import HookAborted
from barman.logs import Log
from barman.typing import TYPE_CHECKING
from barman.wal.expire import WalNeeds, gather_needs, plan_expiry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from barman.catalog.backup_id import BackupId
    from barman.catalog.catalog import Catalog
    from barman.catalog.view import CatalogView
    from barman.hooks.hooks import Hooks
    from barman.report import Reporter

_LOG = Log(__name__)


def remove_unneeded_wals(
    catalog: Catalog,
    view: CatalogView,
    gone: Collection[BackupId],
    reporter: Reporter,
    hooks: Hooks | None = None,
    permitted: Collection[str] = (),
) -> list[str]:
    """Remove every archived file that no backup but those `gone` needs; answer their names.

    The caller holds the server's backup lock, so that no backup begins meanwhile. Killed anywhere, the next call
    finishes it: a line whose file is gone is found again, and removed. Each name is reported as the original does.
    Scripts are asked about files that are not among `permitted`; one that forbids a file keeps it and all later ones,
    and the next removal asks again. Raises OSError.
    """
    needs = gather_needs(view, gone)
    if needs.unknown is not None:
        _LOG.warning("no WAL of server %s is removed: %s", view.server_name, needs.unknown)
        reporter.debug(f"no WAL is removed: {needs.unknown}")
        return []
    names = plan_expiry(_candidates(catalog, needs), needs)
    scripts = _Scripts(catalog, hooks) if hooks is not None and hooks.present("wal_delete") else None
    if scripts is not None:
        names = scripts.ask(names, frozenset(permitted), reporter)
    if names:
        reporter.info("Delete associated WAL segments:")
        for name in names:
            reporter.info(f"\t{name}")
        try:
            catalog.wals.remove(names)
            catalog.xlogdb.remove(names)
        except OSError as error:
            if scripts is not None:
                scripts.tell(str(error))
            raise
        _LOG.info("removed %d WAL files of server %s: %s to %s", len(names), view.server_name, names[0], names[-1])
        if scripts is not None:
            scripts.tell()
    return names


class Expiry:
    """The archive as deletions in a row leave it, without carrying them out.

    Asks the directories alone, so that not even a cache is written; each name is read once, when it may be removable.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._wals = catalog.wals
        self._names: dict[int, _Reading] | None = None
        self._still_needed: list[str] = []

    def take(self, needs: WalNeeds) -> list[str]:
        """Take away, and return, the archived files that nothing needs."""
        if needs.unknown is not None:
            return []
        if self._names is None:
            found = self._wals.timelines()
            self._names = {timeline: _Reading(self._wals.names(timeline=timeline)) for timeline in found}
        for timeline, reading in self._names.items():
            self._still_needed += reading.up_to(needs.first_sure(timeline))
        unneeded = plan_expiry(self._still_needed, needs)
        gone = frozenset(unneeded)
        self._still_needed = [name for name in self._still_needed if name not in gone]
        return unneeded


class _Reading:
    """Names in ascending order, read as far as somebody has asked."""

    def __init__(self, names: Iterator[str]) -> None:
        self._names = names
        self._next: str | None = None

    def up_to(self, last: str | None) -> Iterator[str]:
        """Yield the names from where the last call ended, up to `last` (all of them without one)."""
        while (name := self._next or next(self._names, None)) is not None:
            self._next = name
            if last is not None and name > last:
                return
            self._next = None
            yield name


def permit_removal(catalog: Catalog, view: CatalogView, gone: Collection[BackupId], hooks: Hooks) -> list[str]:
    """Ask the scripts about every file that goes when the backups `gone` are deleted; answer the names.

    Done before a deletion leaves its first mark. Raises HookAborted when a script forbids one.
    """
    needs = gather_needs(view, gone)
    if needs.unknown is not None or not hooks.present("wal_delete"):
        return []
    scripts = _Scripts(catalog, hooks)
    names = plan_expiry(_candidates(catalog, needs), needs)
    for name in names:
        scripts.before(name)
    return names


class _Scripts:
    """The scripts around the files of one removal. What they are told of a file is found out before it goes."""

    def __init__(self, catalog: Catalog, hooks: Hooks) -> None:
        self._catalog = catalog
        self._hooks = hooks
        self._told: dict[str, dict[str, str]] = {}

    def ask(self, names: list[str], permitted: frozenset[str], reporter: Reporter) -> list[str]:
        """Return the names up to the first one that a script forbids."""
        for count, name in enumerate(names):
            try:
                if name in permitted:
                    self._find_out(name)
                else:
                    self.before(name)
            except HookAborted as abortion:
                self._told.pop(name, None)
                reporter.warning(f"WAL from {name} on is kept: {abortion.message}")
                return names[:count]
        return names

    def before(self, name: str) -> None:
        """Run the scripts before a file goes; a line of the index without a file is none of their business."""
        told = self._find_out(name)
        if told is not None:
            self._hooks.before("wal_delete", told)

    def tell(self, error: str = "") -> None:
        """Run the scripts after the files have gone; those that are still there did not, because of the error."""
        for name, told in self._told.items():
            if error and os.path.lexists(told["BARMAN_FILE"]):
                server = self._catalog.layout.server_name
                told["BARMAN_ERROR"] = f"Ignoring deletion of WAL file {name} for server {server}: {error}"
            self._hooks.after("wal_delete", told)

    def _find_out(self, name: str) -> dict[str, str] | None:
        from barman.hooks.environment import wal_variables
        from barman.wal.commit import describe

        path = self._catalog.layout.wal_path(name)
        try:
            file = describe(name, path)
        except FileNotFoundError:
            return None
        told = wal_variables(name, path, file.size, file.time, file.compression)
        self._told[name] = told
        return told


def _candidates(catalog: Catalog, needs: WalNeeds) -> Iterator[str]:
    """Names in the archive or in its index that may be removable: both are asked, neither is read to its end."""
    with catalog.index() as index:
        for timeline in sorted({*index.timelines(), *catalog.wals.timelines()}):
            last = needs.first_sure(timeline)
            first = f"{timeline:08X}"
            yield from (file.name for file in index.files(first, last or f"{timeline:08X}~"))
            yield from catalog.wals.names(first, last or f"{timeline:08X}~", timeline=timeline)
