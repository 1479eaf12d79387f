"""Prepare files of a queue for the archive: judge each, and bring the bytes of those that enter beside their place.

Everything here may run in several threads at once; nothing here changes what readers of the archive see.
"""

from __future__ import annotations

import os
import threading

from barman.catalog.catalog import Catalog
from barman.catalog.wal_file import WalFile
from barman.clock import timestamp
from barman.compression.codec import Codec, CodecError, CustomFilters, copy_stream, same_content
from barman.fs import durable
from barman.fs.links import link_beside
from barman.typing import BinaryIO, cast
from barman.wal.admission import Decision, Evidence, admit
from barman.wal.cluster import UNKNOWN
from barman.wal.commit import Prepared
from barman.wal.inspection import Inspection, inspect
from barman.wal.source import Found

_WRITABLE_BY_OTHERS = 0o022


class Staging:
    """Temporaries of one run. As a context manager it removes those that were not published."""

    def __init__(self, catalog: Catalog, codec: Codec | None, custom: CustomFilters | None = None) -> None:
        self._catalog = catalog
        self._codec = codec
        self._custom = custom
        self._swept: set[str] = set()
        self._open: set[str] = set()
        self._guard = threading.Lock()
        self.cluster = UNKNOWN
        """What is known of the server's cluster: segments of others are refused."""

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        durable.remove(sorted(self._open))

    def prepare(self, found: Found) -> Prepared:
        """Judge a file and, if it enters, write its durable temporary; a file that vanished or cannot be read is left.

        Raises OSError when the archive cannot be written to, CodecError when a codec does not work here.
        """
        final_path = self._catalog.layout.wal_path(found.name)
        try:
            inspection = inspect(found, self.cluster, self._custom)
            archived = self._compare(found.path, final_path)
            judgement = admit(
                Evidence(inspection.defects, inspection.short, archived, max(0.0, timestamp() - found.time))
            )
            if judgement.decision in (Decision.ARCHIVE, Decision.IDENTICAL):
                self._make_place(os.path.dirname(final_path))
            if judgement.decision is not Decision.ARCHIVE:
                return Prepared(found, judgement.decision, final_path, judgement.reasons)
            try:
                return self._stage(found, inspection, final_path)
            except FileNotFoundError:
                if os.path.isdir(os.path.dirname(final_path)):
                    raise
                # A removal of old WAL has emptied the directory, and taken it away before the first file was in it.
                self._make_place(os.path.dirname(final_path), again=True)
                return self._stage(found, inspection, final_path)
        except OSError as error:
            if error.filename != found.path:
                raise
            if isinstance(error, FileNotFoundError):
                return Prepared(found, Decision.LEAVE, final_path)
            return Prepared(found, Decision.LEAVE, final_path, (f"cannot be read: {error.strerror}",), failed=True)

    def published(self, group: list[Prepared]) -> None:
        """Forget the temporaries of a group that was committed."""
        with self._guard:
            self._open.difference_update(item.temporary for item in group)

    def keep_only(self, group: list[Prepared]) -> None:
        """Remove all temporaries but those of a group: after a failure they may occupy the room that it needs."""
        wanted = {item.temporary for item in group}
        with self._guard:
            doomed = sorted(self._open - wanted)
            self._open &= wanted
        durable.remove(doomed)

    def _compare(self, path: str, final_path: str) -> bool | None:
        if not os.path.lexists(final_path):
            return None
        try:
            return same_content(path, final_path, self._custom)
        except CodecError:
            # The file of the queue was read to its end before: it is the archived one that is damaged.
            return False

    def _stage(self, found: Found, inspection: Inspection, final_path: str) -> Prepared:
        if self._codec is None or inspection.compression is not None:
            path = self._share(found, final_path)
            wal = WalFile(found.name, found.size, found.time, inspection.compression)
        else:
            path = self._write(found, final_path, self._codec)
            wal = WalFile(found.name, os.stat(path).st_size, found.time, self._codec.name)
        return Prepared(found, Decision.ARCHIVE, final_path, temporary=path, wal=wal)

    def _share(self, found: Found, final_path: str) -> str:
        """Archive the very file, if nobody but us may write to it through another name or an open descriptor."""
        if found.owner == os.geteuid() and not found.mode & _WRITABLE_BY_OTHERS:
            path = link_beside(found.path, final_path)
            if path is not None:
                self._remember(path)
                return path
        return self._write(found, final_path, None)

    def _write(self, found: Found, final_path: str, codec: Codec | None) -> str:
        with durable.Temporary(final_path, 0o600) as temporary:
            # First of all: on a full disk even discarding may fail, and the file has to go all the same.
            self._remember(temporary.path)
            if codec is None:
                with open(found.path, "rb") as source:
                    copy_stream(source, temporary.file.write)
            else:
                codec.encode_file(found.path, cast(BinaryIO, temporary.file))
            temporary.file.flush()
            temporary.set_mode(found.mode)
            temporary.set_times(found.time)
            temporary.commit_data()
            temporary.keep()
            return temporary.path

    def _remember(self, path: str) -> None:
        with self._guard:
            self._open.add(path)

    def _make_place(self, directory: str, *, again: bool = False) -> None:
        """Create a directory of the archive and remove what killed runs left there; once a run."""
        with self._guard:
            if again or directory not in self._swept:
                durable.make_directory(directory)
                durable.sweep_temporaries(directory)
                self._swept.add(directory)
