"""Which host keys the known_hosts files list for a host; no effects. See sshd(8), SSH_KNOWN_HOSTS FILE FORMAT."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

from barman.transport.ssh_command import NotUnderstood
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class HostKeys:
    """The keys that one host may show: (type, key) pairs."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        self.pairs = frozenset(pairs)

    @property
    def types(self) -> frozenset[str]:
        """Return the types of key that are listed."""
        return frozenset(kind for kind, _ in self.pairs)

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __contains__(self, pair: object) -> bool:
        return pair in self.pairs


def find_host_keys(texts: Iterable[str], names: Sequence[str]) -> HostKeys:
    """Return the keys listed for a host in the contents of known_hosts files; `names` in order of precedence.

    The first name that is listed at all counts, as for ssh. Raises NotUnderstood when a certificate authority or a
    revoked key is listed for it: only ssh itself can judge those.
    """
    lines = [line for text in texts for line in text.splitlines()]
    for name in names:
        found = [pair for line in lines if (pair := _key_for(line, name))]
        if found:
            return HostKeys(found)
    return HostKeys(())


def _key_for(line: str, name: str) -> tuple[str, bytes] | None:
    """Return the key of a line when the line is about the name; lines that cannot be read are skipped, as by ssh."""
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    marker = words.pop(0) if words[0].startswith("@") else ""
    if len(words) < 3 or not _matches(words[0], name):
        return None
    if marker:
        raise NotUnderstood(f"{marker} line for '{name}' in known_hosts")
    try:
        return words[1], base64.b64decode(words[2], validate=True)
    except (binascii.Error, ValueError):
        return None


def _matches(field: str, name: str) -> bool:
    if field.startswith("|"):
        return _matches_hash(field, name)
    matched = False
    for pattern in field.lower().split(","):
        if pattern.startswith("!"):
            if _pattern(pattern[1:]).match(name):
                return False
        elif pattern and _pattern(pattern).match(name):
            matched = True
    return matched


def _pattern(text: str) -> re.Pattern[str]:
    """Return the meaning of a pattern in which only `*` and `?` are special."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(letter) or re.escape(letter) for letter in text) + r"\Z", re.DOTALL)


def _matches_hash(field: str, name: str) -> bool:
    try:
        _, version, salt, digest = field.split("|")
        if version != "1":
            return False
        expected = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
        return hmac.compare_digest(expected, base64.b64decode(digest))
    except (ValueError, binascii.Error):
        return False
