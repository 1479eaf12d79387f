"""How an archived file is stored: compressed, encrypted or plain, told by its first bytes."""

from __future__ import annotations

from barman.encryption.openpgp import HEAD_SIZE, is_encrypted
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.compression.codec import CustomFilters


def recognise(head: bytes, custom: CustomFilters | None = None) -> tuple[str | None, str | None]:
    """The compression and encryption of a file that begins with `head`, in the words of `xlog.db`.

    An encrypted file tells nothing about the compression inside: its compression is None, as in the original.
    """
    if is_encrypted(head):
        return None, "gpg"
    from barman.compression.codec import detect

    return detect(head, custom), None


def recognise_file(path: str, custom: CustomFilters | None = None) -> tuple[str | None, str | None]:
    """`recognise` for a file. Raises OSError."""
    from barman.compression.codec import head_size

    with open(path, "rb", buffering=0) as file:
        return recognise(file.read(max(head_size(custom), HEAD_SIZE)), custom)
