"""How an archived file is stored: compressed, encrypted or plain, told by its first bytes."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.compression.codec import CustomFilters


def recognise(head: bytes, custom: CustomFilters | None = None) -> tuple[str | None, str | None]:
    """The compression and encryption of a file that begins with `head`, in the words of `xlog.db`.

    An encrypted file tells nothing about the compression inside: its compression is None, as in the original.
    """
    if _is_openpgp(head):
        return None, "gpg"
    from barman.compression.codec import detect

    return detect(head, custom), None


def recognise_file(path: str, custom: CustomFilters | None = None) -> tuple[str | None, str | None]:
    """`recognise` for a file. Raises OSError."""
    from barman.compression.codec import head_size

    with open(path, "rb", buffering=0) as file:
        return recognise(file.read(max(head_size(custom), 16)), custom)


def _is_openpgp(head: bytes) -> bool:
    """Whether a file is an OpenPGP message: it begins with an encrypted session key packet (RFC 4880, 4.2 and 5).

    Tag 1 (public key) has version 3, tag 3 (passphrase) version 4; newer formats use 6 and 5. WAL page magics end in
    0xD0 or 0xD1 at the second byte, where such a packet has its length: the version byte decides.
    """
    if len(head) < 6 or not head[0] & 0x80:
        return False
    if head[0] & 0x40:
        tag, length_bytes = head[0] & 0x3F, 1 if head[1] < 192 else 2 if head[1] < 224 else 5
    else:
        tag, length_bytes = (head[0] >> 2) & 0x0F, (1, 2, 4, 0)[head[0] & 3]
    versions = {1: (3, 6), 3: (4, 5, 6)}.get(tag, ())
    return head[1 + length_bytes] in versions if length_bytes else False
