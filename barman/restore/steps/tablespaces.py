"""Tablespace links of a restored cluster."""

from __future__ import annotations

import os

from barman.fs import copying, durable
from barman.postgres.data_directory import TABLESPACE_LINKS
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.restore.step import LinkTablespaces
    from barman.restore.workbench import Workbench


def link_tablespaces(step: LinkTablespaces, bench: Workbench) -> None:
    """Point `pg_tblspc/OID` to where each tablespace was restored; a link of an unfinished restore is replaced."""
    directory = os.path.join(step.destination, TABLESPACE_LINKS)
    copying.ensure_directory(directory)
    for link in step.links:
        path = os.path.join(directory, str(link.oid))
        if os.path.islink(path):
            durable.remove([path])
        durable.symlink(link.location, path)
        copying.own_like(path, step.destination)
        bench.reporter.info(f"\t{link.oid}, {link.name}, {link.location}")
