"""Prepare files of a queue for the archive: judge each, and bring the bytes of those that enter beside their place.

Everything here may run in several threads at once; nothing here changes what readers of the archive see.
"""

from __future__ import annotations

import os
import threading

from barman.catalog.catalog import Catalog
from barman.catalog.wal_digests import WalDigest, digest_of_content, digest_of_file
from barman.catalog.wal_file import WalFile
from barman.clock import timestamp
from barman.compression.codec import Codec, CodecError, CustomFilters, copy_stream
from barman.encryption.openpgp import DamagedMessage, EncryptionError
from barman.fs import durable
from barman.fs.links import link_beside
from barman.typing import TYPE_CHECKING, BinaryIO, cast
from barman.wal.admission import Decision, Evidence, admit
from barman.wal.cluster import UNKNOWN
from barman.wal.commit import Prepared
from barman.wal.comparison import is_same
from barman.wal.inspection import Inspection, inspect
from barman.wal.source import Found

if TYPE_CHECKING:
    from barman.encryption.gpg import Gpg

_WRITABLE_BY_OTHERS = 0o022


class Staging:
    """Temporaries of one run. As a context manager it removes those that were not published."""

    def __init__(
        self, catalog: Catalog, codec: Codec | None, custom: CustomFilters | None = None, gpg: Gpg | None = None
    ) -> None:
        """`codec` compresses what comes uncompressed; `gpg` encrypts everything but timeline histories."""
        self._catalog = catalog
        self._codec = codec
        self._custom = custom
        self._gpg = gpg
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

        A file whose archived namesake is encrypted and cannot be read here is left too: nothing tells whether it is the
        same. Raises OSError when the archive cannot be written to, CodecError or EncryptionError when a codec or gpg
        does not work here.
        """
        final_path = self._catalog.layout.wal_path(found.name)
        try:
            inspection = inspect(found, self.cluster, self._custom)
            try:
                archived = self._compare(found.path, final_path)
            except EncryptionError as error:
                reason = f"it cannot be compared with the archived file of its name: {error.message} {error.hint}"
                return Prepared(found, Decision.LEAVE, final_path, (reason.strip(),), failed=True)
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
            return is_same(path, final_path, self._custom, self._catalog.wal_digests)
        except (CodecError, DamagedMessage):
            # The file of the queue was read to its end before: it is the archived one that is damaged.
            return False

    def _stage(self, found: Found, inspection: Inspection, final_path: str) -> Prepared:
        codec = self._codec if inspection.compression is None else None
        compression = codec.name if codec is not None else inspection.compression
        # Timelines are looked up without a passphrase, by the original too; and a history has no data in it.
        gpg = None if found.name.endswith(".history") else self._gpg
        if codec is None and gpg is None:
            path = self._share(found, final_path)
        else:
            path = self._write(found, final_path, codec, gpg)
        digest = None
        if gpg is not None:
            content = digest_of_content(found.path, self._custom)
            digest = WalDigest(found.name, content, digest_of_file(path))
        size = os.stat(path).st_size
        wal = WalFile(found.name, size, found.time, compression, gpg.name if gpg is not None else None)
        return Prepared(found, Decision.ARCHIVE, final_path, temporary=path, wal=wal, digest=digest)

    def _share(self, found: Found, final_path: str) -> str:
        """Archive the very file, if nobody but us may write to it through another name or an open descriptor."""
        if found.owner == os.geteuid() and not found.mode & _WRITABLE_BY_OTHERS:
            path = link_beside(found.path, final_path)
            if path is not None:
                self._remember(path)
                return path
        return self._write(found, final_path, None)

    def _write(self, found: Found, final_path: str, codec: Codec | None, gpg: Gpg | None = None) -> str:
        with durable.Temporary(final_path, 0o600) as temporary:
            # First of all: on a full disk even discarding may fail, and the file has to go all the same.
            self._remember(temporary.path)
            file = cast(BinaryIO, temporary.file)
            if gpg is None:
                _encode(found.path, codec, file)
            else:
                # What is encrypted goes through pipes: no plaintext is written here.
                with gpg.encrypting(file) as stream:
                    _encode(found.path, codec, stream)
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


def _encode(path: str, codec: Codec | None, target: BinaryIO) -> None:
    if codec is not None:
        codec.encode_file(path, target)
        return
    with open(path, "rb") as source:
        copy_stream(source, target.write)
