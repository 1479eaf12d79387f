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
    return re.compile(_source(pattern), re.DOTALL)


def _source(pattern: str) -> str:
    anchored = pattern.startswith("/")
    body = pattern[1:] if anchored else pattern
    # Backslashes escape only where a wildcard stands.
    escapes = any(letter in body for letter in "*?[")
    parts = [_token(token, escapes=escapes) for token in (_TOKEN.findall(body) if escapes else body)]
    start = "/" if anchored else "" if body.startswith("**") else ".*/"
    return start + "".join(parts) + r"\Z"


def _token(token: str, *, escapes: bool) -> str:
    if token in _MEANING and escapes:
        return _MEANING[token]
    if len(token) > 1 and token.startswith("["):
        return "(?!/)" + token.replace("\\", "\\\\") if token[1] not in "!^" else f"(?!/)[^{token[2:]}"
    if len(token) == 2 and token.startswith("\\"):
        return re.escape(token[1])
    return re.escape(token)


def literal(path: str) -> str:
    """Return the pattern that matches one path only; backslashes escape only in patterns with a wildcard."""
    return re.sub(r"([\\*?\[])", r"\\\1", path) if any(letter in path for letter in "*?[") else path


def prefix(path: str) -> str:
    """Return the beginning of a pattern that goes on with a wildcard: there backslashes always escape."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


class Choice:
    """Rules applied to many paths of one tree: what is said of a directory is remembered."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        # Nearly no path is spoken of: one look for all rules tells.
        self._any = re.compile("|".join(f"(?:{_source(rule.pattern)})" for rule in rules) or r"(?!)", re.DOTALL)
        self._directories: dict[str, bool] = {"": True}

    def wants(self, path: str) -> bool:
        """Tell whether a path is copied: neither it nor a directory above it is left out; the first match decides."""
        return self._enters(path.rpartition("/")[0]) and self._takes(path)

    def _enters(self, directory: str) -> bool:
        known = self._directories.get(directory)
        if known is None:
            known = self._directories[directory] = self.wants(directory)
        return known

    def _takes(self, path: str) -> bool:
        if self._any.match("/" + path) is None:
            return True
        return next((rule.take for rule in self._rules if rule.matches(path)), True)


def wants(rules: tuple[Rule, ...], path: str) -> bool:
    """Tell whether one path is copied; see `Choice`."""
    return Choice(rules).wants(path)
