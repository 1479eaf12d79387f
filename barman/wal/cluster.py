"""What is known of the cluster whose WAL a server of ours archives: what comes in is compared with it.

Nothing here needs the live server: put-wal runs once a segment, and the archive outlives the server. It is asked only
by who has nothing else to go by.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from barman.catalog.identity import Identity
from barman.compression.codec import CodecError, CustomFilters, decoded
from barman.encryption.openpgp import EncryptionError
from barman.errors import BarmanError, CatalogError
from barman.postgres.wal_name import is_segment_name, is_segment_size
from barman.typing import TYPE_CHECKING
from barman.values import dataclass
from barman.wal import header
from barman.wal.source import Found

if TYPE_CHECKING:
    from barman.catalog.catalog import Catalog
    from barman.server.server import Server

_RECORDS = 8
_SAMPLES = 3
_MAX_RECORD = 1 << 20
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """System identifier (decimal) and size of a WAL segment; None is not known."""

    system_id: str | None = None
    segment_size: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is nothing left to find out."""
        return self.system_id is not None and self.segment_size is not None

    def completed_by(self, other: Cluster) -> Cluster:
        """This, with what only the other one knows."""
        return Cluster(self.system_id or other.system_id, self.segment_size or other.segment_size)


UNKNOWN = Cluster()


def known_cluster(
    catalog: Catalog, queue: Sequence[Found], custom: CustomFilters | None, warn: Callable[[str], object]
) -> Cluster:
    """What the catalog says: the recorded identity, the last good backups, else the archived WAL, else the queue.

    An identity that cannot be read is told to `warn`; system identifiers are not compared then.
    """
    found = Cluster(segment_size=_recorded_size(catalog))
    try:
        identity = catalog.identity.read()
    except CatalogError as error:
        warn(f"{error.message}: WAL is taken without comparing its system identifier")
        sampled = _sample(_archived(catalog), custom).completed_by(_sample(_queued(queue), custom))
        return found.completed_by(Cluster(None, sampled.segment_size))
    if identity is not None:
        found = found.completed_by(Cluster(system_id=identity.systemid))
    for paths in (_archived(catalog), _queued(queue)):
        if not found.is_known:
            found = found.completed_by(_sample(paths, custom))
    return found


def live_cluster(server: Server) -> Cluster:
    """What PostgreSQL itself says, if it can be reached within a few seconds; UNKNOWN otherwise.

    The answer is recorded as the identity of the repository, so that the next segment need not ask again.
    """
    from barman.clock import Deadline
    from barman.postgres.identity import fetch_identity

    try:
        server.postgres.limit_statements(Deadline(_PATIENCE))
        cluster = Cluster(*fetch_identity(server.postgres))
        version = server.postgres.server_version.major_text
    except BarmanError:
        return UNKNOWN
    finally:
        server.close()
    if cluster.system_id is not None:
        _record(server.catalog, Identity(cluster.system_id, version))
    return cluster


def _record(catalog: Catalog, identity: Identity) -> None:
    """Others record it as well, and nothing here depends on it: a failure is theirs to tell."""
    try:
        catalog.identity.ensure(identity)
    except (BarmanError, OSError):
        pass


def _recorded_size(catalog: Catalog) -> int | None:
    """The segment size in the newest record of a finished backup; only these two of its lines are read.

    Others may have been written before the server was asked.
    """
    layout = catalog.layout
    try:
        names = os.listdir(layout.meta_directory)
    except OSError:
        return None
    for backup_id in sorted(layout.record_ids(names), reverse=True)[:_RECORDS]:
        try:
            with open(layout.backup_info(backup_id), "rb") as file:
                lines = file.read(_MAX_RECORD).splitlines()
        except OSError:
            continue
        values = dict(line.partition(b"=")[::2] for line in lines)
        if values.get(b"status") in (b"DONE", b"WAITING_FOR_WALS"):
            # More digits than a segment size has are no size, and cannot be converted at any length.
            text = values.get(b"xlog_segment_size", b"")
            if text.isdigit() and len(text) <= 10 and is_segment_size(int(text)):
                return int(text)
    return None


def _archived(catalog: Catalog) -> Iterator[str]:
    """The newest archived segment of each timeline, of the latest timelines first."""
    store = catalog.wals
    for timeline in reversed(store.timelines()):
        name = store.newest_segment(timeline)
        if name is not None:
            yield catalog.layout.wal_path(name)


def _queued(queue: Iterable[Found]) -> Iterator[str]:
    return (found.path for found in queue if is_segment_name(found.name) and found.size)


def _sample(paths: Iterable[str], custom: CustomFilters | None) -> Cluster:
    """What the first sound segment says of itself; unsound ones are passed over."""
    for number, path in enumerate(paths):
        if number >= _SAMPLES:
            break
        try:
            with decoded(path, custom) as stream:
                verdict = header.judge(stream, os.path.basename(path))
        except (OSError, CodecError, EncryptionError):
            continue
        if verdict.ok and verdict.header is not None:
            return Cluster(str(verdict.header.system_id), verdict.header.segment_size)
    return UNKNOWN
