"""Remove the WAL that nothing needs: files first, then their index lines."""

from __future__ import annotations

from barman.logs import Log
from barman.typing import TYPE_CHECKING
from barman.wal.expire import WalNeeds, gather_needs, plan_expiry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from barman.catalog.backup_id import BackupId
    from barman.catalog.catalog import Catalog
    from barman.catalog.view import CatalogView
    from barman.report import Reporter

_LOG = Log(__name__)


def remove_unneeded_wals(
    catalog: Catalog, view: CatalogView, gone: Collection[BackupId], reporter: Reporter
) -> list[str]:
    """Remove every archived file that no backup but those `gone` needs; answer their names.

    The caller holds the server's backup lock, so that no backup begins meanwhile. Killed anywhere, the next call
    finishes it: a line whose file is gone is found again, and removed. Each name is reported as the original does.
    Raises OSError.
    """
    needs = gather_needs(view, gone)
    if needs.unknown is not None:
        _LOG.warning("no WAL of server %s is removed: %s", view.server_name, needs.unknown)
        reporter.debug(f"no WAL is removed: {needs.unknown}")
        return []
    names = plan_expiry(_candidates(catalog, needs), needs)
    if names:
        reporter.info("Delete associated WAL segments:")
        for name in names:
            reporter.info(f"\t{name}")
        catalog.wals.remove(names)
        catalog.xlogdb.remove(names)
        _LOG.info("removed %d WAL files of server %s: %s to %s", len(names), view.server_name, names[0], names[-1])
    return names


def _candidates(catalog: Catalog, needs: WalNeeds) -> Iterator[str]:
    """Names in the archive or in its index that may be removable: both are asked, neither is read to its end."""
    with catalog.index() as index:
        for timeline in sorted({*index.timelines(), *catalog.wals.timelines()}):
            last = needs.first_sure(timeline)
            first = f"{timeline:08X}"
            yield from (file.name for file in index.files(first, last or f"{timeline:08X}~"))
            yield from catalog.wals.names(first, last or f"{timeline:08X}~", timeline=timeline)
