"""Encrypt the archives of a backup: each goes through a pipe into a file of its own, which replaces it."""

from __future__ import annotations

import os
from functools import partial

from barman.backup.tar_files import find_archives, plain_archives
from barman.errors import BackupError
from barman.fs import durable
from barman.typing import TYPE_CHECKING, BinaryIO, cast
from barman.workers import cpu_count, is_abandoned, ordered_map

if TYPE_CHECKING:
    from barman.backup.tar_files import Archive
    from barman.encryption.gpg import Gpg

_CHUNK = 1 << 20


def seal_archives(directory: str, gpg: Gpg) -> None:
    """Replace every archive in the data directory of a backup by `NAME.gpg`, durably, several at once.

    An archive goes when the encrypted one is durable under its name. Raises EncryptionError, BackupError, OSError.
    """
    archives = [archive for archive in find_archives(directory).values() if not archive.sealed]
    for _ in ordered_map(partial(_seal, gpg=gpg), archives, cpu_count()):
        pass


def remove_plain_archives(directory: str) -> None:
    """Remove what a backup that failed has left in the clear."""
    if os.path.isdir(directory):
        durable.remove(plain_archives(directory))


def _seal(archive: Archive, gpg: Gpg) -> None:
    with durable.Temporary(f"{archive.path}.gpg", 0o600) as temporary, open(archive.path, "rb") as source:
        with gpg.encrypting(cast(BinaryIO, temporary.file)) as stream:
            while piece := source.read(_CHUNK):
                if is_abandoned():
                    raise BackupError(f"'{os.path.basename(archive.path)}' was not encrypted: the backup is over")
                stream.write(piece)
        temporary.commit_data()
        temporary.publish()
    durable.remove([archive.path])
