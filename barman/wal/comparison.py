"""Whether a file that arrived is the one that the archive has under its name: by content, never by size and time."""

from __future__ import annotations

import os

from barman.catalog.wal_content import recognise_file
from barman.compression.codec import CustomFilters, same_content
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.catalog.wal_digests import WalDigests


def is_same(path: str, archived: str, custom: CustomFilters | None, digests: WalDigests) -> bool:
    """Compare the plain contents, however each is stored.

    An encrypted file is compared by its digest when it is still what the digest was taken of, so that a host without
    the secret key recognises duplicates; otherwise it is decrypted. Raises OSError, CodecError, and EncryptionError
    when it cannot be told.
    """
    if recognise_file(archived, custom)[1] is not None:
        from barman.catalog.wal_digests import digest_of_content, digest_of_file

        known = digests.find(os.path.basename(archived))
        if known is not None and known.stored == digest_of_file(archived):
            return digest_of_content(path, custom) == known.content
    return same_content(path, archived, custom)
