"""OpenPGP files: how they are recognised, and what goes wrong with them. Light: get-wal imports it for each segment."""

from __future__ import annotations

from barman.errors import BarmanError

HEAD_SIZE = 16
"""How many leading bytes of a file `is_encrypted` wants to see."""


class EncryptionError(BarmanError):
    """Nothing can be encrypted or decrypted here: gpg, a key or a passphrase is missing. The data may be sound."""


class DamagedMessage(EncryptionError):
    """The encrypted data themselves are damaged or cut short."""


def is_encrypted(head: bytes) -> bool:
    """Whether a file that begins with `head` is an encrypted OpenPGP message.

    It begins with an encrypted session key packet (RFC 4880, 4.2 and 5): tag 1 (public key) has version 3, tag 3
    (passphrase) version 4; newer formats use 6 and 5. WAL page magics end in 0xD0 or 0xD1 at the second byte, where
    such a packet has its length: the version byte decides.
    """
    if len(head) < 6 or not head[0] & 0x80:
        return False
    if head[0] & 0x40:
        tag, length_bytes = head[0] & 0x3F, 1 if head[1] < 192 else 2 if head[1] < 224 else 5
    else:
        tag, length_bytes = (head[0] >> 2) & 0x0F, (1, 2, 4, 0)[head[0] & 3]
    versions = {1: (3, 6), 3: (4, 5, 6)}.get(tag, ())
    return head[1 + length_bytes] in versions if length_bytes else False
