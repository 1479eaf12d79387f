"""The durable order of one group of WAL files: publish, index, and only then drop the sources.

Killed anywhere, the next run finishes: a source is unlinked only when its bytes are in the archive under their final
name, the name is durable and the index has the line. Until then the source is still in its queue, and meets its own
archived copy as an identical file.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection, Sequence

from barman.catalog.catalog import Catalog
from barman.catalog.wal_content import recognise_file
from barman.catalog.wal_digests import WalDigest
from barman.catalog.wal_file import WalFile
from barman.compression.codec import CustomFilters
from barman.fs import durable
from barman.values import dataclass
from barman.wal.admission import Decision
from barman.wal.source import Found


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file of the queue with the decision about it.

    `temporary` holds the durable, encoded bytes of one that is archived, `digest` what it contains when it is
    encrypted; `failed` says that a file is left because of an error, not because it has time.
    """

    found: Found
    decision: Decision
    final_path: str
    reasons: tuple[str, ...] = ()
    temporary: str = ""
    wal: WalFile | None = None
    failed: bool = False
    digest: WalDigest | None = None


def commit(catalog: Catalog, group: Sequence[Prepared], custom: CustomFilters | None = None) -> None:
    """Make a group of new and identical files archived, in the order of the group; other decisions are ignored.

    Order: digests of encrypted files synced; names published and their directories synced; archived copies of identical
    files synced; missing index lines appended and synced; sources unlinked and their directory synced. Raises OSError;
    what was done by then stays, and a repetition completes it.
    """
    new = [item for item in group if item.decision is Decision.ARCHIVE]
    identical = [item for item in group if item.decision is Decision.IDENTICAL]
    catalog.wal_digests.remember([item.digest for item in new if item.digest is not None])
    durable.publish([(item.temporary, item.final_path) for item in new])
    for item in identical:
        # Whoever published it may have been killed before this.
        durable.sync_file(item.final_path)
    durable.sync_directories(os.path.dirname(item.final_path) for item in identical)
    listed = listed_names(catalog, [item.found.name for item in identical])
    lines = [
        item.wal or describe(item.found.name, item.final_path, custom)
        for item in group
        if item.decision is Decision.ARCHIVE or (item.decision is Decision.IDENTICAL and item.found.name not in listed)
    ]
    catalog.xlogdb.append(lines)
    durable.remove(item.found.path for item in (*new, *identical) if not item.found.keep)


def describe(name: str, path: str, custom: CustomFilters | None = None) -> WalFile:
    """The index entry of an archived file, from the file itself. Raises OSError."""
    facts = os.stat(path)
    compression, encryption = recognise_file(path, custom)
    return WalFile(name, facts.st_size, facts.st_mtime, compression, encryption)


def listed_names(catalog: Catalog, names: Collection[str]) -> set[str]:
    """Those of the names that have a line in the index. Searched from the end, where recent files are.

    Under the index's lock: the original rewrites in place, and a file that shrinks below its mapping kills the reader.
    """
    if not names:
        return set()
    with catalog.locks.xlogdb():
        return _search(catalog.xlogdb.path, names)


def _search(index: str, names: Collection[str]) -> set[str]:
    try:
        with open(index, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return {name for name in names if _has_line(content, name.encode("ascii"))}
    except (FileNotFoundError, ValueError):
        # No index, or an empty one, which cannot be mapped.
        return set()


def _has_line(content: mmap.mmap, name: bytes) -> bool:
    start = content.rfind(b"\n" + name + b"\t") + 1
    if start == 0 and content[: len(name) + 1] != name + b"\t":
        return False
    return content.find(b"\n", start) >= 0
