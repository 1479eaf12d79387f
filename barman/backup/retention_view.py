"""The catalog as retention judges it: records, what can be restored, and what tiers have kept. Reads only."""

from __future__ import annotations

from barman.retention.tiers import parse_tiers
from barman.typing import TYPE_CHECKING
from barman.values import replace
from barman.wal.restorable import judged

if TYPE_CHECKING:
    from barman.catalog.catalog import Catalog
    from barman.catalog.view import CatalogView
    from barman.config.server_config import ServerConfig
    from barman.retention.tiers import Tier


def retention_view(catalog: Catalog, view: CatalogView | None = None) -> CatalogView:
    """A snapshot (or the one given) with `unrestorable` and `tiered`. Raises CatalogError, see `judged`."""
    view = judged(catalog, catalog.snapshot() if view is None else view)
    return replace(view, tiered=catalog.keep.tiered(view.keep))


def read_tiers(config: ServerConfig) -> tuple[Tier, ...]:
    """The tiers of a server. Raises ConfigError: while they cannot be read, nothing may be deleted."""
    return parse_tiers(config.retention_tiers) if config.retention_tiers else ()
