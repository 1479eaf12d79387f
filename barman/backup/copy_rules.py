"""Patterns of files to copy and to leave out, with rsync's meaning, so that both sides agree on every path. Pure.

Of rsync's patterns (rsync(1), FILTER RULES) this knows `*`, `**`, `?`, `[…]`, a leading `/` that anchors the pattern at
the root of the copy, and that a pattern with a `/` or `**` is compared with the whole path, another one with the name.
"""

from __future__ import annotations

import re
from functools import lru_cache

from barman.values import dataclass

_TOKEN = re.compile(r"\*\*|\*|\?|\[[^\]]+\]|\\.|.", re.DOTALL)
_MEANING = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: paths that match are taken, or left out with everything below them."""

    take: bool
    pattern: str

    @property
    def text(self) -> str:
        """Return the rule in rsync's words."""
        return f"{'+' if self.take else '-'} {self.pattern}"

    def matches(self, path: str) -> bool:
        """Tell whether the rule is about a path, given relative to the root without a leading `/`."""
        return _compiled(self.pattern).match("/" + path) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    anchored = pattern.startswith("/")
    body = pattern[1:] if anchored else pattern
    # Backslashes escape only where a wildcard stands.
    escapes = any(letter in body for letter in "*?[")
    parts = [_token(token, escapes=escapes) for token in (_TOKEN.findall(body) if escapes else body)]
    start = "/" if anchored else "" if body.startswith("**") else ".*/"
    return re.compile(start + "".join(parts) + r"\Z", re.DOTALL)


def _token(token: str, *, escapes: bool) -> str:
    if token in _MEANING and escapes:
        return _MEANING[token]
    if len(token) > 1 and token.startswith("["):
        return "(?!/)" + token.replace("\\", "\\\\") if token[1] not in "!^" else f"(?!/)[^{token[2:]}"
    if len(token) == 2 and token.startswith("\\"):
        return re.escape(token[1])
    return re.escape(token)


def wants(rules: tuple[Rule, ...], path: str) -> bool:
    """Tell whether a path is copied: neither it nor a directory above it is left out; the first match decides."""
    position = path.find("/")
    while position >= 0:
        if not _taken(rules, path[:position]):
            return False
        position = path.find("/", position + 1)
    return _taken(rules, path)


def _taken(rules: tuple[Rule, ...], path: str) -> bool:
    return next((rule.take for rule in rules if rule.matches(path)), True)
